"""The HTTP library of the hostile tests and of the cassettes: httpx, or what HTTP_LIBRARY names.

Our own clients are those of httpx. So with another library each request goes through a client of
the caller's, and tests of what only our own clients do are left out.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

import pytest

__all__ = ["http", "is_ours", "own_clients_only"]

_NAME = os.environ.get("HTTP_LIBRARY", "httpx")

if TYPE_CHECKING:
    import httpx as http
else:
    http = importlib.import_module(_NAME)

is_ours = _NAME == "httpx"
"""Whether our own clients are of this library."""

own_clients_only = pytest.mark.skipif(not is_ours, reason="a client of the caller's decides that")

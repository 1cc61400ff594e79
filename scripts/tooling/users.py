"""Finds where the overlay uses the name of an attribute."""

from __future__ import annotations

import re
from pathlib import Path

_AT_MOST = 4


def users_of(root: Path, name: str) -> str:
    """The lines in overlay/ that name the attribute, for a sentence; empty if there is none."""
    named = re.compile(rf"(?:\.|[\"'`]){re.escape(name)}\b")
    found = [
        f"{file.relative_to(root).as_posix()}:{number}"
        for file in sorted((root / "overlay").rglob("*.py"))
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if named.search(line) and not line.lstrip().startswith("#")
    ]
    more = f" and {len(found) - _AT_MOST} more" if len(found) > _AT_MOST else ""
    return ", ".join(found[:_AT_MOST]) + more

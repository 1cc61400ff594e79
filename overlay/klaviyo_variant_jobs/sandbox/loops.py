"""Event loops in virtual time for async tests, by one line in a conftest.py:

    from klaviyo_variant_jobs.sandbox.loops import anyio_backend, pytest_asyncio_loop_factories

The first name is for anyio's plugin and holds for all async tests below that conftest.py, which
then run under asyncio alone; the second is for pytest-asyncio, 1.4 or newer, and holds for tests
that use a fixture of `klaviyo_variant_jobs.sandbox.pytest_plugin`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from klaviyo_variant_jobs.sandbox.virtual_time import VirtualClock, VirtualLoop

__all__ = ["anyio_backend", "pytest_asyncio_loop_factories"]

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


class _Test:
    """Whose clock the loops follow: a loop may be made before its test's clock, and outlive it."""

    clock = VirtualClock()


def follow(clock: VirtualClock) -> None:
    """Have the loops live in the time of `clock` from now on."""
    _Test.clock = clock


def new_event_loop() -> VirtualLoop:
    """An event loop in the time of the test that runs."""
    return VirtualLoop(lambda: _Test.clock)


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Runs the async tests of anyio's plugin in virtual time."""
    return "asyncio", {"loop_factory": new_event_loop}


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(item: pytest.Function) -> Mapping[str, LoopFactory]:
    """Runs the tests of pytest-asyncio in virtual time where they have a virtual clock."""
    if "klaviyo_clock" in item.fixturenames:
        return {"virtual": new_event_loop}
    return {"asyncio": asyncio.new_event_loop}

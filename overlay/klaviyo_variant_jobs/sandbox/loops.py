"""Event loops in virtual time for async tests. Put this line into conftest.py:

    from klaviyo_variant_jobs.sandbox.loops import anyio_backend, pytest_asyncio_loop_factories

`anyio_backend` is for anyio's plugin: all async tests below that conftest.py run in virtual time,
and only under asyncio. `pytest_asyncio_loop_factories` is for pytest-asyncio 1.4 or newer, and
applies to tests that use a fixture of `klaviyo_variant_jobs.sandbox.pytest_plugin`.
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
    """The clock of the running test. A loop may be made before that clock, and outlive it."""

    clock = VirtualClock()


def follow(clock: VirtualClock) -> None:
    """Make the loops run on `clock` from now on."""
    _Test.clock = clock


def new_event_loop() -> VirtualLoop:
    """An event loop on the clock of the running test."""
    return VirtualLoop(lambda: _Test.clock)


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Run the async tests of anyio's plugin in virtual time."""
    return "asyncio", {"loop_factory": new_event_loop}


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(item: pytest.Function) -> Mapping[str, LoopFactory]:
    """Run the tests of pytest-asyncio in virtual time if they use `klaviyo_clock`."""
    if "klaviyo_clock" in item.fixturenames:
        return {"virtual": new_event_loop}
    return {"asyncio": asyncio.new_event_loop}

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from hostile.drive import AsyncDrive, Drive, SyncDrive, Trial
from hostile.fault_server import FaultServer


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment would stand between the client and the loopback interface."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(params=[SyncDrive(), AsyncDrive()], ids=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Drive:
    chosen: Drive = request.param
    return chosen


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """Three pages of jobs; no thread is left after the test."""
    before = set(threading.enumerate())
    with FaultServer([["A1", "A2", "A3"], ["B1", "B2"], ["C1"]]) as running:
        yield running
    assert set(threading.enumerate()) <= before


@pytest.fixture
def elsewhere() -> Iterator[FaultServer]:
    """Another host, which has no business with the key."""
    with FaultServer([["STOLEN"]]) as running:
        yield running
    assert running.requests == []


@pytest.fixture
def trial(drive: Drive, server: FaultServer) -> Trial:
    return Trial(drive, server)

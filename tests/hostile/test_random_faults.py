"""Any mix of faults on any pages: after every resume the jobs are those served, each once."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from hostile.catalogue import FAST, leading_away
from hostile.drive import AsyncDrive, Drive, SyncDrive
from hostile.fault_server import FaultServer
from klaviyo_variant_jobs import RetryPolicy

DRIVES: list[Drive] = [SyncDrive(), AsyncDrive(), SyncDrive(prefetch=1), AsyncDrive(prefetch=1)]


@pytest.mark.parametrize("drive", DRIVES, ids=["sync", "async", "sync ahead", "async ahead"])
def test_jobs_received_are_the_jobs_served_whatever_goes_wrong(drive: Drive) -> None:
    with FaultServer() as server, FaultServer() as elsewhere:
        catalogue = FAST | leading_away(server, elsewhere)

        @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
        @given(
            sizes=st.lists(st.integers(0, 4), min_size=1, max_size=5),
            faults=st.lists(st.sampled_from(sorted(catalogue)), max_size=10),
            attempts=st.integers(1, 3),
            stops=st.lists(st.integers(0, 5), max_size=3),
        )
        def check(sizes: list[int], faults: list[str], attempts: int, stops: list[int]) -> None:
            numbers = itertools.count()
            server.serve([[f"J{next(numbers)}" for _ in range(size)] for size in sizes])
            server.say(*(catalogue[name] for name in faults))
            received: list[str | None] = []
            resume: str | None = None
            pending = list(stops)
            for _ in range(len(faults) + len(stops) + 1):
                most = pending.pop() if pending else None
                policy = RetryPolicy(max_attempts=attempts)
                run = drive.iterate(server.url, resume=resume, most=most, retry=policy)
                received += run.ids
                resume = str(run.checkpoint)
                assert run.error is None or run.error.checkpoint == run.checkpoint
                if run.error is None and most is None:
                    break
            assert received == server.ids

        check()
        assert elsewhere.requests == []

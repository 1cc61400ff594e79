"""Any mix of faults on any pages: after every resume the jobs are those served, each once."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostile import test_bodies, test_connections
from hostile.drive import AsyncDrive, Drive, SyncDrive
from hostile.fault_server import (
    End,
    Fault,
    FaultServer,
    Honest,
    Reply,
    always,
    chunked,
    gzipped,
    honest,
    reply,
)
from klaviyo_variant_jobs import RetryPolicy


def bad_link(answer: Honest) -> Reply:
    return reply(200, answer.but(links={"next": "http://evil.test/?page[cursor]=x"}))


FAULTS: dict[str, Fault] = {
    **test_connections.BROKEN,
    **test_bodies.PASSING,
    **test_bodies.NO_PAGES,
    "honest": honest,
    "gzip": lambda answer: gzipped(answer.body),
    "chunks": lambda answer: Reply(chunked(answer.body)),
    "closed afterwards": lambda answer: Reply(answer.reply.pieces, End.CLOSE),
    "bad link": bad_link,
    **{str(status): always(status, "oops") for status in (204, 302, 400, 403, 418, 500, 503, 520)},
    "429": always(429, headers={"Retry-After": "2"}),
    "429 for a day": always(429, headers={"Retry-After": "86400"}),
}
del FAULTS["endless headers"], FAULTS["a deep nest"]

DRIVES: list[Drive] = [SyncDrive(), AsyncDrive(), SyncDrive(prefetch=1), AsyncDrive(prefetch=1)]


@pytest.mark.parametrize("drive", DRIVES, ids=["sync", "async", "sync ahead", "async ahead"])
def test_jobs_received_are_the_jobs_served_whatever_goes_wrong(drive: Drive) -> None:
    with FaultServer() as server:

        @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
        @given(
            sizes=st.lists(st.integers(0, 4), min_size=1, max_size=5),
            faults=st.lists(st.sampled_from(sorted(FAULTS)), max_size=10),
            attempts=st.integers(1, 3),
            stops=st.lists(st.integers(0, 5), max_size=3),
        )
        def check(sizes: list[int], faults: list[str], attempts: int, stops: list[int]) -> None:
            numbers = itertools.count()
            server.serve([[f"J{next(numbers)}" for _ in range(size)] for size in sizes])
            server.say(*(FAULTS[name] for name in faults))
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

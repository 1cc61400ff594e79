"""Who patches httpx sees the default client, whenever it was made; and sees it no more after."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import vcr
from pytest_httpx import HTTPXMock

from klaviyo_variant_jobs.sandbox import Sandbox, Server

PROGRAM = Path(__file__).with_name("instrumented.py")


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("tool", ["opentelemetry", "sentry", "datadog"])
def test_a_tracer_sees_each_request_of_a_default_client(
    server: Server, tool: str, kind: str
) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), tool, kind, server.base_url],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


async def test_a_mock_answers_for_a_default_client(
    wire: Any,
    make: Callable[..., Any],
    sandbox: Sandbox,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = make()
    assert len(await wire.all(before.iter_jobs())) == 5
    arrived = len(sandbox.requests)

    mock: HTTPXMock = request.getfixturevalue("httpx_mock")
    mock.add_response(json={"data": [{"id": "MOCKED"}]}, is_reusable=True)
    during = make()
    for client in (before, during):
        assert [job.id for job in await wire.all(client.iter_jobs())] == ["MOCKED"]
    assert len(mock.get_requests()) == 2
    assert len(sandbox.requests) == arrived

    monkeypatch.undo()  # As at the end of a test that uses `httpx_mock`.
    for client in (before, during, make()):
        assert len(await wire.all(client.iter_jobs())) == 5
        await wire.close(client)
    assert len(mock.get_requests()) == 2


async def test_a_cassette_records_a_default_client_and_plays_to_it(
    wire: Any, make: Callable[..., Any], sandbox: Sandbox, tmp_path: Path
) -> None:
    recorder = vcr.VCR(record_mode="once", filter_headers=["authorization"])
    cassette = str(tmp_path / "cassette.yaml")
    before = make()
    assert len(await wire.all(before.iter_jobs())) == 5
    arrived = len(sandbox.requests)

    with recorder.use_cassette(cassette) as recorded:
        during = make()
        ids = [job.id for job in await wire.all(during.iter_jobs())]
        assert len(recorded) == 3
    assert len(sandbox.requests) == arrived + 3

    for client in (before, during, make()):
        with recorder.use_cassette(cassette) as played:
            assert [job.id for job in await wire.all(client.iter_jobs())] == ids
            assert played.play_count == 3
    assert len(sandbox.requests) == arrived + 3

    for client in (before, during):
        assert len(await wire.all(client.iter_jobs())) == 5
        await wire.close(client)
    assert len(sandbox.requests) == arrived + 9

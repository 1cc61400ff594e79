"""The README's first command, in virtual time."""

from __future__ import annotations

import re

import httpx
import pytest

from klaviyo_variant_jobs.sandbox import Sandbox, VirtualClock
from tooling import demo


def test_the_demo_lists_every_job_across_pages_and_through_a_429(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = VirtualClock()
    sandbox = Sandbox(jobs=demo.JOBS, jobs_per_page=demo.JOBS_PER_PAGE, clock=clock)
    demo.tell("https://a.klaviyo.com", clock=clock, transport=sandbox.transport())
    told = capsys.readouterr().out
    pages = -(-demo.JOBS // demo.JOBS_PER_PAGE)
    assert len(re.findall(r"^page \d+: \d+ jobs", told, re.M)) == pages
    assert re.search(rf"^all +{demo.JOBS} ", told, re.M)
    assert f"{pages} pages, {pages + 1} requests, 1 of them answered 429; waited" in told


def test_the_demo_does_without_a_429_that_the_quota_never_gives(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = VirtualClock()
    sandbox = Sandbox(jobs=120, jobs_per_page=100, burst=10_000, steady=100_000, clock=clock)
    demo.tell("https://a.klaviyo.com", clock=clock, transport=sandbox.transport())
    assert "2 pages, 2 requests, 0 of them answered 429" in capsys.readouterr().out


def test_the_demo_serves_its_own_sandbox_over_http(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[str, int]] = []

    def ask_once(base_url: str, **_: object) -> None:
        called.append((base_url, httpx.get(base_url).status_code))

    monkeypatch.setattr(demo, "tell", ask_once)
    demo.main()
    ((base_url, status),) = called
    assert status == 400
    assert base_url in capsys.readouterr().out

"""The benches: each runs, prints its table, and ends with one line to compare."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from hostile.drive import Run, SyncDrive
from klaviyo_variant_jobs import Client
from tooling import bench
from tooling.bench import soak
from tooling.bench._figures import Figure

ROOT = Path(__file__).parents[2]

# As little of each as still goes through all of it.
LITTLE = {
    "accounts": ["--accounts", "4", "--pages", "2", "--rounds", "1"],
    "cpu": ["--rounds", "1", "--pages", "2", "--no-peers"],
    "memory": ["--rounds", "1", "--short", "2", "--long", "3"],
    "prefetch": ["--pages", "3", "--delay-ms", "1"],
    "soak": ["--lists", "1", "--seed", "7"],
    "start": ["--rounds", "1", "--no-peers"],
    "tolerant": ["--rounds", "1", "--pages", "2"],
}


@pytest.fixture(autouse=True)
def _quiet_logger() -> Iterator[None]:
    """Leave the package's logger as it was."""
    logger = logging.getLogger("klaviyo_variant_jobs")
    before = list(logger.handlers)
    yield
    logger.handlers = before


def test_all_are_listed_with_what_they_measure(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(ROOT, []) == 0
    listed = capsys.readouterr().out
    # Pacing simulates twenty thousand requests; the tests of the limiter stand for it.
    for name in (*LITTLE, "pacing"):
        described = import_module(f"tooling.bench.{name}").__doc__ or ""
        assert described.partition("\n")[0] in listed


def test_an_unknown_figure_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(ROOT, ["spped"]) == 2
    assert "usage" in capsys.readouterr().out


@pytest.mark.parametrize("name", LITTLE)
def test_a_figure_ends_with_one_line_to_compare(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    assert bench.main(ROOT, [name, *LITTLE[name]]) == 0
    *table, line = capsys.readouterr().out.strip().splitlines()
    assert table
    assert line.startswith(f"{name}: ")


def test_a_goal_is_judged_by_the_figure_as_it_is_shown() -> None:
    assert Figure("x", 1.304, at_most=1.3).met
    assert not Figure("x", 1.306, at_most=1.3).met
    assert Figure("x", 8.496, at_least=8.5).met
    assert not Figure("x", 8.494, at_least=8.5).met


def broken_by(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], spoil: Any
) -> str:
    """What a soak of a spoiled client says."""
    whole = SyncDrive.iterate

    def iterate(self: SyncDrive, url: str, **options: Any) -> Run:
        return spoil(whole(self, url, **options))

    monkeypatch.setattr(SyncDrive, "iterate", iterate)
    monkeypatch.setattr(soak, "_DRIVES", (SyncDrive(),))
    assert soak.main(["--lists", "1"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("soak: BROKEN with seed 1, batch 0, after")
    return said


def test_a_soak_notices_a_lost_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def spoil(run: Run) -> Run:
        del run.jobs[-1:]
        return run

    assert "not the jobs served" in broken_by(monkeypatch, capsys, spoil)


def test_a_soak_notices_a_job_given_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def spoil(run: Run) -> Run:
        run.jobs += run.jobs[-1:]
        return run

    assert "not the jobs served" in broken_by(monkeypatch, capsys, spoil)


def test_a_soak_notices_what_is_left_open(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept: list[Any] = []

    def spoil(run: Run) -> Run:
        kept.append((ROOT / "README.md").open())
        return run

    monkeypatch.setattr(soak, "_SETTLING_S", 0.1)
    try:
        said = broken_by(monkeypatch, capsys, spoil)
    finally:
        for file in kept:
            file.close()
    assert "left behind" in said


def test_a_soak_notices_a_client_that_is_not_closed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Client, "close", lambda client: None)
    monkeypatch.setattr(soak, "_SETTLING_S", 0.1)
    said = broken_by(monkeypatch, capsys, lambda run: run)
    assert "unclosed" in said or "left behind" in said

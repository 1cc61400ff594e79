from __future__ import annotations

import enum
import itertools
import types
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import msgspec
import pytest

from klaviyo_variant_jobs.sandbox import Request, Response, Sandbox, VirtualClock
from klaviyo_variant_jobs.sandbox.lifecycle import PUBLISHED
from klaviyo_variant_jobs_api import registry

Ask = Callable[..., Response]
Error = Callable[[Response], Any]
Data = Callable[[Response], Any]
Revision = registry.Revision[Any]

PLAIN = "/api/catalog-variant-bulk-create-jobs"


@pytest.fixture
def sandbox(clock: VirtualClock) -> Sandbox:
    return Sandbox(jobs=3, clock=clock)


def test_a_kept_revision_is_served_with_its_media_type(
    revision: Revision, sandbox: Sandbox, ask: Ask
) -> None:
    response = ask(sandbox, revision=revision)
    assert response.status == 200
    assert response.header("content-type") == revision.media_type
    assert response.header("x-klaviyo-api-revision") == revision.date


def test_the_path_of_a_revision_has_the_slash_or_has_it_not(
    revision: Revision, sandbox: Sandbox, ask: Ask, error: Error
) -> None:
    other = PLAIN if revision.path.endswith("/") else f"{PLAIN}/"
    response = ask(sandbox, revision=revision, path=other)
    assert response.status == 404
    assert error(response)["code"] == "not_found"


def test_another_path_is_not_found(revision: Revision, sandbox: Sandbox, ask: Ask) -> None:
    assert ask(sandbox, revision=revision, path="/api/profiles").status == 404


def test_only_get_is_allowed(revision: Revision, sandbox: Sandbox, ask: Ask) -> None:
    response = ask(sandbox, revision=revision, method="POST")
    assert response.status == 405
    assert response.header("allow") == "GET"


@pytest.mark.parametrize("date", ["2026", "2026-13-01", "yesterday", "2026-7-15", "2026-07-15."])
def test_a_malformed_revision_is_a_bad_request(
    date: str, sandbox: Sandbox, ask: Ask, error: Error
) -> None:
    response = ask(sandbox, date=date)
    assert response.status == 400
    assert error(response)["source"] == {"parameter": "revision"}


def test_a_request_without_a_revision_is_a_bad_request(sandbox: Sandbox, error: Error) -> None:
    headers = {"authorization": "Klaviyo-API-Key pk_a"}
    response = sandbox.handle(Request(path=registry.NEWEST.path, headers=headers))
    assert response.status == 400
    assert error(response)["source"] == {"parameter": "revision"}


@pytest.mark.parametrize("date", ["2098-01-15", "2026-07-16", "2026-07-15.pre"])
def test_a_revision_that_does_not_exist_is_not_found(date: str, sandbox: Sandbox, ask: Ask) -> None:
    assert ask(sandbox, date=date).status == 404


def test_a_published_revision_is_not_found_before_its_day(ask: Ask) -> None:
    kept = {revision.date for revision in registry.REVISIONS}
    date = [date for date in PUBLISHED if date not in kept][-1]
    day = datetime.fromisoformat(date).replace(tzinfo=UTC)
    for start, status in ((day - timedelta(seconds=1), 404), (day, 200)):
        sandbox = Sandbox(jobs=1, clock=VirtualClock(start=start))
        assert ask(sandbox, date=date).status == status


def test_a_kept_revision_is_served_even_when_the_clock_is_behind(
    revision: Revision, ask: Ask
) -> None:
    clock = VirtualClock(start=datetime(2020, 1, 1, tzinfo=UTC))
    assert ask(Sandbox(jobs=1, clock=clock), revision=revision).status == 200


def test_the_newest_revisions_are_served_by_an_equal_one_before_them(
    clock: VirtualClock, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [attrs.evolve(registry.NEWEST, date=date) for date in ("2022-10-17", "2026-07-15")]
    monkeypatch.setattr(registry, "REVISIONS", tuple(kept))
    response = ask(Sandbox(jobs=1, clock=clock), date="2026-10-15")
    assert response.status == 200
    assert response.header("x-klaviyo-api-revision") == "2026-07-15"


def test_a_deprecated_revision_announces_when_it_retires(ask: Ask) -> None:
    published = datetime.fromisoformat(registry.NEWEST.date).replace(tzinfo=UTC)
    deprecated = published.replace(year=published.year + 1)
    announced = []
    for start in (deprecated - timedelta(seconds=1), deprecated):
        response = ask(Sandbox(jobs=1, clock=VirtualClock(start=start)))
        announced.append(response.header("x-klaviyo-api-retirement-date"))
    assert announced == [None, f"{published.year + 2}-{registry.NEWEST.date[5:]}"]


def test_a_retired_revision_is_gone_for_who_opts_out(
    clock: VirtualClock, ask: Ask, data: Data
) -> None:
    first = registry.REVISIONS[0]
    response = ask(Sandbox(jobs=1, clock=clock, retired=[first.date]), revision=first)
    assert response.status == 410
    assert set(data(response)) == {"message"}


@pytest.mark.parametrize(
    ("first", "second"),
    list(itertools.pairwise(registry.REVISIONS)),
    ids=lambda revision: revision.date,
)
def test_a_retired_revision_falls_forward_to_the_next_live_one_for_who_does_not(
    first: Revision, second: Revision, clock: VirtualClock, ask: Ask, data: Data
) -> None:
    sandbox = Sandbox(jobs=1, clock=clock, retired=[first.date])
    response = ask(sandbox, revision=first, opt_out=False)
    assert response.status == 200
    assert response.header("x-klaviyo-api-revision") == second.date
    assert response.header("content-type") == second.media_type
    assert ("id" in data(response)["data"][0]) is not second.id_in_attributes


@pytest.mark.parametrize("path", [PLAIN, f"{PLAIN}/"])
def test_a_revision_that_is_not_kept_retires_by_the_calendar(path: str, ask: Ask) -> None:
    statuses = []
    for day in (14, 15):
        sandbox = Sandbox(jobs=1, clock=VirtualClock(start=datetime(2026, 7, day, tzinfo=UTC)))
        statuses += [
            ask(sandbox, date="2024-07-15", path=path, opt_out=opt_out).status
            for opt_out in (True, False)
        ]
    assert statuses == [200, 200, 410, 200]


def test_nothing_is_left_when_every_kept_revision_is_retired(clock: VirtualClock, ask: Ask) -> None:
    sandbox = Sandbox(jobs=1, clock=clock, retired=[r.date for r in registry.REVISIONS])
    assert ask(sandbox, opt_out=False).status == 410
    assert ask(sandbox, date="2025-10-15").status == 404


def test_a_revision_that_never_was_cannot_be_retired(clock: VirtualClock) -> None:
    with pytest.raises(ValueError, match="2021-01-01"):
        Sandbox(clock=clock, retired=["2021-01-01"])


class Weight(enum.Enum):
    LIGHT = "light"


class NewAttributes(msgspec.Struct, kw_only=True):
    status: str | None = None
    processed_count: int | None = None
    mood: str | None = None
    history: list[str | None] | None = None
    weight: Weight | None = None
    anything: object = None


class NewJob(msgspec.Struct, kw_only=True):
    id: str | None = None
    attributes: NewAttributes | None = None


class NewPage(msgspec.Struct, kw_only=True):
    data: list[NewJob]


def test_a_new_revision_in_the_registry_is_served_in_its_own_shape(
    clock: VirtualClock, ask: Ask, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    code: Any = types.SimpleNamespace(page_model=NewPage, job_model=NewJob)
    new: Revision = registry.Revision(
        date="2099-01-15",
        path="/api/catalog/variant-create-jobs",
        media_type="application/json",
        burst=10,
        steady=100,
        fields=("id", "status", "processed_count", "mood"),
        statuses=registry.NEWEST.statuses,
        id_in_attributes=False,
        query=(),
        package="none",
        load=lambda: code,
    )
    monkeypatch.setattr(registry, "REVISIONS", (*registry.REVISIONS, new))
    sandbox = Sandbox(jobs=2, jobs_per_page=1, clock=clock)
    response = ask(sandbox, revision=new)
    assert response.header("content-type") == "application/json"
    assert response.header("x-klaviyo-api-revision") == "2099-01-15"
    assert response.header("ratelimit-limit") == "10, 10;w=1, 100;w=60"
    page = data(response)
    assert page["links"] == {}
    assert page["data"][0]["id"] == sandbox.jobs[0].id
    attributes = page["data"][0]["attributes"]
    assert set(attributes) == {"status", "processed_count", "mood", "history", "weight"}
    assert attributes["weight"] == "light"
    assert isinstance(attributes["processed_count"], int)
    assert isinstance(attributes["mood"], str)

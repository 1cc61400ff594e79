"""Revisions, statuses and fields are known by name before anything is sent."""

from __future__ import annotations

import datetime as dt
import re
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import attrs
import msgspec
import pytest

from klaviyo_variant_jobs import NEWEST, REVISIONS, Revision, external_id, job_id
from klaviyo_variant_jobs.revisions import (
    LIFECYCLE,
    check_extra_query,
    check_fields,
    check_status,
    find,
    retired_on,
    stable_until,
)

# Shaped like the revisions before 2023-12-15, whether one of them is kept or not.
OLD = attrs.evolve(NEWEST, fields=(*NEWEST.fields, "job_id"), id_in_attributes=True)
every_revision = pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.date)


@every_revision
def test_a_revision_is_found_by_its_date_or_is_itself(revision: Revision[Any]) -> None:
    assert find(revision.date) is revision
    assert find(revision) is revision


@pytest.mark.parametrize(
    "date", ["2026-07-16", NEWEST.date[:-1], f" {NEWEST.date}", "", "newest", None]
)
def test_an_unknown_date_is_refused_with_the_known_ones(date: Any) -> None:
    known = ", ".join(revision.date for revision in REVISIONS)
    with pytest.raises(ValueError, match=re.escape(f"knows {known}. Pin one of these")):
        find(date)


def test_a_year_stable_and_a_year_deprecated() -> None:
    assert stable_until("2026-07-15") == dt.date(2027, 7, 15)
    assert retired_on("2026-07-15") == dt.date(2028, 7, 15)
    assert stable_until("2024-02-29") == dt.date(2025, 2, 28)
    assert retired_on("2026-07-15.pre") == dt.date(2028, 7, 15)


def test_no_status_means_no_filter() -> None:
    assert check_status(NEWEST, None) == ()


@every_revision
def test_statuses_come_in_lifecycle_order_whatever_the_callers(revision: Revision[Any]) -> None:
    assert check_status(revision, LIFECYCLE[::-1]) == LIFECYCLE
    assert check_status(revision, {"complete", "queued"}) == ("queued", "complete")
    assert check_status(revision, "processing") == ("processing",)


def test_a_status_is_asked_for_once() -> None:
    assert check_status(NEWEST, ["complete", "queued", "complete"]) == ("queued", "complete")


def test_a_status_of_a_later_revision_comes_after_the_known_lifecycle() -> None:
    later = attrs.evolve(NEWEST, statuses=("queued", "paused", "complete"))
    assert check_status(later, ["paused", "complete", "queued"]) == (
        "queued",
        "complete",
        "paused",
    )


def test_members_of_the_generated_enum_become_plain_strings() -> None:
    statuses = import_module(f"{NEWEST.package}.models").JobStatus
    (status,) = check_status(NEWEST, statuses.QUEUED)
    assert type(status) is str
    assert status == "queued"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("done", f"unknown status 'done'; revision {NEWEST.date} has queued, processing, complete"),
        (["queued", "x", "y"], "unknown status 'x', 'y'"),
        ('queued")&page[size]=1', "unknown status"),
        ("", "unknown status ''"),
        ([], "status is empty: pass None"),
        ([None], "a status must be a string, not NoneType"),
        (b"queued", "a status must be a string, not int"),
        (1, "a status must be a string, or several, not int"),
    ],
)
def test_an_unfit_status_is_refused(status: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        check_status(NEWEST, status)


@every_revision
def test_no_fields_mean_all(revision: Revision[Any]) -> None:
    assert check_fields(revision, None) == ()


def test_fields_are_asked_for_once_and_as_given() -> None:
    asked = check_fields(NEWEST, iter(["status", "created_at", "status"]))
    assert asked == ("status", "created_at")
    assert check_fields(NEWEST, "status") == ("status",)


def test_the_identifier_is_always_asked_for_where_it_is_an_attribute() -> None:
    assert check_fields(OLD, ["status"]) == ("status", "job_id")
    assert check_fields(OLD, ["job_id", "status"]) == ("job_id", "status")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (["colour"], f"unknown field 'colour'; revision {NEWEST.date} has "),
        ("status,created_at", "unknown field 'status,created_at'"),
        (["status&page[size]=1"], "unknown field"),
        ([], "fields is empty: pass None"),
        ([1], "a field must be a string, not int"),
        (1, "a field must be a string, or several, not int"),
    ],
)
def test_an_unfit_field_is_refused(fields: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_fields(NEWEST, fields)


SORTED = attrs.evolve(NEWEST, query=(*NEWEST.query, "sort", "page[size]"))


@every_revision
def test_no_more_parameters_are_sent_than_asked_for(revision: Revision[Any]) -> None:
    assert check_extra_query(revision, None) == ()
    assert check_extra_query(revision, {}) == ()


def test_more_parameters_are_texts_in_the_order_of_their_names() -> None:
    asked = {"sort": "-id", "page[size]": 5}
    assert check_extra_query(SORTED, asked) == (("page[size]", "5"), ("sort", "-id"))


@pytest.mark.parametrize(
    "name", ["filter", "page[cursor]", "fields[catalog-variant-bulk-create-job]", "sorting", ""]
)
def test_a_parameter_that_is_unknown_or_has_an_argument_of_its_own_is_refused(name: str) -> None:
    said = f"extra_query has {name!r}; besides what arguments are for, revision {NEWEST.date} takes"
    with pytest.raises(ValueError, match=re.escape(said)):
        check_extra_query(SORTED, {"sort": "id", name: "x"})


@every_revision
def test_the_identifier_is_found_whichever_revision_a_job_came_from(
    revision: Revision[Any],
) -> None:
    model = revision.load().job_model
    if revision.id_in_attributes:
        assert job_id(msgspec.convert({"attributes": {"job_id": "J1"}}, model)) == "J1"
        assert job_id(model()) is None
    else:
        assert job_id(model(id="J1")) == "J1"


def test_an_identifier_that_came_as_something_else_is_none() -> None:
    assert job_id(SimpleNamespace(id=17, attributes=None)) is None
    assert job_id(SimpleNamespace(id=None, attributes={"job_id": "J1"})) is None
    assert job_id("no job at all") is None


@pytest.mark.parametrize(
    ("meta", "expected"),
    [({"external_id": "SKU-1"}, "SKU-1"), ({"external_id": 1}, None), ({}, None), (None, None)],
)
def test_the_external_id_of_an_error_is_in_its_meta(meta: object, expected: str | None) -> None:
    assert external_id(SimpleNamespace(meta=meta)) == expected


def test_an_error_without_meta_has_no_external_id() -> None:
    assert external_id(object()) is None

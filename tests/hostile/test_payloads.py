"""Pages whose values are not what the schema says, and pages of arbitrary JSON."""

from __future__ import annotations

import datetime as dt
import json
import pickle
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from hostile.drive import AsyncDrive, Drive, SyncDrive
from hostile.fault_server import FaultServer, Honest, job, reply
from klaviyo_variant_jobs import InvalidResponseError, RetryPolicy, job_id

ONCE = RetryPolicy(max_attempts=1)

ATTRIBUTES = (
    "status",
    "created_at",
    "total_count",
    "completed_count",
    "failed_count",
    "completed_at",
    "expires_at",
    "errors",
)


def told(page: Any) -> dict[str, Any]:
    """The anomalies of a page: what came at which path."""
    return {str(anomaly): anomaly.value for anomaly in page.anomalies}


def one_page(drive: Drive, server: FaultServer, *entries: Any, left_out: int = 0) -> Any:
    """A page of these entries with an ordinary job before and behind them."""
    data = [job("FIRST"), *entries, job("LAST")]
    server.say(lambda answer: reply(200, answer.but(data=data)))
    page = drive.get_page(server.url)
    assert len(page.jobs) == len(data) - left_out
    for position, name in ((0, "FIRST"), (-1, "LAST")):
        assert page.jobs[position].id == name
        assert page.jobs[position].attributes.total_count == 3
    pickle.loads(pickle.dumps(page.jobs))
    return page


@pytest.mark.parametrize("status", ["paused", "", "COMPLETE", "x" * 10_000, "é\u0000"])
def test_an_unknown_status_is_kept_as_its_text(
    drive: Drive, server: FaultServer, status: str
) -> None:
    page = one_page(drive, server, job("X", status=status))
    assert page.jobs[1].attributes.status == status
    assert page.anomalies == ()


WHOLE: dict[str, Any] = {
    "id": "E1",
    "code": "invalid",
    "title": "Invalid",
    "detail": "no such image",
    "source": {"pointer": "/data/attributes/image"},
    "meta": {"external_id": "SKU-1"},
}
PARTIAL = {
    "one missing": [{k: v for k, v in WHOLE.items() if k != name} for name in WHOLE],
    "one null": [WHOLE | {name: None} for name in WHOLE],
    "one only": [{name: WHOLE[name]} for name in WHOLE],
    "some": [{"detail": "d", "meta": {}, "source": {}}, {"source": {"pointer": None}}, {}],
}


@pytest.mark.parametrize("errors", PARTIAL.values(), ids=PARTIAL)
def test_job_errors_of_every_partial_shape_are_kept(
    drive: Drive, server: FaultServer, errors: list[dict[str, Any]]
) -> None:
    page = one_page(drive, server, job("X", errors=errors))
    assert page.anomalies == ()
    for kept, served in zip(page.jobs[1].attributes.errors, errors, strict=True):
        for name in WHOLE:
            assert (getattr(kept, name) is None) == (served.get(name) is None)
        if served.get("meta"):
            assert kept.meta["external_id"] == "SKU-1"


@pytest.mark.parametrize("name", ATTRIBUTES)
@pytest.mark.parametrize("null", [True, False], ids=["null", "missing"])
def test_an_attribute_that_is_null_or_missing_is_none(
    drive: Drive, server: FaultServer, name: str, null: bool
) -> None:
    entry = job("X", **{name: None})
    if not null:
        del entry["attributes"][name]
    page = one_page(drive, server, entry)
    assert getattr(page.jobs[1].attributes, name) is None
    assert page.anomalies == ()


@pytest.mark.parametrize("member", ["type", "attributes", "relationships", "links"])
@pytest.mark.parametrize("null", [True, False], ids=["null", "missing"])
def test_a_member_of_a_job_that_is_null_or_missing_leaves_the_rest(
    drive: Drive, server: FaultServer, member: str, null: bool
) -> None:
    entry = job("X")
    entry[member] = None
    if not null:
        del entry[member]
    page = one_page(drive, server, entry)
    assert page.jobs[1].id == "X"
    assert page.jobs[1].attributes.status == (None if member == "attributes" else "complete")


def test_a_job_of_nothing_at_all_is_still_a_job(drive: Drive, server: FaultServer) -> None:
    page = one_page(drive, server, {}, {"id": None, "type": None, "attributes": {}})
    assert [job_id(entry) for entry in page.jobs] == ["FIRST", "", "", "LAST"]
    assert page.jobs[1].attributes.errors is None


ODD = [5, -1, 2.5, 10**40, True, "text", "", "5", [], [[]], {}, {"a": {"b": [1]}}, {"id": "x"}]
DECLARED: dict[str, Any] = {
    "status": str,
    "created_at": dt.datetime,
    "total_count": int,
    "completed_count": int,
    "failed_count": int,
    "completed_at": dt.datetime,
    "expires_at": dt.datetime,
    "errors": list,
}


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_a_value_of_a_type_nobody_declared_never_sits_in_its_place(
    drive: Drive, server: FaultServer, name: str
) -> None:
    page = one_page(drive, server, *(job("X", **{name: value}) for value in ODD))
    anomalies = told(page)
    assert anomalies
    for position, value in enumerate(ODD, 1):
        attributes = page.jobs[position].attributes
        found = getattr(attributes, name)
        assert found is None or (isinstance(found, DECLARED[name]) and found is not True)
        here = f"data[{position}].attributes.{name}"
        if found is None:
            assert anomalies[here] == value
        elif found != value:  # Converted, or without an item that is none.
            assert any(path.startswith(here) for path in anomalies)
        for other in ATTRIBUTES:
            if other != name:
                assert getattr(attributes, other) == getattr(page.jobs[0].attributes, other)


@pytest.mark.parametrize("value", [{}, [], {"a": 1}, 5], ids=repr)
@pytest.mark.parametrize("path", ["code", "title", "detail", "id"])
def test_values_where_strings_belong_are_reported_and_no_others_are_in_their_place(
    drive: Drive, server: FaultServer, path: str, value: Any
) -> None:
    page = one_page(drive, server, job("X", errors=[{"detail": "ok", path: value}]))
    # A number says as a string what it said.
    expected = str(value) if isinstance(value, int) else None
    assert getattr(page.jobs[1].attributes.errors[0], path) == expected
    assert told(page) == {f"data[1].attributes.errors[0].{path}": value}


@pytest.mark.parametrize(
    ("served", "read"), [("5", 5), ("-5", -5), (5.0, 5), ("five", None), (5.5, None)]
)
def test_a_count_is_converted_where_nothing_is_lost(
    drive: Drive, server: FaultServer, served: Any, read: int | None
) -> None:
    page = one_page(drive, server, job("X", total_count=served))
    found = page.jobs[1].attributes.total_count
    assert (found, type(found)) == (read, type(read))


def test_a_number_for_an_identifier_is_its_digits(drive: Drive, server: FaultServer) -> None:
    page = one_page(drive, server, job("X") | {"id": 17})
    assert page.jobs[1].id == job_id(page.jobs[1]) == "17"
    assert told(page) == {"data[1].id": 17}


def test_strictly_a_value_that_does_not_fit_is_an_error_with_a_checkpoint(
    drive: Drive, server: FaultServer
) -> None:
    server.pages[1][1]["attributes"]["total_count"] = "three"
    run = drive.iterate(server.url, strict=True)
    assert type(run.error) is InvalidResponseError
    assert run.ids == ["A1", "A2", "A3"]
    rest = drive.iterate(server.url, resume=str(run.error.checkpoint))
    assert run.ids + rest.ids == server.ids


NO_JOBS = [5, "job", True, 2.5, [], ["A1"], [[]]]


@pytest.mark.parametrize("entry", NO_JOBS, ids=repr)
def test_an_entry_that_is_no_job_is_left_out_and_the_jobs_around_it_are_whole(
    drive: Drive, server: FaultServer, entry: Any
) -> None:
    page = one_page(drive, server, entry, left_out=1)
    assert told(page) == {"data[1]": entry}


@pytest.mark.parametrize("entry", [5, [[]], None], ids=repr)
def test_a_resume_beside_entries_that_are_no_jobs_loses_none(
    drive: Drive, server: FaultServer, entry: Any
) -> None:
    server.pages[0][1:1] = [entry, entry]
    whole = drive.iterate(server.url).ids
    assert whole == ["A1", "A2", "A3", "B1", "B2", "C1"]
    for taken in range(len(whole) + 1):
        first = drive.iterate(server.url, most=taken)
        rest = drive.iterate(server.url, resume=str(first.checkpoint))
        assert first.ids + rest.ids == whole


def test_a_number_beyond_every_range_is_no_count(drive: Drive, server: FaultServer) -> None:
    body = b'{"data": [{"id": "A", "attributes": {"total_count": 1e999}}, {"id": "B"}]}'
    server.say(lambda answer: reply(200, body))
    page = drive.get_page(server.url)
    assert [entry.id for entry in page.jobs] == ["A", "B"]
    assert page.jobs[0].attributes.total_count is None
    assert list(told(page)) == ["data[0].attributes.total_count"]


HALF_A_PAIR = "\ud83d"


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        (job("X", errors=[{"detail": HALF_A_PAIR}]), "data[1].attributes.errors[0].detail"),
        (job("X", errors=[{"code": HALF_A_PAIR}]), "data[1].attributes.errors[0].code"),
        (job("X", created_at=HALF_A_PAIR), "data[1].attributes.created_at"),
        (job("X", status=HALF_A_PAIR), "data[1].attributes.status"),
    ],
    ids=["detail", "code", "time", "status"],
)
def test_half_a_surrogate_pair_costs_no_job_and_is_reported(
    drive: Drive, server: FaultServer, entry: dict[str, Any], path: str
) -> None:
    page = one_page(drive, server, entry)
    assert told(page) == {path: HALF_A_PAIR}
    *parents, name = path.removeprefix("data[1].").replace("[0]", ".0").split(".")
    kept: Any = page.jobs[1]
    for parent in parents:
        kept = kept[0] if parent == "0" else getattr(kept, parent)
    assert getattr(kept, name) is None
    assert page.jobs[1].id == "X"


def test_half_a_surrogate_pair_in_a_field_nobody_knows_does_no_harm(
    drive: Drive, server: FaultServer
) -> None:
    page = one_page(drive, server, job("X", novelty=HALF_A_PAIR))
    assert page.anomalies == ()
    assert page.jobs[1].attributes == page.jobs[0].attributes


def test_an_integer_of_thousands_of_digits_costs_no_job_and_is_reported(
    drive: Drive, server: FaultServer
) -> None:
    digits = "9" * 5_000
    body = '{"data": [{"id": "A", "attributes": {"total_count": 0}}, {"id": "B"}]}'
    server.say(lambda answer: reply(200, body.replace("0", digits)))
    page = drive.get_page(server.url)
    assert [entry.id for entry in page.jobs] == ["A", "B"]
    found = page.jobs[0].attributes.total_count
    assert found is None or isinstance(found, int)
    assert list(told(page)) == ["data[0].attributes.total_count"]


def test_a_page_with_a_job_named_by_half_a_surrogate_pair_can_be_resumed_on(
    drive: Drive, server: FaultServer
) -> None:
    server.pages[0][1]["id"] = HALF_A_PAIR
    whole = drive.iterate(server.url).ids
    assert [name for name in whole if name] == ["A1", "A3", "B1", "B2", "C1"]
    for taken in range(len(whole) + 1):
        first = drive.iterate(server.url, most=taken)
        rest = drive.iterate(server.url, resume=str(first.checkpoint))
        # With nothing to look for, the page is given again.
        assert rest.ids[-(len(whole) - taken) or len(rest.ids) :] == whole[taken:]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "type", "attributes", "links", "next", "errors", "data", *ATTRIBUTES]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
pages = st.fixed_dictionaries(
    {"data": st.lists(json_values, max_size=4)},
    optional={"links": json_values, "meta": json_values, "included": json_values},
)


@pytest.mark.parametrize("drive", [SyncDrive(), AsyncDrive()], ids=["sync", "async"])
def test_a_page_of_arbitrary_json_is_a_page_or_an_error_of_the_family(drive: Drive) -> None:
    with FaultServer([["A1"]]) as server:

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(document=pages | json_values)
        def check(document: Any) -> None:
            body = json.dumps(document)
            server.script.clear()

            def arbitrary(answer: Honest) -> Any:
                return reply(200, body)

            server.say(arbitrary)
            try:
                jobs = drive.get_page(server.url, retry=ONCE).jobs
            except InvalidResponseError:
                return
            assert len(jobs) <= len(document["data"])

        check()

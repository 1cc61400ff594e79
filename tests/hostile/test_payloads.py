"""Pages whose values are not what the schema says, and pages of arbitrary JSON."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostile.drive import AsyncDrive, Drive, SyncDrive
from hostile.fault_server import FaultServer, Honest, job, reply
from klaviyo_variant_jobs import InvalidResponseError, job_id

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


def one_page(drive: Drive, server: FaultServer, *entries: Any, **options: Any) -> Any:
    """A page of these entries with an ordinary job before and behind them."""
    data = [job("FIRST"), *entries, job("LAST")]
    server.say(lambda answer: reply(200, answer.but(data=data)))
    page = drive.get_page(server.url, **options)
    assert len(page.jobs) == len(data)
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
    assert [job_id(entry) for entry in page.jobs] == ["FIRST", None, None, "LAST"]
    assert page.jobs[1].attributes.errors is None


ODD = [5, -1, 2.5, 10**40, True, "text", "", "5", [], [[]], {}, {"a": {"b": [1]}}, {"id": "x"}]


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_a_value_of_a_type_nobody_declared_is_kept_as_it_came(
    drive: Drive, server: FaultServer, name: str
) -> None:
    page = one_page(drive, server, *(job("X", **{name: value}) for value in ODD))
    assert page.anomalies
    for position, value in enumerate(ODD, 1):
        attributes = page.jobs[position].attributes
        here = f"data[{position}].attributes.{name}"
        if any(path.startswith(here) for path in page.anomalies):
            assert getattr(attributes, name) == value
        for other in ATTRIBUTES:
            if other != name:
                assert getattr(attributes, other) == getattr(page.jobs[0].attributes, other)


@pytest.mark.parametrize("value", [{}, [], {"a": 1}, 5], ids=repr)
@pytest.mark.parametrize("path", ["code", "title", "detail", "id"])
def test_objects_where_strings_belong_are_kept_and_reported(
    drive: Drive, server: FaultServer, path: str, value: Any
) -> None:
    page = one_page(drive, server, job("X", errors=[{"detail": "ok", path: value}]))
    assert getattr(page.jobs[1].attributes.errors[0], path) == value
    assert page.anomalies == (f"data[1].attributes.errors[0].{path}",)


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
def test_an_entry_that_is_no_job_is_kept_and_the_jobs_around_it_are_whole(
    drive: Drive, server: FaultServer, entry: Any
) -> None:
    page = one_page(drive, server, entry)
    assert page.jobs[1] == entry
    assert page.anomalies == ("data[1]",)
    assert job_id(page.jobs[1]) is None


@pytest.mark.parametrize("entry", [5, [[]], None], ids=repr)
def test_a_resume_beside_entries_that_are_no_jobs_loses_none(
    drive: Drive, server: FaultServer, entry: Any
) -> None:
    server.pages[0][1:1] = [entry, entry]
    whole = drive.iterate(server.url).ids
    assert [name for name in whole if name] == ["A1", "A2", "A3", "B1", "B2", "C1"]
    for taken in range(len(whole) + 1):
        first = drive.iterate(server.url, most=taken)
        rest = drive.iterate(server.url, resume=str(first.checkpoint))
        # With nothing to look for, the page is given again.
        assert rest.ids[-(len(whole) - taken) or len(rest.ids) :] == whole[taken:]


def test_numbers_beyond_every_range_are_kept(drive: Drive, server: FaultServer) -> None:
    body = b'{"data": [{"id": "A", "attributes": {"total_count": 1e999}}, {"id": "B"}]}'
    server.say(lambda answer: reply(200, body))
    page = drive.get_page(server.url)
    assert [entry.id for entry in page.jobs] == ["A", "B"]
    assert page.jobs[0].attributes.total_count == float("inf")


HALF_A_PAIR = "\ud83d"


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        (job("X", errors=[{"detail": HALF_A_PAIR}]), "data[1].attributes.errors[0].detail"),
        (job("X", errors=[{"meta": {HALF_A_PAIR: 1}}]), "data[1].attributes.errors[0].meta"),
        (job("X", created_at=HALF_A_PAIR), "data[1].attributes.created_at"),
        (job("X", status=HALF_A_PAIR), "data[1].attributes.status"),
        (job("X") | {"id": HALF_A_PAIR}, "data[1].id"),
    ],
    ids=["detail", "meta", "time", "status", "id"],
)
def test_half_a_surrogate_pair_costs_no_job_and_is_reported(
    drive: Drive, server: FaultServer, entry: dict[str, Any], path: str
) -> None:
    page = one_page(drive, server, entry)
    assert page.anomalies == (path,)
    *parents, name = path.removeprefix("data[1].").replace("[0]", ".0").split(".")
    kept: Any = page.jobs[1]
    for parent in parents:
        kept = kept[0] if parent == "0" else getattr(kept, parent)
    assert HALF_A_PAIR in getattr(kept, name)


def test_half_a_surrogate_pair_in_a_field_nobody_knows_does_no_harm(
    drive: Drive, server: FaultServer
) -> None:
    page = one_page(drive, server, job("X", novelty=HALF_A_PAIR))
    assert page.anomalies == ()
    assert page.jobs[1].attributes == page.jobs[0].attributes


def test_an_integer_of_thousands_of_digits_is_kept_to_the_last(
    drive: Drive, server: FaultServer
) -> None:
    digits = "9" * 5_000
    body = '{"data": [{"id": "A", "attributes": {"total_count": 0}}, {"id": "B"}]}'
    server.say(lambda answer: reply(200, body.replace("0", digits)))
    page = drive.get_page(server.url)
    assert [entry.id for entry in page.jobs] == ["A", "B"]
    assert str(page.jobs[0].attributes.total_count) == digits
    assert page.anomalies == ("data[0].attributes.total_count",)


def test_a_job_named_by_half_a_surrogate_pair_can_be_resumed_from(
    drive: Drive, server: FaultServer
) -> None:
    server.pages[0][1]["id"] = HALF_A_PAIR
    first = drive.iterate(server.url, most=2)
    rest = drive.iterate(server.url, resume=str(first.checkpoint))
    assert [*first.ids, *rest.ids] == ["A1", HALF_A_PAIR, "A3", "B1", "B2", "C1"]


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
                jobs = drive.get_page(server.url).jobs
            except InvalidResponseError:
                return
            assert len(jobs) == len(document["data"])

        check()

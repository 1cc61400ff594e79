"""A page is decoded whole, whatever odd values it has, or refused as no page."""

from __future__ import annotations

import contextlib
import json
import sys
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from types import FrameType
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, strategies as st

from klaviyo_variant_jobs import REVISIONS, Anomaly, InvalidResponseError, Revision
from klaviyo_variant_jobs.decode.fit import PageDecoder
from klaviyo_variant_jobs.revisions import job_id

DECODERS = [PageDecoder(revision.load().page_model) for revision in REVISIONS]
NEWEST = DECODERS[-1]
STRICT = PageDecoder(REVISIONS[-1].load().page_model, strict=True)

Decoded = tuple[Any, tuple[Anomaly, ...]]


def decoded(document: object, decoder: PageDecoder = NEWEST) -> Decoded:
    return decoder.decode(json.dumps(document).encode())


def only_job(job: object, decoder: PageDecoder = NEWEST) -> Decoded:
    page, anomalies = decoded({"data": [job]}, decoder)
    (entry,) = page.data
    return entry, anomalies


def attributes(**values: object) -> Decoded:
    job, anomalies = only_job({"type": "t", "id": "J1", "attributes": values})
    assert job.id == "J1"
    return job.attributes, anomalies


def paths(anomalies: tuple[Anomaly, ...]) -> list[str]:
    return [str(anomaly) for anomaly in anomalies]


def test_a_page_that_fits_is_decoded_into_the_generated_classes() -> None:
    found, anomalies = attributes(
        status="complete",
        created_at="2026-09-04T13:41:16.380858+00:00",
        completed_at="2026-09-04T15:42:00+02:00",
        total_count=3,
        errors=[{"detail": "Bad.", "meta": {"external_id": "V1"}}],
    )
    assert anomalies == ()
    assert found.status == "complete"
    assert found.created_at == datetime(2026, 9, 4, 13, 41, 16, 380858, tzinfo=UTC)
    assert found.completed_at.utcoffset() == timedelta(hours=2)
    assert found.total_count == 3
    assert found.errors[0].detail == "Bad."
    assert found.errors[0].code is None


def test_absent_and_null_attributes_are_none() -> None:
    for values in ({}, dict.fromkeys(("status", "created_at", "errors", "total_count"))):
        found, anomalies = attributes(**values)
        assert found.status is found.created_at is found.errors is found.total_count is None
        assert anomalies == ()


def test_unknown_fields_do_no_harm() -> None:
    page, anomalies = decoded(
        {
            "data": [{"id": "J1", "new": [1], "attributes": {"new": {}}}],
            "new": {"deep": [{}]},
            "meta": {"agent_hints": {"new": 1}, "new": 1},
        }
    )
    assert anomalies == ()
    assert job_id(page.data[0]) == "J1"


def test_a_new_status_is_kept_as_its_text_and_is_no_anomaly() -> None:
    found, anomalies = attributes(status="paused")
    assert found.status == "paused"
    assert anomalies == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("total_count", "three"),
        ("total_count", "3.5"),
        ("total_count", "nan"),
        ("total_count", ""),
        ("total_count", "null"),
        ("total_count", 3.5),
        ("total_count", True),
        ("total_count", {"value": 3}),
        ("created_at", "yesterday"),
        ("created_at", "17"),
        ("created_at", 17),
        ("created_at", {"value": "2026"}),
        ("status", 5),
        ("status", ["complete"]),
        ("errors", {"detail": "Bad."}),
        ("errors", "Bad."),
    ],
)
def test_a_misfit_reads_as_none_and_its_path_and_value_are_told(name: str, value: object) -> None:
    found, anomalies = attributes(**{"failed_count": 7, name: value})
    assert getattr(found, name) is None
    assert anomalies == (Anomaly(f"data[0].attributes.{name}", value),)
    assert str(anomalies[0]) == f"data[0].attributes.{name}"
    assert found.failed_count == 7


@pytest.mark.parametrize(("value", "read"), [("3", 3), ("-3", -3), (3.0, 3), ("3.0", 3)])
def test_a_count_in_another_form_is_converted_and_told(value: object, read: int) -> None:
    found, anomalies = attributes(total_count=value)
    assert found.total_count == read
    assert type(found.total_count) is int
    assert anomalies == (Anomaly("data[0].attributes.total_count", value),)


@pytest.mark.parametrize(
    ("value", "read"), [(5, "5"), (2.5, "2.5"), (1 << 70, str(1 << 70)), (True, ""), (None, "")]
)
def test_an_id_is_always_text(value: object, read: str) -> None:
    job, anomalies = only_job({"id": value, "attributes": {"status": "complete"}})
    assert job.id == read
    assert job.attributes.status == "complete"
    assert anomalies == (Anomaly("data[0].id", value),)


def test_a_missing_id_is_told_and_other_missing_members_are_not() -> None:
    job, anomalies = only_job({})
    assert job.id == ""
    assert job.attributes.status is None
    assert anomalies == (Anomaly("data[0].id", None),)


@pytest.mark.parametrize("value", [None, [], "text", 5])
def test_an_object_that_is_always_there_reads_as_an_empty_one(value: object) -> None:
    job, anomalies = only_job({"id": "J1", "attributes": value})
    assert job == only_job({"id": "J1"})[0]
    assert anomalies == (Anomaly("data[0].attributes", value),)


def test_only_what_is_odd_is_left_out() -> None:
    errors = [{"detail": "Bad.", "code": {"value": 1}}, "text", {"source": {"pointer": []}}]
    found, anomalies = attributes(errors=errors, created_at="2026-09-04T13:41:16Z")
    assert paths(anomalies) == [
        "data[0].attributes.errors[0].code",
        "data[0].attributes.errors[1]",
        "data[0].attributes.errors[2].source.pointer",
    ]
    first, last = found.errors
    assert (first.detail, first.code) == ("Bad.", None)
    assert last.source.pointer is None
    assert found.created_at == datetime(2026, 9, 4, 13, 41, 16, tzinfo=UTC)


@pytest.mark.parametrize("entry", [None, 5, "text", [], [{"id": "J1"}], True])
def test_an_entry_that_is_no_job_is_left_out_and_told(entry: object) -> None:
    page, anomalies = decoded({"data": [{"id": "J1"}, entry, {"id": "J3"}]})
    assert [job.id for job in page.data] == ["J1", "J3"]
    assert anomalies == (Anomaly("data[1]", entry),)


def test_a_number_beyond_all_ranges_is_an_odd_value_like_others() -> None:
    page, anomalies = NEWEST.decode(b'{"data": [{"id": 1e999}, {"id": "J2"}]}')
    assert paths(anomalies) == ["data[0].id"]
    assert [job.id for job in page.data] == ["", "J2"]


def test_an_integer_without_end_makes_no_page_impassable() -> None:
    digits = "9" * 5_000
    body = f'{{"data": [{{"id": {digits}, "attributes": {{"total_count": {digits}}}}}]}}'
    page, anomalies = NEWEST.decode(body.encode())
    assert page.data[0].id == digits
    assert page.data[0].attributes.total_count is None
    assert paths(anomalies) == ["data[0].id", "data[0].attributes.total_count"]


HALF_A_PAIR = "\ud83d"


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"errors": [{"detail": HALF_A_PAIR}]}, "errors[0].detail"),
        ({"errors": [{"detail": "d", "meta": {"a": [HALF_A_PAIR]}}]}, "errors[0].meta"),
        ({"errors": [{"detail": "d", "meta": {HALF_A_PAIR: 1}}]}, "errors[0].meta"),
        ({"created_at": HALF_A_PAIR}, "created_at"),
        ({"status": HALF_A_PAIR}, "status"),
    ],
)
def test_half_a_surrogate_pair_is_a_misfit_like_others(values: dict[str, Any], path: str) -> None:
    found, anomalies = attributes(total_count=1, **values)
    assert paths(anomalies) == [f"data[0].attributes.{path}"]
    assert found.total_count == 1
    msgspec.json.encode(found)


def test_half_a_surrogate_pair_in_a_field_nobody_knows_does_no_harm() -> None:
    assert attributes(new=HALF_A_PAIR, status="complete") == attributes(status="complete")


@pytest.mark.parametrize("links", ["text", 5, [], {"next": 5}, {"next": "https://x", "self": {}}])
def test_odd_links_leave_the_jobs_whole(links: object) -> None:
    page, anomalies = decoded({"data": [{"id": "J1"}], "links": links})
    assert job_id(page.data[0]) == "J1"
    assert len(anomalies) == 1
    assert anomalies[0].path.startswith("links")
    if isinstance(links, dict):
        assert page.links.next == str(links["next"])


@pytest.mark.parametrize("links", [{}, None, {"next": None}])
def test_links_may_be_null_or_missing(links: object) -> None:
    page, anomalies = decoded({"data": [], "links": links})
    assert anomalies == ()
    assert getattr(page.links, "next", None) is None
    assert decoded({"data": []})[0].links is None


@pytest.mark.parametrize("decoder", [*DECODERS, STRICT])
@pytest.mark.parametrize("text", ["2022-10-17T08:15:30", "2022-10-17T08:15:30.25"])
def test_a_time_without_an_offset_means_utc_and_is_no_anomaly(
    decoder: PageDecoder, text: str
) -> None:
    job, anomalies = only_job({"id": "J1", "attributes": {"created_at": text}}, decoder)
    assert job.attributes.created_at == datetime.fromisoformat(text).replace(tzinfo=UTC)
    assert anomalies == ()


def test_a_time_with_an_offset_keeps_it_on_either_path() -> None:
    for extra in ({}, {"total_count": "odd"}):
        found, _ = attributes(created_at="2026-09-04T15:00:00+05:30", **extra)
        zone = timezone(timedelta(hours=5, minutes=30))
        assert found.created_at == datetime(2026, 9, 4, 15, tzinfo=zone)
        assert found.created_at.utcoffset() == timedelta(hours=5, minutes=30)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"<html><title>Just a moment...</title></html>",
        b"null",
        b"[]",
        b"17",
        b'"data"',
        b"{}",
        b'{"jobs": []}',
        b'{"data": null}',
        b'{"data": {}}',
        b'{"data": "text"}',
        b'{"data": [{"id": "J1"}]',
        b'{"data": [{"id": "J1"}]} trailing',
        b'{"data": [{"id": "J1", "attributes": {"status": "comp',
        b'{"data": [{"id": 5}, {"id": "J2"',
        b'{"data": [{"id": "\xff"}]}',
        b'{"data": [{"id": 5, "type": "\xff"}]}',
        b"\xff\xfe",
        b"\x1f\x8b\x08garbage",
        b"[" * 100_000,
        b'{"data": ' + b"[" * 100_000,
        b'{"data": [{"id": 5, "attributes": ' + b'{"a":' * 100_000,
    ],
)
@pytest.mark.parametrize("decoder", [NEWEST, STRICT])
def test_a_body_that_is_no_page_is_refused(body: bytes, decoder: PageDecoder) -> None:
    with pytest.raises(InvalidResponseError, match=r"HTTP 200, but the body") as caught:
        decoder.decode(body)
    assert caught.value.body == body[: 64 * 1024]
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_strictly_an_odd_value_is_an_error_that_names_its_path() -> None:
    errors = [{"code": {}} for _ in range(7)]
    body = json.dumps({"data": [{"id": "J1", "attributes": {"errors": errors}}]}).encode()
    with pytest.raises(InvalidResponseError, match=r"errors\[0\]\.code; without") as caught:
        STRICT.decode(body)
    assert caught.value.body == body
    assert "errors[1]" not in str(caught.value)


def test_strictly_a_page_that_fits_is_decoded() -> None:
    document = {"data": [{"id": "J1", "new": 1, "attributes": {"status": "paused"}}]}
    assert decoded(document, STRICT) == decoded(document)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["complete", "2026-09-04T13:41:16", "https://x/y"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "type",
                    "attributes",
                    "links",
                    "relationships",
                    "variants",
                    "data",
                    "errors",
                    "status",
                    "source",
                    "pointer",
                    "meta",
                    "created_at",
                    "job_id",
                    "next",
                    "total_count",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=10,
)


@pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.date)
@given(
    data=st.lists(values, max_size=4),
    rest=st.dictionaries(st.sampled_from(["links", "meta", "included", "new"]), values),
)
@example(data=[{"id": 1 << 70}], rest={})
@example(data=[{"attributes": {"errors": [[]]}}], rest={"included": [5]})
def test_any_page_keeps_the_order_of_its_jobs_and_every_type_holds(
    revision: Revision[Any], data: list[Any], rest: dict[str, Any]
) -> None:
    code = revision.load()
    page, anomalies = decoded({"data": data, **rest}, PageDecoder(code.page_model))
    assert len(page.data) == len([entry for entry in data if isinstance(entry, dict)])
    assert not anomalies or all(isinstance(anomaly, Anomaly) for anomaly in anomalies)
    # What is of its type can be written down and read back on the fast path.
    assert msgspec.json.decode(msgspec.json.encode(page), type=code.page_model) == page


@given(values)
def test_any_json_is_a_page_or_is_refused(content: object) -> None:
    try:
        decoded(content)
    except InvalidResponseError:
        assert not isinstance(content, dict) or not isinstance(content.get("data"), list)


@given(
    st.binary(max_size=60)
    | st.binary(max_size=30).map(lambda raw: b'{"data":[{"id":5},' + raw + b"]}")
)
def test_any_bytes_are_a_page_or_are_refused(body: bytes) -> None:
    try:
        NEWEST.decode(body)
    except InvalidResponseError as error:
        assert error.body == body


MIB = 1 << 20


def filled(head: str, unit: str, tail: str, size: int) -> bytes:
    """A body of about that size with as many units as fit."""
    count = (size - len(head) - len(tail)) // (len(unit) + 1)
    return f"{head}{','.join([unit] * count)}{tail}".encode()


IN_ERRORS = '{"data":[{"id":"a","attributes":{"errors":['


def in_detail(text: str) -> bytes:
    return f'{IN_ERRORS}{{"detail":"{text}"}}]}}}}]}}'.encode()


IN_META = f'{IN_ERRORS}{{"meta":{{"x":['
NAIVE = dict.fromkeys(("created_at", "completed_at", "expires_at"), "2022-10-17T08:15:30")
WIDE = ",".join(f'"k{number:06d}":"v{number:06d}"' for number in range(590_000))

WORST: dict[str, Callable[[], bytes]] = {
    "null jobs": lambda: filled('{"data":[', "null", "]}", 16 * MIB),
    "fewer null jobs": lambda: filled('{"data":[', "null", "]}", MIB),
    "numbers": lambda: filled('{"data":[', "1", "]}", 16 * MIB),
    "fewer numbers": lambda: filled('{"data":[', "1", "]}", MIB),
    "small jobs": lambda: filled('{"data":[', '{"id":"a"}', "]}", 3 * MIB),
    "small objects": lambda: filled(IN_ERRORS, "{}", "]}}]}", 3 * MIB // 2),
    "small objects behind an odd one": lambda: filled(
        f"{IN_ERRORS}5,", "{}", "]}}]}", 3 * MIB // 2
    ),
    "objects nobody knows": lambda: filled(IN_META, '{"":999}', "]}}]}}]}", 3 * MIB),
    "a wide object": lambda: f'{IN_ERRORS}{{"meta":{{{WIDE}}}}}]}}}}]}}'.encode(),
    "a wide odd job": lambda: f'{{"data":[{{"id":5,{WIDE}}}]}}'.encode(),
    "deep nesting": lambda: b'{"data":[{"id":5,"x":' + b"[" * MIB,
    "escapes": lambda: in_detail("\\u00e9" * (16 * MIB // 6 - 20)),
    "wide text and half a pair": lambda: in_detail("\\ud83d\U0001f600" + "a" * (15 * MIB)),
    "an integer without end": lambda: f'{{"data":[{{"id":{"9" * (15 * MIB)}}}]}}'.encode(),
    "times without an offset": lambda: json.dumps(
        {"data": [{"id": "J", "attributes": NAIVE}] * 10_000}
    ).encode(),
}


@pytest.mark.parametrize("make", WORST.values(), ids=WORST)
def test_the_worst_bodies_cost_little_memory_and_few_steps(make: Callable[[], bytes]) -> None:
    body = make()
    assert len(body) <= 16 * MIB
    steps = 0

    def count(_frame: FrameType, _event: str, _argument: object) -> None:
        nonlocal steps
        steps += 1

    with contextlib.suppress(InvalidResponseError):
        tracemalloc.start()
        try:
            NEWEST.decode(body)
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
    assert peak < 200 * MIB
    sys.setprofile(count)
    try:
        with contextlib.suppress(InvalidResponseError):
            NEWEST.decode(body)
    finally:
        sys.setprofile(None)
    # Calls of Python and C functions, each well under a microsecond.
    assert steps < 5_000_000


def test_a_page_has_at_most_ten_thousand_jobs() -> None:
    for job in ({"id": "J"}, {"id": 5}):
        many = [{"id": "J"}] * 9_999
        assert len(decoded({"data": [*many, job]})[0].data) == 10_000
        with pytest.raises(InvalidResponseError, match="more than 10000 jobs"):
            decoded({"data": [*many, job, job]})


def test_a_page_has_at_most_a_thousand_anomalies() -> None:
    odd = [{"id": number} for number in range(1_000)]
    assert len(decoded({"data": odd})[1]) == 1_000
    with pytest.raises(InvalidResponseError, match="more than 1000 values that do not fit"):
        decoded({"data": [*odd, None]})

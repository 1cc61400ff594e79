"""A page is decoded whole, whatever odd values it has, or refused as no page."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from klaviyo_variant_jobs import REVISIONS, InvalidResponseError, Revision
from klaviyo_variant_jobs.decode import Decoded, PageDecoder
from klaviyo_variant_jobs.revisions import job_id

DECODERS = [PageDecoder(revision.load().page_model) for revision in REVISIONS]
NEWEST = DECODERS[-1]
STRICT = PageDecoder(REVISIONS[-1].load().page_model, strict=True)


def decoded(document: object, decoder: PageDecoder = NEWEST) -> Decoded:
    return decoder.decode(json.dumps(document).encode())


def only_job(job: object, decoder: PageDecoder = NEWEST) -> tuple[Any, tuple[str, ...]]:
    page = decoded({"data": [job]}, decoder)
    (entry,) = page.document.data
    return entry, page.anomalies


def attributes(**values: object) -> tuple[Any, tuple[str, ...]]:
    job, anomalies = only_job({"type": "t", "id": "J1", "attributes": values})
    assert job.id == "J1"
    return job.attributes, anomalies


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
    page = decoded(
        {
            "data": [{"id": "J1", "new": [1], "attributes": {"new": {}}}],
            "new": {"deep": [{}]},
            "meta": {"agent_hints": {"new": 1}, "new": 1},
        }
    )
    assert page.anomalies == ()
    assert job_id(page.document.data[0]) == "J1"


def test_a_new_status_is_kept_as_its_text_and_is_no_anomaly() -> None:
    found, anomalies = attributes(status="paused")
    assert found.status == "paused"
    assert anomalies == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("total_count", "3"),
        ("total_count", 3.5),
        ("total_count", True),
        ("total_count", {"value": 3}),
        ("created_at", "yesterday"),
        ("created_at", 17),
        ("created_at", {"value": "2026"}),
        ("status", 5),
        ("status", ["complete"]),
        ("errors", {"detail": "Bad."}),
        ("errors", "Bad."),
    ],
)
def test_an_odd_value_is_kept_as_it_came_and_its_path_is_told(name: str, value: object) -> None:
    found, anomalies = attributes(**{"failed_count": 7, name: value})
    assert getattr(found, name) == value
    assert type(getattr(found, name)) is type(value)
    assert anomalies == (f"data[0].attributes.{name}",)
    assert found.failed_count == 7


def test_only_what_is_odd_stays_odd() -> None:
    errors = [{"detail": "Bad.", "code": {"value": 1}}, "text", {"source": {"pointer": 5}}]
    found, anomalies = attributes(errors=errors, created_at="2026-09-04T13:41:16Z")
    assert anomalies == (
        "data[0].attributes.errors[0].code",
        "data[0].attributes.errors[1]",
        "data[0].attributes.errors[2].source.pointer",
    )
    assert found.errors[0].detail == "Bad."
    assert found.errors[0].code == {"value": 1}
    assert found.errors[1] == "text"
    assert found.errors[2].source.pointer == 5
    assert found.created_at == datetime(2026, 9, 4, 13, 41, 16, tzinfo=UTC)


@pytest.mark.parametrize("entry", [5, "text", [], [{"id": "J1"}], True])
def test_a_job_that_is_no_object_keeps_its_place(entry: object) -> None:
    page = decoded({"data": [{"id": "J1"}, entry, {"id": "J3"}]})
    first, odd, last = page.document.data
    assert (job_id(first), odd, job_id(last)) == ("J1", entry, "J3")
    assert page.anomalies == ("data[1]",)


def test_null_for_an_object_reads_like_an_empty_one() -> None:
    page = decoded({"data": [None, {"id": "J2", "attributes": None}]})
    null, second = page.document.data
    assert job_id(null) is None
    assert job_id(second) == "J2"
    assert page.anomalies == ()


def test_a_number_beyond_all_ranges_is_an_odd_value_like_others() -> None:
    page = NEWEST.decode(b'{"data": [{"id": 1e999}, {"id": "J2"}]}')
    assert page.anomalies == ("data[0].id",)
    assert job_id(page.document.data[1]) == "J2"


def test_jobs_around_an_odd_one_are_decoded_as_ever() -> None:
    page = decoded({"data": [{"id": "J1"}, {"id": 2}, {"id": "J3", "attributes": None}]})
    assert [entry.id for entry in page.document.data] == ["J1", 2, "J3"]  # type: ignore[attr-defined]
    assert page.anomalies[0] == "data[1].id"


@pytest.mark.parametrize("links", ["text", 5, [], {"next": 5}, {"next": "https://x", "self": {}}])
def test_odd_links_leave_the_jobs_whole(links: object) -> None:
    page = decoded({"data": [{"id": "J1"}], "links": links})
    assert job_id(page.document.data[0]) == "J1"
    assert len(page.anomalies) == 1
    assert page.anomalies[0].startswith("links")
    if isinstance(links, dict):
        assert page.document.links is not None
        assert page.document.links.next == links["next"]


@pytest.mark.parametrize("links", [{}, None, {"next": None}])
def test_links_may_be_null_or_missing(links: object) -> None:
    page = decoded({"data": [], "links": links})
    assert page.anomalies == ()
    assert getattr(page.document.links, "next", None) is None
    assert decoded({"data": []}).document.links is None


def test_a_missing_object_of_an_odd_job_is_an_empty_one() -> None:
    job, anomalies = only_job({"id": 5})
    assert job.attributes.status is None
    assert anomalies == ("data[0].id",)


@pytest.mark.parametrize("decoder", [*DECODERS, STRICT])
@pytest.mark.parametrize("text", ["2022-10-17T08:15:30", "2022-10-17T08:15:30.25"])
def test_a_time_without_an_offset_means_utc_and_is_no_anomaly(
    decoder: PageDecoder, text: str
) -> None:
    job, anomalies = only_job({"attributes": {"created_at": text}}, decoder)
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


@pytest.mark.parametrize(
    ("body", "early"),
    [
        (b'{"data": [{"id": "J1"', True),
        (b'{"data": [{"id": 5}, {"id": "J2"', True),
        (b'{"data": [{"id": "J1"}]} trailing', False),
        (b"<html>", False),
        (b"", False),
    ],
)
def test_a_document_without_its_end_is_told_from_other_nonsense(body: bytes, early: bool) -> None:
    with pytest.raises(InvalidResponseError) as caught:
        NEWEST.decode(body)
    assert caught.value.ends_early is early


def test_strictly_an_odd_value_is_an_error_that_names_its_path() -> None:
    errors = [{"code": number} for number in range(7)]
    body = json.dumps({"data": [{"attributes": {"errors": errors}}]}).encode()
    with pytest.raises(InvalidResponseError, match=r"^7 values .*errors\[0\]\.code") as caught:
        STRICT.decode(body)
    assert caught.value.body == body
    assert "errors[4].code, …; without strict=True" in str(caught.value)


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
def test_any_page_keeps_the_number_and_order_of_its_jobs(
    revision: Revision[Any], data: list[Any], rest: dict[str, Any]
) -> None:
    page = decoded({"data": data, **rest}, PageDecoder(revision.load().page_model))
    assert len(page.document.data) == len(data)
    for entry, came in zip(page.document.data, data, strict=True):
        if came is None or isinstance(came, dict):
            assert isinstance(entry, revision.load().job_model)
        else:
            assert entry == came


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

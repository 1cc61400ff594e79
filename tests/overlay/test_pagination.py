"""Cursors, offsets and links: where an iteration stands and where it goes. Without I/O."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fake_api import ORIGIN, PATH, next_link
from klaviyo_variant_jobs import Checkpoint, CheckpointError, Page, PaginationError
from klaviyo_variant_jobs.pagination import Endpoint, Query, Walk

ENDPOINT = Endpoint(ORIGIN + PATH)
LINK = next_link("abc")


def fault(link: object) -> str:
    """What is wrong with a link."""
    found = ENDPOINT.cursor_in(link)
    assert isinstance(found, PaginationError)
    return str(found)


def test_no_link_is_no_cursor() -> None:
    assert ENDPOINT.cursor_in(None) is None


@pytest.mark.parametrize(
    "link",
    [
        f"{ORIGIN}{PATH}?page%5Bcursor%5D=abc",
        f"{ORIGIN}{PATH}?page[cursor]=abc",
        f"{ORIGIN}{PATH}/?page%5bcursor%5d=abc",
        f"{ORIGIN}:443{PATH}?page[cursor]=abc",
        f"HTTPS://A.KLAVIYO.COM{PATH}?page[cursor]=abc",
        f"{ORIGIN}{PATH}?filter=equals(status%2C%22queued%22)&page%5Bcursor%5D=abc&fields%5Bx%5D=",
        f"{ORIGIN}{PATH}?page[cursor]=abc#fragment",
    ],
)
def test_the_cursor_is_found_however_the_link_is_written(link: str) -> None:
    assert ENDPOINT.cursor_in(link) == "abc"


def test_a_trailing_slash_makes_no_difference_on_either_side() -> None:
    slashed = Endpoint(f"{ORIGIN}{PATH}/")
    assert slashed.cursor_in(LINK) == "abc"
    assert slashed.cursor_in(f"{ORIGIN}{PATH}/?page[cursor]=abc") == "abc"


def test_a_port_and_a_path_before_the_api_belong_to_the_endpoint() -> None:
    behind = Endpoint(f"http://127.0.0.1:8080/proxy{PATH}")
    assert behind.cursor_in(f"http://127.0.0.1:8080/proxy{PATH}?page[cursor]=abc") == "abc"
    for link in (
        f"http://127.0.0.1:8081/proxy{PATH}?page[cursor]=abc",
        f"http://127.0.0.1:8080{PATH}?page[cursor]=abc",
        f"https://127.0.0.1:8080/proxy{PATH}?page[cursor]=abc",
        f"http://127.0.0.1/proxy{PATH}?page[cursor]=abc",
    ):
        assert isinstance(behind.cursor_in(link), PaginationError)


@pytest.mark.parametrize(
    "link",
    [
        f"http://a.klaviyo.com{PATH}?page[cursor]=abc",
        f"https://b.klaviyo.com{PATH}?page[cursor]=abc",
        f"https://a.klaviyo.com.evil.example{PATH}?page[cursor]=abc",
        f"https://a.klaviyo.com@evil.example{PATH}?page[cursor]=abc",
        f"https://evil.example\\@a.klaviyo.com{PATH}?page[cursor]=abc",
        f"https://user:pass@a.klaviyo.com{PATH}?page[cursor]=abc",
        f"https://@a.klaviyo.com{PATH}?page[cursor]=abc",
        f"https://a.klaviyo.com:8443{PATH}?page[cursor]=abc",
        f"//evil.example{PATH}?page[cursor]=abc",
        f"{PATH}?page[cursor]=abc",
        "?page[cursor]=abc",
        "",
        "ftp://a.klaviyo.com",
        "javascript:alert(1)",
        "abc",
    ],
)
def test_a_link_to_another_origin_is_no_link_of_ours(link: str) -> None:
    assert "leads to another host" in fault(link)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/api",
        PATH + "s",
        PATH + "/J1",
        PATH + "/../../x",
        "/x" + PATH,
        PATH + ";x",
        PATH.upper(),
    ],
)
def test_a_link_to_another_path_is_no_link_of_ours(path: str) -> None:
    assert "leads to another path" in fault(f"{ORIGIN}{path}?page[cursor]=abc")


@pytest.mark.parametrize(
    "link", ["https://[::1", "https://a.klaviyo.com:port/x", "https://a.klaviyo.com:99999/"]
)
def test_a_link_that_is_no_url_says_so(link: str) -> None:
    assert "is no URL" in fault(link)


@pytest.mark.parametrize("link", [5, True, {}, [LINK], {"href": LINK}, 1.5])
def test_a_link_that_is_no_string_says_so(link: object) -> None:
    assert f"is no string but {type(link).__name__}" in fault(link)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?",
        "?page[cursor]",
        "?page[cursor]=",
        "?cursor=abc",
        "?page[size]=5",
        "#page[cursor]=abc",
    ],
)
def test_a_link_without_a_cursor_says_so(query: str) -> None:
    assert "has no cursor" in fault(f"{ORIGIN}{PATH}{query}")


def test_a_link_with_several_cursors_says_so() -> None:
    assert "has several cursors" in fault(f"{LINK}&page[cursor]=def")


def test_a_long_link_is_quoted_in_part() -> None:
    assert len(fault("https://evil.example/" + "x" * 10_000)) < 500


@given(st.text(min_size=1))
@example("a b+c&d=e#f?g/h%2Fi;j,k[l]é\u2028")
@example("\udcff\udc80")
def test_a_cursor_comes_out_of_a_link_as_it_went_in(cursor: str) -> None:
    try:
        quoted = urllib.parse.quote(cursor, safe="", errors="surrogateescape")
    except UnicodeEncodeError:
        return
    link = f"{ORIGIN}{PATH}?page%5Bcursor%5D={quoted}"
    found = ENDPOINT.cursor_in(link)
    assert isinstance(found, str)
    assert found.encode("utf-8", "surrogateescape") == cursor.encode("utf-8", "surrogateescape")


@given(st.binary(min_size=1))
def test_bytes_that_are_no_utf_8_survive_in_a_cursor(raw: bytes) -> None:
    link = f"{ORIGIN}{PATH}?page%5Bcursor%5D={urllib.parse.quote_from_bytes(raw, safe='')}"
    found = ENDPOINT.cursor_in(link)
    assert isinstance(found, str)
    assert found.encode("utf-8", "surrogateescape") == raw
    checkpoint = Checkpoint(revision="2026-07-15", cursor=found)
    assert Checkpoint.parse(str(checkpoint)) == checkpoint


@given(
    st.text()
    | st.text("abc:/@?&=[]%#\\.;5BDbd\t ").map(f"{ORIGIN}".__add__)
    | st.text("abc:/@?&=[]%#\\.;5BDbd\t ").map(f"{ORIGIN}{PATH}?page[cursor]".__add__)
    | st.none()
    | st.integers()
)
def test_any_link_is_a_cursor_an_error_or_nothing(link: object) -> None:
    found = ENDPOINT.cursor_in(link)
    if found is None:
        assert link is None
    else:
        assert isinstance(found, PaginationError) or found


# Pages and the walk along them.


@attrs.frozen
class Job:
    id: str | None


def page(ids: Sequence[str | None], next_: object = None, cursor: str | None = None) -> Page[Job]:
    return Page(
        jobs=[Job(id) for id in ids],
        cursor=cursor,
        rate_limit=None,
        request_id=None,
        revision_served=None,
        anomalies=(),
        next=next_,  # type: ignore[arg-type]
    )


def walk(*status: str, resume: Checkpoint | None = None, fields: tuple[str, ...] = ()) -> Walk[Job]:
    return Walk("2026-07-15", status, fields, resume)


def given_by(walk: Walk[Job], page: Page[Job]) -> list[str | None]:
    return [job.id for job in turn(walk, page)]


def turn(walk: Walk[Job], page: Page[Job]) -> Sequence[Job]:
    walk.at = walk.turned(page)
    return walk.at.jobs


def test_a_page_tells_its_next_cursor_and_an_unusable_link_is_raised_anew_each_time() -> None:
    assert page([]).next_cursor is None
    assert page([], "abc").next_cursor == "abc"
    odd = page([], ENDPOINT.cursor_in("https://evil.example"))
    raised = []
    for _ in range(2):
        with pytest.raises(PaginationError, match="leads to another host") as caught:
            _ = odd.next_cursor
        raised.append(caught.value)
    assert raised[0] is not raised[1]
    assert "evil" not in repr(odd)


def test_a_walk_goes_from_cursor_to_cursor_to_the_end() -> None:
    along = walk(fields=("status",))
    assert along.upcoming() == Query(None, ("status",), None)
    assert given_by(along, page(["J1", "J2"], "c2")) == ["J1", "J2"]
    assert along.upcoming() == Query(None, ("status",), "c2")
    assert given_by(along, page(["J3"], cursor="c2")) == ["J3"]
    assert along.upcoming() is None


def test_an_empty_page_does_not_end_a_walk() -> None:
    along = walk()
    assert given_by(along, page([], "c2")) == []
    assert along.upcoming() == Query(cursor="c2")


def test_each_status_is_a_pass_of_its_own() -> None:
    along = walk("queued", "complete")
    assert along.upcoming() == Query("queued")
    turn(along, page(["J1"], "c2"))
    assert along.upcoming() == Query("queued", cursor="c2")
    turn(along, page(["J2"]))
    assert along.upcoming() == Query("complete")
    turn(along, page(["J3"], "c2"))
    assert along.upcoming() == Query("complete", cursor="c2")
    turn(along, page(["J4"]))
    assert along.upcoming() is None


def test_a_job_that_moved_on_between_passes_is_given_once() -> None:
    along = walk("queued", "complete")
    assert given_by(along, page(["J1", "J2"])) == ["J1", "J2"]
    assert given_by(along, page(["J2", "J3", "J2", None, None])) == ["J3", None, None]


@pytest.mark.parametrize("status", [(), ("queued",), ("queued", "complete")])
def test_a_cursor_that_came_before_ends_the_walk_with_an_error(status: tuple[str, ...]) -> None:
    along = walk(*status)
    turn(along, page(["J1"], "c2"))
    turn(along, page(["J2"], "c3", "c2"))
    assert given_by(along, page(["J3"], "c2", "c3")) == ["J3"]
    for _ in range(2):
        with pytest.raises(PaginationError, match=r"next cursor 'c2' came before"):
            along.upcoming()


def test_a_page_that_names_itself_as_the_next_ends_the_walk_after_a_resume_too() -> None:
    along = walk(resume=Checkpoint(revision="2026-07-15", cursor="c2"))
    turn(along, page(["J1"], "c2", "c2"))
    with pytest.raises(PaginationError, match="came before"):
        along.upcoming()


def test_an_unusable_link_is_raised_anew_after_the_jobs_of_its_page() -> None:
    along = walk()
    assert given_by(along, page(["J1"], ENDPOINT.cursor_in("https://evil.example"))) == ["J1"]
    raised = []
    for _ in range(2):
        with pytest.raises(PaginationError, match="leads to another host") as caught:
            along.upcoming()
        raised.append(caught.value)
    assert raised[0] is not raised[1]
    assert along.checkpoint(1).last_job_id == "J1"


def test_before_the_first_page_the_checkpoint_is_the_start() -> None:
    assert walk("queued", fields=("id",)).checkpoint(0) == Checkpoint(
        revision="2026-07-15", status=("queued",), fields=("id",)
    )


def test_a_checkpoint_within_a_page_names_its_cursor_offset_and_last_job() -> None:
    along = walk()
    turn(along, page(["J1"], "c2"))
    turn(along, page(["J2", "J3", "J4"], "c3", "c2"))
    places = [along.checkpoint(given) for given in range(4)]
    assert [(place.cursor, place.offset, place.last_job_id) for place in places] == [
        ("c2", 0, None),
        ("c2", 1, "J2"),
        ("c2", 2, "J3"),
        ("c3", 0, None),
    ]


def test_at_the_end_the_checkpoint_stays_on_the_last_job() -> None:
    along = walk()
    turn(along, page(["J1", "J2"]))
    place = along.checkpoint(2)
    assert (place.cursor, place.offset, place.last_job_id) == (None, 2, "J2")
    again = walk(resume=place)
    assert given_by(again, page(["J1", "J2"])) == []
    assert again.upcoming() is None


def test_a_checkpoint_counts_jobs_that_were_left_out_as_repeated() -> None:
    along = walk("queued", "complete")
    turn(along, page(["J1", "J2"]))
    turn(along, page(["J2", "J3", "J1", "J4"]))
    place = along.checkpoint(1)
    assert (place.status_index, place.offset, place.last_job_id) == (1, 2, "J3")


def test_resuming_goes_on_after_the_job_wherever_it_is_on_the_page_now() -> None:
    place = Checkpoint(revision="2026-07-15", offset=2, last_job_id="J2")
    assert given_by(walk(resume=place), page(["J1", "J2", "J3"])) == ["J3"]
    assert given_by(walk(resume=place), page(["new", "J1", "J2", "J3"])) == ["J3"]
    assert given_by(walk(resume=place), page(["J2", "J3"])) == ["J3"]


def test_resuming_repeats_the_page_when_the_job_has_gone() -> None:
    place = Checkpoint(revision="2026-07-15", offset=2, last_job_id="gone")
    assert given_by(walk(resume=place), page(["J1", "J2", "J3"])) == ["J1", "J2", "J3"]
    nameless = attrs.evolve(place, last_job_id=None)
    assert given_by(walk(resume=nameless), page([None, "J2"])) == [None, "J2"]


def test_only_the_first_page_after_a_resume_is_searched() -> None:
    along = walk(resume=Checkpoint(revision="2026-07-15", offset=1, last_job_id="J1"))
    assert given_by(along, page(["J1", "J2"], "c2")) == ["J2"]
    assert given_by(along, page(["J3", "J1", "J4"], cursor="c2")) == ["J3", "J1", "J4"]


def test_a_checkpoint_before_the_first_job_after_a_resume_is_where_it_resumed() -> None:
    start = Checkpoint(revision="2026-07-15", cursor="c2", offset=1, last_job_id="J1")
    along = walk(resume=start)
    assert along.checkpoint(0) == start
    turn(along, page(["J1", "J2"], "c3", "c2"))
    assert along.checkpoint(0) == start


OTHERS = [
    ({"revision": "2022-10-17"}, "revision '2022-10-17', this iteration has '2026-07-15'"),
    ({"status": ()}, r"status None, this iteration has \['queued'\]"),
    ({"status": ("queued", "complete")}, r"status \['queued', 'complete'\]"),
    ({"fields": ("id",)}, r"fields \['id'\], this iteration has \['id', 'status'\]"),
    ({"fields": ()}, "Resume with fields=None, or list from the start"),
]


@pytest.mark.parametrize(("change", "said"), OTHERS)
def test_a_checkpoint_of_another_listing_is_refused(change: dict[str, Any], said: str) -> None:
    place = Checkpoint(revision="2026-07-15", status=("queued",), fields=("id", "status"))
    assert walk("queued", fields=("id", "status"), resume=place).upcoming()
    with pytest.raises(CheckpointError, match=said):
        walk("queued", fields=("id", "status"), resume=attrs.evolve(place, **change))


def test_the_same_fields_in_another_order_are_the_same_and_go_out_as_before() -> None:
    place = Checkpoint(revision="2026-07-15", fields=("id", "status"))
    assert walk(fields=("status", "id"), resume=place).upcoming() == Query(None, ("id", "status"))


@given(
    sizes=st.lists(st.integers(0, 4), min_size=1, max_size=5),
    passes=st.integers(1, 3),
    stop=st.integers(0, 60),
)
def test_a_walk_resumed_anywhere_gives_the_rest(sizes: list[int], passes: int, stop: int) -> None:
    status = ("queued", "processing", "complete")[:passes]
    listed = {
        name: [[f"{name}{p}.{n}" for n in range(size)] for p, size in enumerate(sizes)]
        for name in status
    }

    def run(along: Walk[Job], most: int | None = None) -> tuple[list[str | None], Checkpoint]:
        out: list[str | None] = []
        while (query := along.upcoming()) is not None:
            number = int(query.cursor or 0)
            following = str(number + 1) if number + 1 < len(sizes) else None
            turned = turn(along, page(listed[str(query.status)][number], following, query.cursor))
            for taken, job in enumerate(turned):
                if most is not None and len(out) == most:
                    return out, along.checkpoint(taken)
                out.append(job.id)
        return out, along.checkpoint(len(turned))

    everything, _ = run(walk(*status))
    before, place = run(walk(*status), stop)
    after, _ = run(walk(*status, resume=Checkpoint.parse(str(place))))
    assert before + after == everything


def test_a_job_of_any_shape_has_its_place() -> None:
    along: Walk[Any] = Walk("2026-07-15", (), ())
    shapes = [None, "text", {"id": "J1"}, SimpleNamespace(id="J2", attributes=None)]
    turn(along, attrs.evolve(page([]), jobs=shapes))  # type: ignore[arg-type]
    assert [along.checkpoint(given).last_job_id for given in range(5)] == [
        None,
        None,
        None,
        None,
        "J2",
    ]

"""Cursors, offsets and links: where an iteration stands and where it goes. Without I/O."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from hypothesis import example, given, strategies as st

from fake_api import ORIGIN, PATH, next_link
from klaviyo_variant_jobs import Checkpoint, CheckpointError, Page, PaginationError
from klaviyo_variant_jobs.checkpoint import LONGEST_CURSOR
from klaviyo_variant_jobs.decode.page import cursor_in
from klaviyo_variant_jobs.exchange import Query
from klaviyo_variant_jobs.pagination import Position, check_resumed

LINK = next_link("abc")


def fault(link: object) -> str:
    """What is wrong with a link."""
    with pytest.raises(PaginationError) as caught:
        cursor_in(link)
    return str(caught.value)


@pytest.mark.parametrize("link", [None, {"href": None}])
def test_no_link_is_no_cursor(link: object) -> None:
    assert cursor_in(link) is None


@pytest.mark.parametrize(
    "link",
    [
        f"{ORIGIN}{PATH}?page%5Bcursor%5D=abc",
        f"{ORIGIN}{PATH}?page[cursor]=abc",
        f"{ORIGIN}{PATH}/?page%5bcursor%5d=abc",
        f"{ORIGIN}{PATH}?%70age%5Bcursor]=abc",
        f"{ORIGIN}:443{PATH}?page[cursor]=abc",
        f"HTTPS://A.KLAVIYO.COM{PATH}?page[cursor]=abc",
        f"{ORIGIN}{PATH}?filter=equals(status%2C%22queued%22)&page%5Bcursor%5D=abc&fields%5Bx%5D=",
        f"{ORIGIN}{PATH}?page[cursor]=abc#fragment",
        f"{ORIGIN}{PATH}?page[cursor]=abc#?page[cursor]=def",
    ],
)
def test_the_cursor_is_found_however_the_link_is_written(link: str) -> None:
    assert cursor_in(link) == "abc"
    assert cursor_in({"href": link, "meta": {"page[cursor]": "other"}}) == "abc"


@pytest.mark.parametrize(
    "place",
    [
        "http://a.klaviyo.com" + PATH,
        "https://gateway.inside.example:8443/klaviyo" + PATH,
        "https://user:pass@a.klaviyo.com" + PATH,
        "//gateway.example" + PATH,
        "https://[::1",
        "https://a.klaviyo.com:port/x",
        "ftp://a.klaviyo.com",
        PATH,
        "/another/path",
        "",
    ],
)
def test_a_gateway_may_rewrite_all_of_a_link_but_its_cursor(place: str) -> None:
    assert cursor_in(f"{place}?page[cursor]=abc") == "abc"


@pytest.mark.parametrize("link", [5, True, [LINK], 1.5, {"href": 5}, {"href": {"href": LINK}}])
def test_a_link_that_is_no_string_says_so(link: object) -> None:
    inner = link["href"] if isinstance(link, dict) else link
    assert f"is no string but {type(inner).__name__}" in fault(link)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?",
        "?page[cursor]",
        "?page[cursor]=",
        "?page[cursor]=&page[cursor]=",
        "?cursor=abc",
        "?page[size]=5",
        "#page[cursor]=abc",
    ],
)
def test_a_link_without_a_cursor_says_so(query: str) -> None:
    assert "has no cursor" in fault(f"{ORIGIN}{PATH}{query}")


@pytest.mark.parametrize("link", ["", "abc", "javascript:alert(1)", ORIGIN])
def test_a_link_that_is_none_has_no_cursor(link: str) -> None:
    assert "has no cursor" in fault(link)


@pytest.mark.parametrize("more", ["page[cursor]=def", "page%5Bcursor%5D=abc", "page[cursor]="])
def test_a_link_with_several_cursors_says_so(more: str) -> None:
    assert "has several cursors" in fault(f"{LINK}&{more}")


@pytest.mark.parametrize("cursor", ["x" * (LONGEST_CURSOR + 1), "\ud800"])
def test_a_cursor_that_cannot_be_sent_is_refused(cursor: str) -> None:
    assert "that cannot be sent" in fault(f"{ORIGIN}{PATH}?page[cursor]={cursor}")


def test_the_longest_cursor_is_one() -> None:
    assert cursor_in(next_link("x" * LONGEST_CURSOR)) == "x" * LONGEST_CURSOR


@pytest.mark.parametrize(
    "link", ["https://evil.example/" + "x" * 10_000, "?" + "x" * 10_000, "?" + "y&" * 10_000]
)
def test_a_long_link_is_quoted_in_part(link: str) -> None:
    assert len(fault(link)) < 500


def test_a_link_is_not_quoted_because_a_key_may_be_in_it() -> None:
    assert "secret" not in fault(f"{ORIGIN}{PATH}?filter=x&api_key=pk_secret&page[size]=secret")


@given(st.text(min_size=1))
@example("a b+c&d=e#f?g/h%2Fi;j,k[l]é\u2028")
@example("\udcff\udc80")
def test_a_cursor_comes_out_of_a_link_as_it_went_in(cursor: str) -> None:
    try:
        quoted = urllib.parse.quote(cursor, safe="", errors="surrogateescape")
    except UnicodeEncodeError:
        return
    found = cursor_in(f"{ORIGIN}{PATH}?page%5Bcursor%5D={quoted}")
    assert found is not None
    assert found.encode("utf-8", "surrogateescape") == cursor.encode("utf-8", "surrogateescape")


@given(st.binary(min_size=1))
def test_bytes_that_are_no_utf_8_survive_in_a_cursor(raw: bytes) -> None:
    link = f"{ORIGIN}{PATH}?page%5Bcursor%5D={urllib.parse.quote_from_bytes(raw, safe='')}"
    found = cursor_in(link)
    assert found is not None
    assert found.encode("utf-8", "surrogateescape") == raw
    checkpoint = Checkpoint(revision="2026-07-15", cursor=found)
    assert Checkpoint.parse(str(checkpoint)) == checkpoint


@given(
    st.text()
    | st.text("abc:/@?&=[]%#\\.;5BDbd\t ").map(f"{ORIGIN}".__add__)
    | st.text("abc:/@?&=[]%#\\.;5BDbd\t ").map(f"{ORIGIN}{PATH}?page[cursor]".__add__)
    | st.none()
    | st.integers()
    | st.dictionaries(st.just("href") | st.text(), st.text() | st.integers())
)
def test_any_link_is_a_cursor_an_error_or_nothing(link: object) -> None:
    try:
        found = cursor_in(link)
    except PaginationError:
        return
    if found is None:
        assert link is None or isinstance(link, dict)
    else:
        assert Checkpoint.parse(str(Checkpoint(revision="r", cursor=found))).cursor == found


# Pages and the positions along them.


@attrs.frozen
class Job:
    id: str | None


def page(
    ids: Sequence[str | None],
    next_: str | None = None,
    cursor: str | None = None,
    *,
    link: object = None,
) -> Page[Job]:
    """A page whose next cursor is `next_`, or whose next link is `link`."""
    return Page(
        jobs=[Job(id) for id in ids],
        cursor=cursor,
        rate_limit=None,
        request_id=None,
        revision_served=None,
        anomalies=(),
        next=link if next_ is None else next_link(next_),
    )


class Walk:
    """An iteration from page to page, and the position that it has come to."""

    def __init__(
        self, *status: str, resume: Checkpoint | None = None, fields: tuple[str, ...] = ()
    ) -> None:
        asked = Checkpoint(revision="2026-07-15", status=status, fields=fields)
        check_resumed(resume or asked, asked)
        self.position: Position[Job] = Position.start(resume or asked)

    def query(self) -> Query | None:
        return self.position.query()

    def turn(self, page: Page[Job]) -> Sequence[Job]:
        self.position = self.position.turned(page)
        return self.position.jobs

    def given(self, page: Page[Job]) -> list[str | None]:
        return [job.id for job in self.turn(page)]

    def checkpoint(self, given: int) -> Checkpoint:
        return self.position.checkpoint(given)


def test_a_page_tells_its_next_cursor_and_an_unusable_link_is_raised_anew_each_time() -> None:
    assert page([]).next_cursor is None
    assert page([], "abc").next_cursor == "abc"
    odd = page([], link="https://evil.example")
    raised = []
    for _ in range(2):
        with pytest.raises(PaginationError, match="has no cursor") as caught:
            _ = odd.next_cursor
        raised.append(caught.value)
    assert raised[0] is not raised[1]
    assert "evil" not in repr(odd)


def test_a_position_is_a_value_that_turning_leaves_as_it_was() -> None:
    start: Position[Job] = Position.start(Checkpoint(revision="2026-07-15"))
    first = start.turned(page(["J1", "J2"], "c2"))
    second = first.turned(page(["J3"], "c3", "c2"))
    assert start.query() == Query()
    assert first.query() == Query(cursor="c2")
    assert [first.checkpoint(given).offset for given in range(3)] == [0, 1, 0]
    again = first.turned(page(["J3"], "c3", "c2"))
    assert (again.jobs, again.query(), again.checkpoint(0)) == (
        second.jobs,
        second.query(),
        second.checkpoint(0),
    )


@pytest.mark.parametrize("next_", ["c2", None])
def test_an_emptied_position_holds_no_job_and_asks_for_the_same(next_: str | None) -> None:
    start: Position[Job] = Position.start(
        Checkpoint(revision="2026-07-15", status=("queued", "complete"))
    )
    position = start.turned(page(["J1", "J2"], next_))
    emptied = position.emptied()
    assert (emptied.jobs, emptied.served) == ((), ())
    assert emptied.query() == position.query()
    assert emptied.checkpoint(0) == position.checkpoint(2)
    assert emptied.turned(page(["J2", "J3"], None, next_)).jobs == [Job("J3")]


def test_a_walk_goes_from_cursor_to_cursor_to_the_end() -> None:
    along = Walk(fields=("status",))
    assert along.query() == Query(None, ("status",), None)
    assert along.given(page(["J1", "J2"], "c2")) == ["J1", "J2"]
    assert along.query() == Query(None, ("status",), "c2")
    assert along.given(page(["J3"], cursor="c2")) == ["J3"]
    assert along.query() is None


def test_more_parameters_go_out_with_every_page() -> None:
    extra_query = (("page[size]", "5"),)
    start = Checkpoint(revision="2026-07-15", extra_query=extra_query)
    position: Position[Job] = Position.start(start)
    assert position.query() == Query(extra_query=extra_query)
    second = position.turned(page(["J1"], "c2"))
    assert second.query() == Query(cursor="c2", extra_query=extra_query)
    assert second.checkpoint(1).extra_query == extra_query


def test_an_empty_page_does_not_end_a_walk() -> None:
    along = Walk()
    assert along.given(page([], "c2")) == []
    assert along.query() == Query(cursor="c2")


def test_each_status_is_a_pass_of_its_own() -> None:
    along = Walk("queued", "complete")
    assert along.query() == Query("queued")
    along.turn(page(["J1"], "c2"))
    assert along.query() == Query("queued", cursor="c2")
    along.turn(page(["J2"]))
    assert along.query() == Query("complete")
    along.turn(page(["J3"], "c2"))
    assert along.query() == Query("complete", cursor="c2")
    along.turn(page(["J4"]))
    assert along.query() is None


def test_a_job_that_moved_on_between_passes_is_given_once() -> None:
    along = Walk("queued", "complete")
    assert along.given(page(["J1", "J2"])) == ["J1", "J2"]
    assert along.given(page(["J2", "J3", "J2", None, None])) == ["J3", None, None]


def test_a_job_that_slid_onto_the_next_page_is_given_once() -> None:
    along = Walk()
    assert along.given(page(["J1", "J2"], "c2")) == ["J1", "J2"]
    assert along.given(page(["J2", "J3"], "c3", "c2")) == ["J3"]
    assert along.given(page(["J2", "J3", "J4"], None, "c3")) == ["J4"]


@pytest.mark.parametrize("status", [(), ("queued",), ("queued", "complete")])
def test_a_cursor_that_came_before_ends_the_walk_with_an_error(status: tuple[str, ...]) -> None:
    along = Walk(*status)
    along.turn(page(["J1"], "c2"))
    along.turn(page(["J2"], "c3", "c2"))
    assert along.given(page(["J3"], "c2", "c3")) == ["J3"]
    for _ in range(2):
        with pytest.raises(PaginationError, match=r"next cursor 'c2' came before"):
            along.query()


def test_a_page_that_names_itself_as_the_next_ends_the_walk_after_a_resume_too() -> None:
    along = Walk(resume=Checkpoint(revision="2026-07-15", cursor="c2"))
    along.turn(page(["J1"], "c2", "c2"))
    with pytest.raises(PaginationError, match="came before"):
        along.query()


def test_the_passes_of_several_statuses_may_have_the_same_cursors() -> None:
    along = Walk("queued", "complete")
    for status in ("queued", "complete"):
        along.turn(page(["J1"], "c2"))
        assert along.query() == Query(status, cursor="c2")
        along.turn(page(["J2"], None, "c2"))
    assert along.query() is None


def test_a_long_cursor_that_came_before_is_quoted_in_part() -> None:
    along = Walk()
    along.turn(page(["J1"], "c" * 10_000))
    along.turn(page(["J2"], "c" * 10_000, "c" * 10_000))
    with pytest.raises(PaginationError, match="came before") as caught:
        along.query()
    assert len(str(caught.value)) < 500


def test_an_unusable_link_is_raised_anew_after_the_jobs_of_its_page() -> None:
    along = Walk()
    assert along.given(page(["J1"], link="https://evil.example")) == ["J1"]
    raised = []
    for _ in range(2):
        with pytest.raises(PaginationError, match="has no cursor") as caught:
            along.query()
        raised.append(caught.value)
    assert raised[0] is not raised[1]
    assert along.checkpoint(1).last_job_id == "J1"


def test_before_the_first_page_the_checkpoint_is_the_start() -> None:
    assert Walk("queued", fields=("id",)).checkpoint(0) == Checkpoint(
        revision="2026-07-15", status=("queued",), fields=("id",)
    )


def test_a_checkpoint_within_a_page_names_its_cursor_offset_and_last_job() -> None:
    along = Walk()
    along.turn(page(["J1"], "c2"))
    along.turn(page(["J2", "J3", "J4"], "c3", "c2"))
    places = [along.checkpoint(given) for given in range(4)]
    assert [(place.cursor, place.offset, place.last_job_id) for place in places] == [
        ("c2", 0, None),
        ("c2", 1, "J2"),
        ("c2", 2, "J3"),
        ("c3", 0, None),
    ]


def test_at_the_end_the_checkpoint_stays_on_the_last_job() -> None:
    along = Walk()
    along.turn(page(["J1", "J2"]))
    place = along.checkpoint(2)
    assert (place.cursor, place.offset, place.last_job_id) == (None, 2, "J2")
    again = Walk(resume=place)
    assert again.given(page(["J1", "J2"])) == []
    assert again.query() is None


def test_a_checkpoint_counts_jobs_that_were_left_out_as_repeated() -> None:
    along = Walk("queued", "complete")
    along.turn(page(["J1", "J2"]))
    along.turn(page(["J2", "J3", "J1", "J4"]))
    place = along.checkpoint(1)
    assert (place.status_index, place.offset, place.last_job_id) == (1, 2, "J3")


def test_resuming_goes_on_after_the_job_wherever_it_is_on_the_page_now() -> None:
    place = Checkpoint(revision="2026-07-15", offset=2, last_job_id="J2")
    assert Walk(resume=place).given(page(["J1", "J2", "J3"])) == ["J3"]
    assert Walk(resume=place).given(page(["new", "J1", "J2", "J3"])) == ["J3"]
    assert Walk(resume=place).given(page(["J2", "J3"])) == ["J3"]


def test_resuming_repeats_the_page_when_the_job_has_gone() -> None:
    place = Checkpoint(revision="2026-07-15", offset=2, last_job_id="gone")
    assert Walk(resume=place).given(page(["J1", "J2", "J3"])) == ["J1", "J2", "J3"]
    nameless = attrs.evolve(place, last_job_id=None)
    assert Walk(resume=nameless).given(page([None, "J2"])) == [None, "J2"]


def test_only_the_first_page_after_a_resume_is_searched() -> None:
    along = Walk(resume=Checkpoint(revision="2026-07-15", offset=1, last_job_id="J1"))
    assert along.given(page(["J1", "J2"], "c2")) == ["J2"]
    assert along.given(page(["J3", "J1", "J4"], cursor="c2")) == ["J3", "J1", "J4"]


def test_a_checkpoint_before_the_first_job_after_a_resume_is_where_it_resumed() -> None:
    start = Checkpoint(revision="2026-07-15", cursor="c2", offset=1, last_job_id="J1")
    along = Walk(resume=start)
    assert along.checkpoint(0) == start
    along.turn(page(["J1", "J2"], "c3", "c2"))
    assert along.checkpoint(0) == start


OTHERS = [
    ({"revision": "2022-10-17"}, "revision '2022-10-17', this iteration has '2026-07-15'"),
    ({"status": ()}, r"status None, this iteration has \['queued'\]"),
    ({"status": ("queued", "complete")}, r"status \['queued', 'complete'\]"),
    ({"fields": ("id",)}, r"fields \['id'\], this iteration has \['id', 'status'\]"),
    ({"fields": ()}, "Resume with fields=None, or list from the start"),
    (
        {"extra_query": (("sort", "id"),)},
        r"extra_query \[\('sort', 'id'\)\], this iteration",
    ),
]


@pytest.mark.parametrize(("change", "said"), OTHERS)
def test_a_checkpoint_of_another_listing_is_refused(change: dict[str, Any], said: str) -> None:
    place = Checkpoint(revision="2026-07-15", status=("queued",), fields=("id", "status"))
    assert Walk("queued", fields=("id", "status"), resume=place).query()
    with pytest.raises(CheckpointError, match=said):
        Walk("queued", fields=("id", "status"), resume=attrs.evolve(place, **change))


@pytest.mark.parametrize(
    "change",
    [
        {"revision": "2" * 2**20},
        {"status": ("s" * 2**20,)},
        {"status": ("s",) * 2**18},
        {"fields": ("f" * 2**20,)},
        {"extra_query": (("q" * 2**20, "x"),)},
        {"revision": "2026\n\x1b[31m\u202e"},
    ],
)
def test_a_forged_checkpoint_makes_a_short_message_of_one_line(change: dict[str, Any]) -> None:
    place = attrs.evolve(Checkpoint(revision="2026-07-15"), **change)
    with pytest.raises(CheckpointError) as caught:
        Walk(resume=place)
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()


def test_the_same_fields_in_another_order_are_the_same_and_go_out_as_before() -> None:
    place = Checkpoint(revision="2026-07-15", fields=("id", "status"))
    assert Walk(fields=("status", "id"), resume=place).query() == Query(None, ("id", "status"))


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

    def run(along: Walk, most: int | None = None) -> tuple[list[str | None], Checkpoint]:
        out: list[str | None] = []
        while (query := along.query()) is not None:
            number = int(query.cursor or 0)
            following = str(number + 1) if number + 1 < len(sizes) else None
            turned = along.turn(page(listed[str(query.status)][number], following, query.cursor))
            for taken, job in enumerate(turned):
                if most is not None and len(out) == most:
                    return out, along.checkpoint(taken)
                out.append(job.id)
        return out, along.checkpoint(len(turned))

    everything, _ = run(Walk(*status))
    before, place = run(Walk(*status), stop)
    after, _ = run(Walk(*status, resume=Checkpoint.parse(str(place))))
    assert before + after == everything


def test_jobs_of_old_revisions_are_known_by_their_attribute() -> None:
    def old(job_id: str | None) -> Any:
        return SimpleNamespace(attributes=SimpleNamespace(job_id=job_id))

    position: Position[Any] = Position.start(
        Checkpoint(revision="2022-10-17", offset=1, last_job_id="J1")
    )
    first = position.turned(attrs.evolve(page([], "c2"), jobs=[old("J1"), old(None), old("J2")]))
    assert [job.attributes.job_id for job in first.jobs] == [None, "J2"]
    assert [first.checkpoint(given).last_job_id for given in (0, 1)] == ["J1", None]
    second = first.turned(attrs.evolve(page([]), jobs=[old("J2"), old(None), old("J3")]))
    assert [job.attributes.job_id for job in second.jobs] == [None, "J3"]
    assert second.checkpoint(2).last_job_id == "J3"

"""Next links and cursors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from hostile.drive import Drive, Trial
from hostile.fault_server import PATH, Fault, FaultServer, Honest, Reply, job, reply
from klaviyo_variant_jobs import CursorError, PaginationError

Link = Callable[[FaultServer, FaultServer, str], str]
"""Makes a link of this server, another one and the query of the honest link."""


def with_links(links: Any) -> Fault:
    return lambda answer: reply(200, answer.but(links=links))


def without_links(answer: Honest) -> Reply:
    return reply(200, json.dumps({"data": answer.document["data"]}))


ENDS: dict[str, Fault] = {
    "null next": with_links({"next": None}),
    "no next": with_links({"self": "x", "prev": None}),
    "empty links": with_links({}),
    "null links": with_links(None),
    "no links": without_links,
}


@pytest.mark.parametrize("fault", ENDS.values(), ids=ENDS)
def test_a_page_without_a_next_link_is_the_last(
    drive: Drive, server: FaultServer, fault: Fault
) -> None:
    server.say(fault)
    run = drive.iterate(server.url)
    assert run.error is None
    assert run.ids == ["A1", "A2", "A3"]
    assert len(server.requests) == 1


REWRITTEN: dict[str, Link] = {
    "another host": lambda here, evil, query: evil.url + PATH + query,
    "another scheme": lambda here, evil, query: f"https{here.url[4:]}{PATH}{query}",
    "a script": lambda here, evil, query: "javascript:alert(1)//" + PATH + query,
    "no host": lambda here, evil, query: PATH + query,
    "nothing but a query": lambda here, evil, query: query,
    "a relative host": lambda here, evil, query: f"//127.0.0.1:{evil.port}{PATH}{query}",
    "the host as user": lambda here, evil, query: f"{here.url}@127.0.0.1:{evil.port}{PATH}{query}",
    "a user": lambda here, evil, query: f"http://user:pass@127.0.0.1:{here.port}{PATH}{query}",
    "a backslash": lambda here, evil, query: f"{evil.url}\\@127.0.0.1:{here.port}{PATH}{query}",
    "a host that starts alike": lambda here, evil, query: f"{here.url}.evil.test{PATH}{query}",
    "another port": lambda here, evil, query: f"http://127.0.0.1:1{PATH}{query}",
    "no port number": lambda here, evil, query: f"http://127.0.0.1:x{PATH}{query}",
    "a huge port": lambda here, evil, query: f"http://127.0.0.1:99999{PATH}{query}",
    "half an IPv6 address": lambda here, evil, query: f"http://[::1{PATH}{query}",
    "a host in other letters": lambda here, evil, query: f"http://127。0。0。1:1{PATH}{query}",
    "another path": lambda here, evil, query: f"{here.url}/api/profiles{query}",
    "a path below": lambda here, evil, query: f"{here.url}{PATH}/more{query}",
    "a path with dots": lambda here, evil, query: f"{here.url}{PATH}/../profiles{query}",
    "a trailing slash": lambda here, evil, query: f"{here.url}{PATH}/{query}",
    "no path": lambda here, evil, query: here.url + query,
    "unencoded brackets": lambda here, evil, query: (
        here.url + PATH + query.replace("%5B", "[").replace("%5D", "]")
    ),
    "encoded letters": lambda here, evil, query: (
        here.url + PATH + query.replace("page%5Bcursor%5D=p", "%70age%5bcursor%5d=%70")
    ),
    "other parameters": lambda here, evil, query: (
        f"{here.url}{PATH}?filter=x&a&=&{query[1:]}&b=c&page[size]=9"
    ),
    "a fragment": lambda here, evil, query: f"{here.url}{PATH}{query}#page[cursor]=page-2",
    "capitals in the scheme": lambda here, evil, query: f"HTTP{here.url[4:]}{PATH}{query}",
}


def leading_by(make: Link, here: FaultServer, elsewhere: FaultServer) -> Fault:
    """The honest page with its next link rewritten as a gateway may do it."""

    def fault(answer: Honest) -> Reply:
        link = answer.document.get("links", {}).get("next")
        if link is None:
            return answer.reply
        query = link[link.index("?") :]
        return reply(200, answer.but(links={"next": make(here, elsewhere, query)}))

    return fault


@pytest.mark.parametrize("make", REWRITTEN.values(), ids=REWRITTEN)
def test_only_the_cursor_is_taken_from_a_next_link_whatever_else_is_in_it(
    trial: Trial, elsewhere: FaultServer, make: Link
) -> None:
    trial.recovers(*[leading_by(make, trial.server, elsewhere)] * 3)
    assert [request.cursor for request in trial.server.requests] == [None, "page-1", "page-2"]
    assert all(set(request.query) <= {"page[cursor]"} for request in trial.server.requests)
    assert all(request.target.startswith(PATH) for request in trial.server.requests)


def test_a_next_link_may_be_an_object_with_the_address_in_it(trial: Trial) -> None:
    link = {"href": trial.server.link("page-1"), "meta": {"count": 3}}
    trial.recovers(with_links({"next": link}))


UNUSABLE: dict[str, Callable[[FaultServer], Any]] = {
    "no query": lambda here: here.url + PATH,
    "no cursor": lambda here: here.url + PATH + "?filter=x",
    "an empty cursor": lambda here: here.url + PATH + "?page%5Bcursor%5D=",
    "a cursor without a value": lambda here: here.url + PATH + "?page[cursor]",
    "two cursors": lambda here: here.link("page-1") + "&page[cursor]=page-2",
    "a cursor in the fragment": lambda here: here.url + PATH + "#?page%5Bcursor%5D=page-1",
    "an endless cursor": lambda here: here.link("c" * 100_000),
    "half a surrogate pair": lambda here: "\ud800",
    "a cursor with half a surrogate pair": lambda here: here.link("x") + "\ud83d",
    "an empty string": lambda here: "",
    "white space": lambda here: "  ",
    "no URL": lambda here: "next page please",
    "control characters": lambda here: "\x00\x1b[2J\r\n",
    "an object without an address": lambda here: {"url": here.link("page-1")},
    "an object whose address is no text": lambda here: {"href": [here.link("page-1")]},
    "a list": lambda here: [here.link("page-1")],
    "a number": lambda here: 2,
    "false": lambda here: False,
}


@pytest.mark.parametrize("link", UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_next_link_is_an_error_after_the_jobs_of_its_page(
    trial: Trial, link: Callable[[FaultServer], Any]
) -> None:
    error = trial.fails(PaginationError, with_links({"next": link(trial.server)}))
    assert str(error).isprintable()
    assert len(str(error)) < 600
    assert error.checkpoint is not None
    assert error.checkpoint.last_job_id == "A3"


@pytest.mark.parametrize("links", [[], "x", 5, False, [{"next": "x"}]], ids=repr)
def test_links_that_are_no_object_are_not_taken_for_the_end(trial: Trial, links: Any) -> None:
    trial.fails(PaginationError, with_links(links))


@pytest.mark.parametrize("link", ["no cursor", "two cursors", "a list"])
def test_a_page_asked_for_alone_keeps_its_jobs_and_tells_of_the_link_when_asked(
    drive: Drive, server: FaultServer, link: str
) -> None:
    server.say(with_links({"next": UNUSABLE[link](server)}))
    page = drive.get_page(server.url)
    assert [entry.id for entry in page.jobs] == ["A1", "A2", "A3"]
    with pytest.raises(PaginationError):
        _ = page.next_cursor


CURSORS = [
    "a&filter=equals(status,\"x\")&page[cursor]=b",
    "a#b?c=d/e//f;g:h@i",
    "100%25+%2B %20+",
    "WzE2OTk5OTk5OTkuMCwgIjAxSEQiXQ==",
    "\r\nX-Injected: yes\r\n\r\n",
    "\x00\x7f\t",
    "žluťoučký \N{PILE OF POO} \u202e",
    "\udcff\udc80 no UTF-8",
    ".." ,
    "%",
    " ",
    "null",
    "c" * 4_000,
]  # fmt: skip


def test_cursors_full_of_reserved_characters_come_back_as_they_were_sent(drive: Drive) -> None:
    listing = [[f"J{n}"] for n in range(len(CURSORS) + 1)]
    with FaultServer(listing, cursors=CURSORS) as server:
        run = drive.iterate(server.url)
        assert run.error is None
        assert run.ids == server.ids
        assert [request.cursor for request in server.requests] == [None, *CURSORS]
        assert all(set(request.query) <= {"page[cursor]"} for request in server.requests)
        assert not any("x-injected" in request.headers for request in server.requests)


@pytest.mark.parametrize("position", range(len(CURSORS)))
def test_a_checkpoint_survives_any_cursor(drive: Drive, position: int) -> None:
    with FaultServer([["A"], ["B", "C"], ["D"]], cursors=[CURSORS[position], "last"]) as server:
        first = drive.iterate(server.url, most=2)
        text = str(first.checkpoint)
        assert text.isascii()
        assert text.isprintable()
        assert drive.iterate(server.url, resume=text).ids == ["C", "D"]


def test_filter_and_fields_are_sent_again_with_every_cursor(trial: Trial) -> None:
    trial.recovers(asked={"status": "complete", "fields": ["status", "id"]})
    field = "fields[catalog-variant-bulk-create-job]"
    assert len(trial.server.requests) == 3
    for request in trial.server.requests:
        assert request.query["filter"] == ['equals(status,"complete")']
        assert request.query[field] == ["status,id"]


def test_a_cursor_that_repeats_ends_the_listing_with_an_error(trial: Trial) -> None:
    here = trial.server
    error = trial.fails(
        PaginationError,
        lambda answer: answer.reply,
        lambda answer: reply(200, answer.but(links={"next": here.link("page-1")})),
    )
    assert len(here.requests) < 6
    assert "page-1" in str(error)


def test_cursors_in_a_circle_end_the_listing_with_an_error(trial: Trial) -> None:
    circle = ["page-1", "page-2", "page-1"]

    def turn(cursor: str) -> Fault:
        return lambda answer: reply(200, answer.but(links={"next": trial.server.link(cursor)}))

    trial.fails(PaginationError, *(turn(cursor) for cursor in circle))


def test_empty_pages_with_a_next_link_do_not_end_the_listing(drive: Drive) -> None:
    with FaultServer([[], ["A"], [], [], ["B", "C"], []]) as server:
        run = drive.iterate(server.url)
        assert run.error is None
        assert run.ids == ["A", "B", "C"]
        assert len(server.requests) == 6


def test_an_empty_listing_is_no_error(drive: Drive) -> None:
    with FaultServer([]) as server:
        assert drive.iterate(server.url).jobs == []


def test_a_cursor_that_the_server_forgot_is_a_cursor_error(trial: Trial) -> None:
    gone = {"next": trial.server.link("gone")}
    trial.server.say(with_links(gone))
    run = trial.drive.iterate(trial.server.url)
    assert type(run.error) is CursorError
    assert "list from the start" in str(run.error)
    assert run.ids == ["A1", "A2", "A3"]


def test_a_job_named_twice_on_a_page_is_given_once_and_does_not_confuse_a_resume(
    drive: Drive,
) -> None:
    with FaultServer([["A", "B", "A", "C"], ["D"]]) as server:
        for taken in range(5):
            first = drive.iterate(server.url, most=taken)
            rest = drive.iterate(server.url, resume=str(first.checkpoint))
            assert first.ids == ["A", "B", "C", "D"][:taken]
            # A resume is another run, which may meet a job again.
            assert list(dict.fromkeys(first.ids + rest.ids)) == ["A", "B", "C", "D"]
            assert len(rest.ids) == len(set(rest.ids))


def test_jobs_without_an_id_are_all_given(drive: Drive) -> None:
    with FaultServer([["A", "", "B", "", "A"], ["", "C"]]) as server:
        assert drive.iterate(server.url).ids == ["A", "", "B", "", "", "C"]


def test_a_resume_whose_job_has_gone_gives_the_page_again(drive: Drive) -> None:
    with FaultServer([["A", "B", "C"], ["D"]]) as server:
        text = str(drive.iterate(server.url, most=2).checkpoint)
        server.pages[0] = [job("A"), job("C")]
        assert drive.iterate(server.url, resume=text).ids == ["A", "C", "D"]
        server.pages[0] = [job("NEW"), job("A"), job("B"), job("C")]
        assert drive.iterate(server.url, resume=text).ids == ["C", "D"]
        server.pages[0] = []
        assert drive.iterate(server.url, resume=text).ids == ["D"]

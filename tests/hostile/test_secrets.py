"""The key goes into one request header and nowhere else."""

from __future__ import annotations

import contextlib
import copy
import gc
import io
import logging
import pickle
import traceback
import types
from collections.abc import Iterator
from typing import Any

import pytest

from hostile import test_bodies, test_connections
from hostile.drive import KEY, AsyncDrive, Drive, SyncDrive
from hostile.fault_server import End, Fault, FaultServer, Honest, Reply, always, job, reply
from http_library import http
from klaviyo_variant_jobs import (
    NEWEST,
    AsyncClient,
    Client,
    KlaviyoError,
    RetryPolicy,
    TokenError,
)
from klaviyo_variant_jobs.auth import Credential

FAULTS: dict[str, Fault] = {
    **test_connections.BROKEN,
    **test_connections.SILENT,
    **test_bodies.PASSING,
    **test_bodies.CUT,
    "no page": always(200, "<html>"),
    "redirect": always(302, headers={"Location": "http://127.0.0.1:1/"}),
    "401": always(401, '{"errors": [{"detail": "Missing or invalid private key."}]}'),
    "429": always(429, headers={"Retry-After": "86400"}),
    "500": always(500, "oops"),
    "cookies": always(418, "", {"Set-Cookie": "a=b"}),
    "odd values": lambda answer: reply(200, answer.but(data=[job("A", total_count="x")], links=5)),
}
VARIANTS = [
    SyncDrive(),
    AsyncDrive(),
    SyncDrive(prefetch=1),
    AsyncDrive(prefetch=1),
    SyncDrive(through=True),
    AsyncDrive(through=True),
]


def holds_key(thing: object) -> bool:
    if isinstance(thing, str):
        return KEY in thing
    return isinstance(thing, bytes | bytearray) and KEY.encode() in thing


def reachable(start: object) -> Iterator[object]:
    """Everything that an object leads to, short of code and of running frames."""
    passed_over = (
        type,
        types.ModuleType,
        types.FunctionType,
        types.BuiltinFunctionType,
        types.FrameType,
        types.TracebackType,
    )
    seen: dict[int, object] = {}
    waiting = [start]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, passed_over):
            continue
        seen[id(thing)] = thing
        yield thing
        waiting.extend(gc.get_referents(thing))


def foreign_frames(error: BaseException) -> str:
    """What an error tracker would show of the local variables below this test's own frames."""
    shown: list[str] = []
    for link in chain(error):
        for frame, _ in traceback.walk_tb(link.__traceback__):
            if "hostile" in frame.f_code.co_filename:
                continue
            for value in frame.f_locals.values():
                with contextlib.suppress(AttributeError):  # h11 shows up half made
                    shown.append(repr(value))
    return "".join(shown)


def chain(error: BaseException) -> list[BaseException]:
    """An error and all that led to it."""
    links: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        link = waiting.pop()
        if link is not None and link not in links:
            links.append(link)
            waiting += [link.__cause__, link.__context__]
    return links


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    """The text of every record of every logger, at the lowest level."""
    text = io.StringIO()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text.write(f"{record.name} {record.getMessage()} {vars(record)!r}\n")

    handler, root = Handler(level=0), logging.getLogger()
    names = ["", "httpx", "httpcore", "asyncio", "hpack", "klaviyo_variant_jobs"]
    names += [name for name in logging.root.manager.loggerDict if name.startswith("httpcore")]
    before = {name: logging.getLogger(name).level for name in names}
    root.addHandler(handler)
    for name in names:
        logging.getLogger(name).setLevel(1)
    yield text
    root.removeHandler(handler)
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.parametrize("variant", VARIANTS, ids=repr)
def test_the_key_is_in_nothing_that_a_failure_leaves_behind(
    variant: Drive, server: FaultServer, everything_logged: io.StringIO
) -> None:
    for name, fault in FAULTS.items():
        server.say(fault, fault)
        policy = RetryPolicy(max_attempts=2)
        run = variant.iterate(server.url, retry=policy, timeout=0.05)
        server.script.clear()
        error = run.error
        if error is None:
            continue
        assert not any(map(holds_key, reachable(error))), name
        assert not holds_key(run.repr), name
        assert not holds_key(pickle.dumps(error)), name
        assert not holds_key("".join(traceback.format_exception(error))), name
        assert not holds_key(foreign_frames(error)), name
        assert not holds_key(f"{error!r} {error} {vars(error)}"), name
        assert not holds_key(f"{run.checkpoint} {run.checkpoint!r}"), name
    assert any(request.headers["authorization"].endswith(KEY) for request in server.requests)
    log = everything_logged.getvalue()
    assert "httpcore" in log
    assert "klaviyo_variant_jobs" in log
    assert not holds_key(log)


def test_a_good_run_logs_no_key_either(
    drive: Drive, server: FaultServer, everything_logged: io.StringIO
) -> None:
    assert drive.iterate(server.url).ids == server.ids
    assert drive.iterate(server.url, access_token=lambda: KEY).ids == server.ids
    assert not holds_key(everything_logged.getvalue())


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("name", ["api_key", "access_token"])
def test_no_repr_of_a_client_or_what_it_is_made_of_has_the_key(kind: Any, name: str) -> None:
    client = kind(**{name: KEY}, revision=NEWEST)
    for thing in reachable(client):
        if not isinstance(thing, str | dict | tuple | bytes | types.MethodType):
            assert not holds_key(repr(thing)), type(thing)
    with pytest.raises(TypeError) as caught:
        pickle.dumps(client)
    assert not holds_key(str(caught.value))
    (credential,) = (thing for thing in reachable(client) if isinstance(thing, Credential))
    with pytest.raises(TypeError):
        pickle.dumps(credential)
    assert not holds_key(repr(copy.copy(client)))


def test_the_key_is_in_no_url_and_in_one_header_only(trial_server: FaultServer) -> None:
    for request in trial_server.requests:
        assert request.raw.count(KEY.encode()) == 1
        assert KEY not in request.target


@pytest.fixture
def trial_server(drive: Drive, server: FaultServer) -> FaultServer:
    drive.iterate(server.url)
    assert server.requests
    return server


@pytest.mark.parametrize("variant", VARIANTS, ids=repr)
def test_another_host_never_sees_a_request(
    variant: Drive, server: FaultServer, elsewhere: FaultServer
) -> None:
    link = elsewhere.link("page-1")
    lures: list[Fault] = [
        *[always(status, headers={"Location": link}) for status in (301, 302, 303, 307, 308)],
        lambda answer: reply(200, answer.but(links={"next": link})),
        lambda answer: reply(200, answer.body, {"Location": link, "Refresh": f"0; url={link}"}),
        always(305, headers={"Location": elsewhere.url}),
        always(407, headers={"Proxy-Authenticate": "Basic", "Location": link}),
        always(401, headers={"WWW-Authenticate": 'Basic realm="x"'}),
        lambda answer: reply(
            200, answer.body, {"Alt-Svc": f'http/1.1="127.0.0.1:{elsewhere.port}"'}
        ),
        lambda answer: reply(200, answer.body, {"Link": f"<{link}>; rel=next"}),
    ]
    for lure in lures:
        server.say(lure)
        variant.iterate(server.url, retry=RetryPolicy(max_attempts=1))
    assert elsewhere.requests == []
    assert all(request.headers["host"].endswith(str(server.port)) for request in server.requests)


@pytest.mark.parametrize("through", [False, True])
def test_an_authorization_of_the_httpx_client_does_not_replace_the_key(
    server: FaultServer, through: bool
) -> None:
    headers = {"Authorization": "Basic other", "X-Trace": "yes"}
    with (
        http.Client(headers=headers, auth=("user", "pass"), cookies={"a": "b"}) as http_client,
        Client(KEY, base_url=server.url, revision=NEWEST, http_client=http_client) as client,
    ):
        client.get_page()
    (request,) = server.requests
    assert request.raw.lower().count(b"authorization") == 1
    assert request.headers["authorization"] == f"Klaviyo-API-Key {KEY}"
    assert request.headers["x-trace"] == "yes"


@pytest.mark.parametrize("variant", VARIANTS[:2], ids=repr)
@pytest.mark.parametrize("status", [200, 400, 418, 503])
def test_a_server_that_echoes_the_request_does_not_put_the_key_into_the_error(
    variant: Drive, server: FaultServer, everything_logged: io.StringIO, status: int
) -> None:
    def echo(answer: Honest) -> Reply:
        seen = answer.request.headers["authorization"]
        return reply(status, answer.request.raw, {"X-Echo": seen, "Content-Type": "text/plain"})

    server.say(echo)
    run = variant.iterate(server.url, retry=RetryPolicy(max_attempts=1))
    assert isinstance(run.error, KlaviyoError)
    assert not any(map(holds_key, reachable(run.error)))
    assert not holds_key(str(run.error))


ECHOES: dict[str, Fault] = {
    "a JSON escape": always(400, '{"errors": [{"detail": "key pk\\u005fcanary_8d1f0c27a4"}]}'),
    "a status line": lambda answer: Reply((KEY.encode() + b"\r\n\r\n",), End.CLOSE),
    "a header without a colon": lambda answer: Reply(
        (b"HTTP/1.1 200 OK\r\n" + KEY.encode() + b"\r\n\r\n",), End.CLOSE
    ),
    "an encoding": lambda answer: reply(200, "x", {"Content-Encoding": KEY}),
    "a next link": lambda answer: reply(
        200, answer.but(links={"next": f"https://evil.test/?key={KEY}"})
    ),
    "a request id": always(418, "", {"X-Klaviyo-Req-Id": KEY}),
    "an empty page": lambda answer: reply(200, f"<p>{KEY}</p>"),
    "a link that is cut there": lambda answer: reply(
        200, answer.but(links={"next": f"https://evil.test/?{'x' * 165}={KEY}"})
    ),
    "a body that breaks off in it": lambda answer: Reply(
        (b"HTTP/1.1 400 X\r\nContent-Length: 99\r\n\r\nkey: " + KEY[:-1].encode(),), End.CLOSE
    ),
    "broken JSON with an escape": always(400, '{"detail": "pk\\u005fcanary_8d1f0c27a4'),
    "HTML": always(400, "<p>pk&#95;canary_8d1f0c27a4</p>"),
    "a URL in text": always(400, "see https://x.test/?key=pk%5Fcanary_8d1f0c27a4"),
    "a served revision": lambda answer: reply(
        200,
        answer.but(data=5),
        {"X-Klaviyo-Api-Revision": KEY, "X-Klaviyo-Api-Retirement-Date": KEY},
    ),
}


@pytest.mark.parametrize("variant", VARIANTS[:4], ids=repr)
@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_a_key_that_is_echoed_in_any_place_is_in_no_error_and_no_log(
    variant: Drive, server: FaultServer, everything_logged: io.StringIO, echo: Fault
) -> None:
    server.say(echo)
    run = variant.iterate(server.url, retry=RetryPolicy(max_attempts=1))
    error = run.error
    assert error is not None
    assert not any(map(holds_key, reachable(error)))
    assert not holds_key("".join(traceback.format_exception(error)))
    assert not holds_key(foreign_frames(error))
    ours = [line for line in everything_logged.getvalue().splitlines() if "httpcore" not in line]
    assert not any(map(holds_key, ours))


@pytest.mark.parametrize("variant", VARIANTS[:2], ids=repr)
def test_headers_that_are_logged_carry_no_key_and_steer_no_terminal(
    variant: Drive, server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("X-Klaviyo-Api-Revision", "X-Klaviyo-Api-Retirement-Date", "X-Klaviyo-Req-Id")
    odd = dict.fromkeys(names, f"{KEY}\x9b31m")
    server.say(lambda answer: reply(200, answer.but(meta=5), odd))
    variant.iterate(server.url)
    assert len(caplog.messages) == 3
    for message in caplog.messages:
        assert message.isprintable()
        assert not holds_key(message)


def test_a_token_that_cannot_be_sent_is_in_no_frame_of_its_error(
    drive: Drive, server: FaultServer
) -> None:
    run = drive.iterate(server.url, access_token=lambda: f"{KEY}\u200b")
    assert isinstance(run.error, TokenError)
    assert not holds_key(foreign_frames(run.error))
    assert "character that is not visible" in str(run.error.__cause__)


def test_the_traceback_of_a_callable_that_raised_is_kept(drive: Drive, server: FaultServer) -> None:
    def token() -> str:
        raise OSError("the vault is down")

    run = drive.iterate(server.url, access_token=token)
    assert run.error is not None
    cause = run.error.__cause__
    assert cause is not None
    assert "in token" in "".join(traceback.format_tb(cause.__traceback__))

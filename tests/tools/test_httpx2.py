"""`http_client=` takes the clients of httpx2 like those of httpx."""

from __future__ import annotations

import pickle
import ssl
from collections.abc import Callable
from typing import Any

import httpx
import httpx2
import pytest

from klaviyo_variant_jobs import NEWEST, AsyncClient, Client, RetryPolicy, TransportError
from klaviyo_variant_jobs.sandbox import Sandbox

RETRY = RetryPolicy(base_delay=0.0)


def http(wire: Any, **options: Any) -> Any:
    return (httpx2.Client if wire.kind == "sync" else httpx2.AsyncClient)(**options)


def mock(wire: Any, answer: Callable[[httpx2.Request], httpx2.Response]) -> Any:
    """An HTTP client whose requests end in `answer`."""
    return http(wire, transport=httpx2.MockTransport(answer))


def hook(wire: Any, function: Callable[[Any], None]) -> Any:
    async def awaited(value: Any) -> None:
        function(value)

    return function if wire.kind == "sync" else awaited


async def test_a_listing_goes_through_it(
    wire: Any, make: Callable[..., Any], sandbox: Sandbox
) -> None:
    theirs = http(wire)
    client = make(http_client=theirs)
    assert len(await wire.all(client.iter_jobs())) == 5
    assert len(sandbox.requests) == 3
    await wire.close(client)
    assert not theirs.is_closed
    await wire.close(theirs)


async def test_requests_and_answers_are_those_of_its_library(
    wire: Any, make: Callable[..., Any]
) -> None:
    requests: list[Any] = []
    responses: list[Any] = []
    hooks = {
        "request": [hook(wire, requests.append)],
        "response": [hook(wire, responses.append)],
    }
    theirs = http(wire, event_hooks=hooks, headers={"X-Trace": "abc"})
    await wire.of(make(http_client=theirs, timeout=httpx2.Timeout(7.0, read=3.0)).get_page())
    (request,), (response,) = requests, responses
    assert type(request) is httpx2.Request
    assert type(response) is httpx2.Response
    assert request.content == b""
    assert request.headers["x-trace"] == "abc"
    assert f"httpx2/{httpx2.__version__}" in request.headers["user-agent"]
    timeout = request.extensions["timeout"]
    assert timeout == {"connect": 7.0, "read": 3.0, "write": 7.0, "pool": 7.0}
    await wire.close(theirs)


async def test_a_failure_has_the_failure_of_its_library_as_cause(
    wire: Any, make: Callable[..., Any]
) -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("all is lost", request=request)

    theirs = mock(wire, refuse)
    error = await wire.error(TransportError, make(http_client=theirs).get_page)
    assert type(error.__cause__) is httpx2.ConnectError
    assert str(error).startswith("httpx2.ConnectError: all is lost")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    await wire.close(theirs)


async def test_a_real_failure_is_told_in_the_same_words(
    wire: Any, make: Callable[..., Any]
) -> None:
    said = []
    for library in (httpx, httpx2):
        kind = library.Client if wire.kind == "sync" else library.AsyncClient
        theirs = kind()
        client = make(http_client=theirs, base_url="http://127.0.0.1:9")
        error = await wire.error(TransportError, client.get_page)
        assert type(error.__cause__) is library.ConnectError
        said.append(str(error))
        await wire.close(theirs)
    assert said[0].startswith("httpx.ConnectError: ")
    assert said[1] == said[0].replace("httpx.", "httpx2.", 1)


async def test_a_failure_that_lasts_is_told_at_once(wire: Any, make: Callable[..., Any]) -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        untrusted = ssl.SSLCertVerificationError(1, "self-signed certificate in chain")
        raise httpx2.ConnectError("certificate verify failed") from untrusted

    theirs = mock(wire, refuse)
    client = make(http_client=theirs, retry=RETRY)
    error = await wire.error(TransportError, client.get_page)
    assert error.attempts == 1
    assert "SSL_CERT_FILE" in str(error)
    await wire.close(theirs)


async def test_what_its_hook_raises_goes_through_as_it_is(
    wire: Any, make: Callable[..., Any]
) -> None:
    class OfTheCaller(Exception):
        pass

    def refuse(request: Any) -> None:
        raise OfTheCaller

    theirs = http(wire, event_hooks={"request": [hook(wire, refuse)]})
    await wire.error(OfTheCaller, make(http_client=theirs).get_page)
    await wire.close(theirs)


async def test_a_hook_that_raises_for_a_status_changes_nothing(
    wire: Any, make: Callable[..., Any], sandbox: Sandbox
) -> None:
    def raise_it(response: httpx2.Response) -> None:
        response.raise_for_status()

    sandbox.fail_next(503)
    theirs = http(wire, event_hooks={"response": [hook(wire, raise_it)]})
    client = make(http_client=theirs, retry=RETRY)
    assert len(await wire.all(client.iter_jobs())) == 5
    await wire.close(theirs)


@pytest.mark.parametrize("make_client", [Client, AsyncClient])
@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_client_of_the_other_kind_is_refused_by_name(make_client: Any, library: Any) -> None:
    wrong = library.AsyncClient() if make_client is Client else library.Client()
    kind, other = make_client.__name__, type(wrong).__name__
    with pytest.raises(TypeError) as caught:
        make_client("pk_x", revision=NEWEST, http_client=wrong)
    assert str(caught.value) == (
        f"http_client must be an httpx.{kind} or httpx2.{kind}, not {library.__name__}.{other}"
    )

"""The clients: what they send, refuse, warn of once, own and share."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
import gc
import logging
import math
import ssl
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from dateutil.relativedelta import relativedelta

from conftest import Wire
from fake_api import KEY, FakeAPI, error, jobs, page, reply
from klaviyo_variant_jobs import (
    NEWEST,
    REVISIONS,
    AsyncClient,
    Checkpoint,
    CheckpointError,
    Client,
    DeadlineError,
    KlaviyoError,
    RateLimiter,
    RateLimitError,
    RetryPolicy,
    Revision,
    TransportError,
)
from klaviyo_variant_jobs.sandbox import VirtualClock
from klaviyo_variant_jobs_api import transport as environment

BORN = dt.datetime.fromisoformat(NEWEST.date).replace(tzinfo=dt.UTC)
both = pytest.mark.parametrize("kind", [Client, AsyncClient])


def asks_once(kind: Any, *, clock: VirtualClock, answer: httpx.Response, **options: Any) -> float:
    """Make a client, ask for a page in one attempt, and tell when it was sent."""
    api = FakeAPI()
    api.clock = clock
    api.script.append(answer)
    http_client = (httpx.Client if kind is Client else httpx.AsyncClient)(transport=api)
    policy = RetryPolicy(max_attempts=1)
    made = kind(http_client=http_client, clock=clock, retry=policy, **options)
    with contextlib.suppress(RateLimitError):
        asked = made.get_page()
        if kind is AsyncClient:
            clock.run(asked)
    return api.sent_at[0]


def share_a_limiter(one: Callable[..., float], other: Callable[..., float]) -> bool:
    """Whether a 429 that one client gets makes another wait."""
    clock = VirtualClock()
    one(clock=clock, answer=error(429, retry_after="100"))
    return other(clock=clock, answer=page()) >= 100.0


@pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.date)
async def test_a_request_pins_its_revision_and_declines_any_other(
    wire: Wire, revision: Revision[Any]
) -> None:
    api = FakeAPI(jobs(1))
    await wire.of(wire.client(api, revision=revision).get_page())
    (sent,) = api.requests
    assert sent.headers["revision"] == revision.date
    assert sent.headers["x-klaviyo-revision-fall-forward-opt-out"] == "1"
    assert sent.headers["accept"] == revision.media_type
    assert sent.headers["accept-encoding"] == "gzip"
    assert sent.url.path == revision.path
    assert [name for name, value in sent.headers.items() if KEY in value] == ["authorization"]
    assert sent.headers["authorization"] == f"Klaviyo-API-Key {KEY}"


@both
def test_an_unknown_revision_is_refused_with_those_it_knows(kind: Any) -> None:
    with pytest.raises(ValueError, match=r"2019-01-01") as refused:
        kind(KEY, revision="2019-01-01")
    assert all(revision.date in str(refused.value) for revision in REVISIONS)


@both
@pytest.mark.parametrize(("date", "upgrading"), [("2019-01-01", False), ("2099-01-15", True)])
def test_upgrading_is_advised_for_a_revision_that_is_to_come(
    kind: Any, date: str, upgrading: bool
) -> None:
    with pytest.raises(ValueError, match="Pin one of these") as refused:
        kind(KEY, revision=date)
    assert ("upgrade" in str(refused.value)) is upgrading


@both
def test_the_newest_revision_is_the_default(kind: Any) -> None:
    assert kind(KEY).revision == NEWEST.date


@both
@pytest.mark.parametrize(
    "timeout", [None, 0, -1, math.inf, math.nan, "3", httpx.Timeout(5, read=None)], ids=repr
)
def test_a_timeout_that_never_ends_is_refused(kind: Any, timeout: Any) -> None:
    with pytest.raises(ValueError, match="timeout must be finite"):
        kind(KEY, timeout=timeout)


async def test_every_request_has_finite_timeouts_within_the_deadline(wire: Wire) -> None:
    api = FakeAPI(jobs(1))
    await wire.of(wire.client(api, timeout=httpx.Timeout(7, read=11)).get_page())
    assert api.requests[0].extensions["timeout"] == {
        "connect": 7,
        "read": 11,
        "write": 7,
        "pool": 7,
    }


async def test_a_timeout_longer_than_a_socket_takes_is_a_day(wire: Wire) -> None:
    api = FakeAPI(jobs(1))
    await wire.of(wire.client(api, timeout=10**400, retry=RetryPolicy(deadline=1e9)).get_page())
    assert set(api.requests[0].extensions["timeout"].values()) == {86_400.0}


async def test_a_token_that_takes_all_of_the_time_is_not_sent(wire: Wire) -> None:
    def token() -> str:
        wire.clock.sleep(4.0)
        return "token"

    async def async_token() -> str:
        await asyncio.sleep(4.0)
        return "token"

    api = FakeAPI(jobs(1))
    made = wire.client(
        api,
        access_token=token if wire.kind == "sync" else async_token,
        retry=RetryPolicy(deadline=3.0),
    )
    failed = await wire.error(DeadlineError, lambda: made.get_page())
    assert failed.attempts == 0
    assert api.requests == []


async def test_a_token_that_takes_its_time_leaves_the_request_less_of_it(wire: Wire) -> None:
    if wire.kind == "async":
        return  # There a time limit stands around it all.

    def token() -> str:
        wire.clock.sleep(4.0)
        return "token"

    api = FakeAPI(jobs(1))
    made = wire.client(api, access_token=token, retry=RetryPolicy(deadline=10.0))
    await wire.of(made.get_page())
    assert api.requests[0].extensions["timeout"]["read"] == pytest.approx(6.0)


@both
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("retry", 5),
        ("retry", {"deadline": 3}),
        ("rate_limiter", 75),
        ("http_client", httpx),
        ("http_client", "https://proxy"),
    ],
)
def test_an_argument_of_another_kind_is_refused(kind: Any, name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} must be "):
        kind(KEY, **{name: value})


def test_the_httpx_client_of_the_other_kind_is_refused() -> None:
    with pytest.raises(TypeError, match=r"must be an httpx\.AsyncClient .*, not httpx\.Client"):
        AsyncClient(KEY, http_client=httpx.Client())  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"must be an httpx\.Client .*, not httpx\.AsyncClient"):
        Client(KEY, http_client=httpx.AsyncClient())  # type: ignore[call-overload]


def test_a_limiter_that_counts_as_false_is_a_limiter_all_the_same() -> None:
    class Empty(RateLimiter):
        def __len__(self) -> int:
            return 0

    limiter = Empty()
    refusal = error(429, retry_after="100")
    asks_once(Client, clock=VirtualClock(), answer=refusal, api_key=KEY, rate_limiter=limiter)
    assert limiter.snapshot().paused_for_s == 100.0


@both
@pytest.mark.parametrize("resume", [b"", b"kvj1.", 0, 5, ("2026-07-15",)], ids=repr)
def test_what_is_no_checkpoint_at_all_is_refused(kind: Any, resume: Any) -> None:
    with pytest.raises(TypeError, match="resume must be a checkpoint or its text"):
        kind(KEY).iter_jobs(resume=resume)


@both
@pytest.mark.parametrize(
    "wrong",
    [{"status_index": 1}, {"status_index": -1}, {"offset": -1}, {"offset": True}, {"cursor": 5}],
    ids=repr,
)
def test_a_checkpoint_made_by_hand_that_makes_no_sense_is_refused(
    kind: Any, wrong: dict[str, Any]
) -> None:
    with pytest.raises(CheckpointError):
        kind(KEY).iter_jobs(resume=Checkpoint(revision=NEWEST.date, **wrong))


async def test_a_cursor_that_is_no_text_is_refused(wire: Wire) -> None:
    api = FakeAPI(jobs(1))
    made = wire.client(api)
    with pytest.raises(TypeError, match="cursor must be a string, not int"):
        await wire.of(made.get_page(cursor=5))
    with pytest.raises(ValueError, match="half a surrogate pair"):
        await wire.of(made.get_page(cursor="\ud800"))
    assert api.requests == []


@both
@pytest.mark.parametrize("host", ["a..b", "xn--a", "a" * 64 + ".com", ".com"])
def test_a_host_that_cannot_exist_is_refused(kind: Any, host: str) -> None:
    with pytest.raises(ValueError, match="a host that cannot exist"):
        kind(KEY, base_url=f"https://{host}")


def test_callables_that_cannot_be_hashed_stand_for_their_accounts_too() -> None:
    class Vault:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return True

        def __call__(self) -> str:
            return "token"

        def token(self) -> str:
            return "token"

    one, other = Vault(), Vault()
    pairs: list[tuple[Any, Any, bool]] = [
        (one, one, True),
        (one, other, False),
        (one.token, one.token, True),
        (one.token, other.token, False),
        (one, one.token, False),
    ]
    for first, second, same in pairs:
        clients = [
            functools.partial(asks_once, Client, access_token=source) for source in (first, second)
        ]
        assert share_a_limiter(*clients) is same


async def test_one_page_has_the_jobs_of_one_status(wire: Wire) -> None:
    api = FakeAPI(jobs(1))
    with pytest.raises(ValueError, match="iter_pages"):
        await wire.of(wire.client(api).get_page(status=["queued", "complete"]))
    assert api.requests == []


async def test_a_certificate_that_is_not_trusted_is_told_at_once_with_what_to_look_at(
    wire: Wire,
) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        untrusted = ssl.SSLCertVerificationError(1, "self-signed certificate in chain")
        raise httpx.ConnectError("certificate verify failed") from untrusted

    api = FakeAPI()
    api.script.extend([refuse] * 9)
    failed = await wire.error(TransportError, wire.client(api).get_page)
    assert failed.attempts == len(api.requests) == 1
    assert "SSL_CERT_FILE" in str(failed)


async def told(wire: Wire, caplog: pytest.LogCaptureFixture, **headers: str) -> list[str]:
    """What a client of the newest revision warns of in three pages with these headers."""
    api = FakeAPI()
    api.script.extend([page(**headers) for _ in range(3)])
    made = wire.client(api, revision=NEWEST)
    with caplog.at_level(logging.WARNING, "klaviyo_variant_jobs"):
        for _ in range(3):
            await wire.of(made.get_page())
    return [record.getMessage() for record in caplog.records]


async def test_another_revision_that_was_served_is_told_once(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    wire.clock = VirtualClock(start=BORN)
    (warning,) = await told(wire, caplog, x_klaviyo_api_revision="2025-10-15")
    assert NEWEST.date in warning
    assert "2025-10-15" in warning


async def test_a_retirement_date_is_told_once(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    wire.clock = VirtualClock(start=BORN)
    (warning,) = await told(wire, caplog, x_klaviyo_api_retirement_date="2028-07-15")
    assert "2028-07-15" in warning


@pytest.mark.parametrize(("days", "warnings"), [(-1, 0), (0, 1), (500, 1)])
async def test_a_revision_past_its_first_year_is_told_once_with_the_dates(
    wire: Wire, caplog: pytest.LogCaptureFixture, days: int, warnings: int
) -> None:
    wire.clock = VirtualClock(start=BORN + relativedelta(years=1, days=days))
    found = await told(wire, caplog, x_klaviyo_api_revision=NEWEST.date)
    assert len(found) == warnings
    for warning in found:
        assert str((BORN + relativedelta(years=1)).date()) in warning
        assert str((BORN + relativedelta(years=2)).date()) in warning


async def test_making_a_client_warns_of_nothing(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    wire.client(FakeAPI(), revision=REVISIONS[0])
    assert caplog.records == []


async def test_a_closed_client_says_so(wire: Wire) -> None:
    api = FakeAPI(jobs(1))
    made = wire.client(api)
    await wire.close(made)
    failed = await wire.error(KlaviyoError, lambda: made.get_page())
    assert "closed" in str(failed)
    failed = await wire.error(KlaviyoError, made.iter_jobs())
    assert failed.checkpoint is not None
    assert api.requests == []


async def test_an_http_client_that_was_passed_in_stays_open_and_keeps_its_headers(
    wire: Wire,
) -> None:
    api = FakeAPI(jobs(1))
    http = wire.http(api, headers={"X-Trace": "abc", "User-Agent": "other"})
    made = wire.client(api, http_client=http)
    await wire.of(made.get_page())
    await wire.close(made)
    assert not http.is_closed
    assert api.requests[0].headers["x-trace"] == "abc"
    assert api.requests[0].headers["user-agent"].startswith("klaviyo-variant-jobs/")


@pytest.mark.parametrize(
    ("base_url", "host"),
    [
        ("https://a.klaviyo.com", "a.klaviyo.com"),
        ("https://a.klaviyo.com:443/x/", "a.klaviyo.com"),
        ("http://127.0.0.1:8080/prefix", "127.0.0.1:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
    ],
)
async def test_a_request_names_its_host_and_has_no_body(
    wire: Wire, base_url: str, host: str
) -> None:
    api = FakeAPI(jobs(1))
    await wire.of(wire.client(api, base_url=base_url).get_page())
    (sent,) = api.requests
    assert sent.headers.get_list("host") == [host]
    assert sent.read() == b""
    assert "content-length" not in sent.headers
    assert "transfer-encoding" not in sent.headers


def test_clients_share_one_ssl_context(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    build = httpx.create_ssl_context
    monkeypatch.setattr(httpx, "create_ssl_context", lambda: made.append(build()) or made[-1])
    environment.ssl_context.cache_clear()
    for kind in (Client, AsyncClient, Client):
        kind(KEY)
    environment.ssl_context.cache_clear()
    assert len(made) == 1


@both
@pytest.mark.parametrize(
    "proxy", ["http://user:pa/ssW0rd@proxy:1", "ftp://u:ssW0rd@proxy", "socks5://u:ssW0rd@proxy"]
)
def test_a_proxy_of_the_environment_that_cannot_be_used_is_refused_and_not_quoted(
    kind: Any, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    for name in ("all_proxy", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ValueError, match=r"proxy .*HTTPS_PROXY") as caught:
        kind(KEY)
    assert "ssW0rd" not in str(caught.value)


def test_clients_of_one_credential_share_a_limiter_sync_and_async() -> None:
    def token() -> str:
        return "token"

    ours = functools.partial(asks_once, Client, api_key="pk_shared_by_two")
    by_token = functools.partial(asks_once, Client, access_token=token)
    async_ = functools.partial(asks_once, AsyncClient)
    assert share_a_limiter(ours, functools.partial(async_, api_key="pk_shared_by_two"))
    assert share_a_limiter(by_token, functools.partial(async_, access_token=token))
    assert not share_a_limiter(ours, functools.partial(ours, api_key="pk_of_somebody_else"))
    assert not share_a_limiter(ours, functools.partial(ours, base_url="http://localhost:1"))
    assert not share_a_limiter(by_token, functools.partial(by_token, access_token=lambda: "other"))


def test_virtual_time_has_a_limiter_of_its_own() -> None:
    ours = functools.partial(asks_once, Client, api_key=KEY)
    ours(clock=VirtualClock(), answer=error(429, retry_after="100"))
    assert ours(clock=VirtualClock(), answer=page()) == 0.0


def test_a_limiter_outlives_the_clients_that_used_it() -> None:
    clock = VirtualClock()
    ours = functools.partial(asks_once, Client, api_key=KEY, clock=clock)
    ours(answer=error(429, retry_after="100"))
    gc.collect()
    assert ours(answer=page()) == 100.0


POISON = {"ratelimit_limit": "1, 1;w=86400", "ratelimit_remaining": "0", "ratelimit_reset": "86400"}


@pytest.mark.parametrize("status", [200, 502, 503])
async def test_the_quota_of_a_proxys_error_page_stops_nobody(wire: Wire, status: int) -> None:
    api = FakeAPI(jobs(9))
    api.script.append(reply(status, b"<html>", content_type="text/html", **POISON))
    made = wire.client(api, rate_limiter=None)
    assert len(await wire.all(made.iter_jobs())) == 9
    assert wire.clock.monotonic() - 1e-6 <= api.sent_at[0] + 1.0


async def test_a_quota_that_was_wrong_holds_a_listing_up_for_minutes_and_not_for_a_day(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    def poisoned(request: httpx.Request) -> httpx.Response:
        answer = api.pages(request)
        answer.headers.update({name.replace("_", "-"): value for name, value in POISON.items()})
        answer.headers["content-type"] = NEWEST.media_type
        return answer

    def mended(request: httpx.Request) -> httpx.Response:
        answer = api.pages(request)
        answer.headers["content-type"] = NEWEST.media_type
        answer.headers["ratelimit-limit"] = "75, 75;w=1, 750;w=60"
        return answer

    api = FakeAPI(jobs(9))
    api.script.extend([poisoned, mended])
    made = wire.client(api, rate_limiter=None)
    assert len(await wire.all(made.iter_jobs())) == 9
    assert api.sent_at[1] - api.sent_at[0] == pytest.approx(120.0, abs=1.0)
    assert api.sent_at[2] - api.sent_at[1] < 1.0
    assert "less than a tenth" in caplog.text


def test_a_limiter_that_was_passed_in_is_used() -> None:
    own = RateLimiter(burst=1, steady=1)
    one = functools.partial(asks_once, Client, api_key="pk_a", rate_limiter=own)
    other = functools.partial(asks_once, AsyncClient, api_key="pk_b", rate_limiter=own)
    assert share_a_limiter(one, other)


@both
def test_an_option_that_does_not_exist_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="timeot"):
        kind(KEY, timeot=3)

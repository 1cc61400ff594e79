"""Keys, tokens, filters and addresses that are not what they should be; nothing is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hostile.drive import KEY, AsyncDrive, Drive, Trial
from hostile.fault_server import FaultServer, always, honest
from klaviyo_variant_jobs import (
    AuthenticationError,
    CheckpointError,
    RetryPolicy,
    ServerError,
    TokenError,
)

UNSENDABLE = {
    "line feed inside": "pk_canary\n8d1f0c27a4",
    "carriage return inside": "pk_canary\r\nX-Evil: 1",
    "blank inside": "pk_canary 8d1f",
    "tab inside": "pk_canary\t8d1f",
    "null inside": "pk_canary\x008d1f",
    "zero width space": "pk_canary\u200b8d1f",
    "byte order mark": "\ufeffpk_canary8d1f",
    "no-break space inside": "pk_canary\u00a08d1f",
    "letters that look alike": "\u0440\u043a_canary8d1f",
    "delete": "pk_canary\x7f8d1f",
    "half a surrogate pair": "pk_canary\ud8008d1f",
    "nothing": "",
    "white space": " \r\n\t",
}


@pytest.mark.parametrize("name", ["api_key", "access_token"])
@pytest.mark.parametrize("secret", UNSENDABLE.values(), ids=UNSENDABLE)
def test_a_secret_that_cannot_be_sent_is_refused_without_being_quoted(
    drive: Drive, server: FaultServer, name: str, secret: str
) -> None:
    options: dict[str, Any] = {name: secret}
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is what is checked
        drive.iterate(server.url, **options)
    assert "canary" not in f"{caught.value!s} {caught.value!r}"
    assert caught.value.__cause__ is None
    assert server.requests == []


@pytest.mark.parametrize("around", ["\n", "\r\n", " ", "\t", "\u00a0", "\u2028"])
def test_white_space_around_a_key_is_stripped(trial: Trial, around: str) -> None:
    trial.recovers(api_key=f"{around}{KEY}{around}")
    for request in trial.server.requests:
        assert request.headers["authorization"] == f"Klaviyo-API-Key {KEY}"


class Vault:
    """Gives out tokens, or fails at the attempts it is told to."""

    def __init__(self, *failures: BaseException | Any) -> None:
        self.failures = list(failures)
        self.asked = 0

    def __call__(self) -> Any:
        self.asked += 1
        failure = self.failures.pop(0) if self.failures else f"token-{self.asked}"
        if isinstance(failure, Exception):
            raise failure
        return failure


@pytest.mark.parametrize(
    "failure",
    [
        OSError("vault is down"),
        KeyError("canary"),
        TimeoutError("canary"),
        StopIteration("canary"),
        None,
        b"canary",
        "",
        "canary\r\nX-Evil: 1",
        "canary\u200b",
    ],
    ids=repr,
)
def test_a_token_callable_that_fails_ends_in_a_token_error_and_nothing_is_sent(
    trial: Trial, failure: Any
) -> None:
    vault = Vault("token-1", failure)
    error = trial.fails(TokenError, honest, access_token=vault)
    assert vault.asked == 2
    assert error.__cause__ is not None
    assert "canary" not in str(error)
    # The others are those of the resume.
    sent = [request.headers["authorization"] for request in trial.server.requests]
    assert [header for header in sent if "Bearer" in header] == ["Bearer token-1"]


def test_a_token_is_asked_for_before_every_attempt(trial: Trial) -> None:
    vault = Vault()
    trial.recovers(always(503), always(503), access_token=vault)
    sent = [request.headers["authorization"] for request in trial.server.requests]
    assert sent == [f"Bearer token-{n}" for n in range(1, 6)]


def test_a_token_that_was_refused_is_asked_for_once_more(trial: Trial) -> None:
    vault = Vault()
    trial.recovers(honest, always(401), access_token=vault)
    assert vault.asked == 4


def test_a_second_refusal_of_a_new_token_is_told(trial: Trial) -> None:
    vault = Vault()
    error = trial.fails(AuthenticationError, honest, always(401), always(401), access_token=vault)
    assert (error.attempts, vault.asked) == (2, 3)


def test_a_token_that_was_refused_is_not_sent_again(trial: Trial) -> None:
    error = trial.fails(AuthenticationError, honest, always(401), access_token=lambda: "the-same")
    assert error.attempts == 1


def test_an_async_token_callable_may_fail_too(server: FaultServer) -> None:
    async def vault() -> str:
        raise RuntimeError("canary")

    run = AsyncDrive().iterate(server.url, access_token=vault)
    assert type(run.error) is TokenError
    assert "canary" not in str(run.error)
    assert server.requests == []


SMUGGLED = [
    'complete"),equals(status,"queued',
    'complete")&page[cursor]=x',
    "complete&filter=x",
    "complete\r\nX-Evil: 1",
    "Complete",
    "",
    "complete,queued",
]


@pytest.mark.parametrize("value", SMUGGLED)
@pytest.mark.parametrize(
    "asked",
    [
        lambda value: {"status": value},
        lambda value: {"status": ["queued", value]},
        lambda value: {"fields": [value]},
        lambda value: {"fields": ["status", f"id&{value}"]},
        lambda value: {"fields": value},
    ],
    ids=["status", "statuses", "field", "second field", "fields"],
)
def test_a_filter_or_field_that_smuggles_is_refused_before_anything_is_sent(
    drive: Drive, server: FaultServer, asked: Callable[[str], dict[str, Any]], value: str
) -> None:
    with pytest.raises(ValueError, match=r"status|field"):
        drive.iterate(server.url, asked=asked(value))
    assert server.requests == []


def test_a_cursor_cannot_smuggle_a_parameter(drive: Drive, server: FaultServer) -> None:
    cursor = "x&filter=equals(status,'queued')#\r\nX-Evil: 1"
    server.say(honest)
    server.cursors[0] = cursor
    page = drive.get_page(server.url, asked={"cursor": cursor})
    assert [entry.id for entry in page.jobs] == ["B1", "B2"]
    (request,) = server.requests
    assert request.query == {"page[cursor]": [cursor]}
    assert "x-evil" not in request.headers


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1],
        lambda text: text[:10] + ("A" if text[10] != "A" else "B") + text[11:],
        lambda text: text.upper(),
        lambda text: text + "=",
        lambda text: text[:20] + "\n" + text[20:],
        lambda text: "kvj1.",
        lambda text: "",
        lambda text: "\ud800",
        lambda text: text * 2,
    ],
)
def test_a_damaged_checkpoint_is_refused_before_anything_is_sent(
    drive: Drive, server: FaultServer, change: Callable[[str], str]
) -> None:
    text = str(drive.iterate(server.url, most=1).checkpoint)
    server.requests.clear()
    with pytest.raises(CheckpointError):
        drive.iterate(server.url, resume=change(text))
    assert server.requests == []


@pytest.mark.parametrize(
    "asked", [{"status": "queued"}, {"fields": ["status"]}, {"status": ["complete", "queued"]}]
)
def test_a_checkpoint_of_another_question_is_refused(
    drive: Drive, server: FaultServer, asked: dict[str, Any]
) -> None:
    text = str(drive.iterate(server.url, most=1).checkpoint)
    with pytest.raises(CheckpointError):
        drive.iterate(server.url, resume=text, asked=asked)


@pytest.mark.parametrize(
    "url",
    [
        "http://a.klaviyo.com",
        "http://localhost.evil.test",
        "http://127.0.0.1.evil.test",
        "http://127.0.0.1@evil.test",
        "http://evil.test#@127.0.0.1",
        "http://evil.test\\@127.0.0.1",
        "http://0.0.0.0",
        "http://2130706433",
        "https://user:canary@a.klaviyo.com",
        "https://@a.klaviyo.com",
        "https://a.klaviyo.com?x=canary",
        "https://a.klaviyo.com\n",
        "https://a.klaviyo.com:99999",
        "https://\u0430.klaviyo.com",
        "ftp://a.klaviyo.com",
        "//a.klaviyo.com",
        "",
    ],
)
def test_a_base_url_where_the_key_would_not_be_safe_is_refused(drive: Drive, url: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is what is checked
        drive.iterate(url)
    assert "canary" not in str(caught.value)


def test_a_resume_with_many_statuses_after_an_error_repeats_no_job(drive: Drive) -> None:
    asked = {"status": ["complete", "queued"]}
    with FaultServer([["A", "B"], ["C"]]) as server:
        server.say(*[honest] * 2, always(500), always(500))
        policy = RetryPolicy(max_attempts=2)
        run = drive.iterate(server.url, asked=asked, retry=policy)
        assert type(run.error) is ServerError
        assert run.ids == ["A", "B", "C"]
        assert [request.query["filter"] for request in server.requests] == [
            *[['equals(status,"queued")']] * 2,
            *[['equals(status,"complete")']] * 2,
        ]
        rest = drive.iterate(server.url, asked=asked, resume=str(run.error.checkpoint))
        assert rest.ids == server.ids

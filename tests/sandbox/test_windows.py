from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from klaviyo_variant_jobs.sandbox import Response, Sandbox, VirtualClock
from klaviyo_variant_jobs_api import registry

Ask = Callable[..., Response]
Error = Callable[[Response], Any]


def ratelimit(response: Response) -> list[str | None]:
    return [response.header(f"ratelimit-{name}") for name in ("limit", "remaining", "reset")]


def test_success_says_what_is_left_of_the_burst_window(
    revision: registry.Revision[Any], clock: VirtualClock, ask: Ask
) -> None:
    response = ask(Sandbox(jobs=1, clock=clock, burst=75, steady=750), revision=revision)
    assert ratelimit(response) == ["75, 75;w=1, 750;w=60", "74", "0"]


def test_a_full_burst_window_refuses_until_it_turns(clock: VirtualClock, ask: Ask) -> None:
    sandbox = Sandbox(jobs=1, clock=clock, burst=75, steady=750)
    clock.sleep(0.4)
    assert {ask(sandbox).status for _ in range(75)} == {200}
    assert ask(sandbox).status == 429
    clock.sleep(0.59)
    assert ask(sandbox).status == 429
    clock.sleep(0.02)
    assert ask(sandbox).status == 200


def test_two_bursts_fit_around_the_turn_of_a_window(clock: VirtualClock, ask: Ask) -> None:
    sandbox = Sandbox(jobs=1, clock=clock, burst=75, steady=750)
    clock.sleep(0.99)
    assert {ask(sandbox).status for _ in range(75)} == {200}
    clock.sleep(0.01)
    assert {ask(sandbox).status for _ in range(75)} == {200}


def test_a_full_steady_window_refuses_until_it_turns(clock: VirtualClock, ask: Ask) -> None:
    sandbox = Sandbox(jobs=1, clock=clock, burst=75, steady=750)
    for _ in range(10):
        assert {ask(sandbox).status for _ in range(75)} == {200}
        clock.sleep(1)
    response = ask(sandbox)
    assert response.status == 429
    assert response.header("retry-after") == "50"
    clock.sleep(50)
    assert ask(sandbox).status == 200


def test_a_refusal_has_neither_rate_limit_headers_nor_a_content_type(
    clock: VirtualClock, ask: Ask, error: Error
) -> None:
    sandbox = Sandbox(jobs=1, clock=clock, burst=1)
    ask(sandbox)
    response = ask(sandbox)
    assert response.status == 429
    assert ratelimit(response) == [None, None, None]
    assert response.header("content-type") is None
    assert response.header("retry-after") == "1"
    assert error(response)["code"] == "throttled"
    assert error(response)["detail"] == "Request was throttled. Expected available in 1 second."


def test_a_refused_request_uses_up_nothing(clock: VirtualClock, ask: Ask) -> None:
    sandbox = Sandbox(jobs=1, clock=clock, burst=2, steady=4)
    statuses = []
    for _ in range(2):
        statuses += [ask(sandbox).status for _ in range(5)]
        clock.sleep(1)
    assert statuses == [200, 200, 429, 429, 429] * 2


def test_a_request_that_asks_for_nonsense_is_counted(clock: VirtualClock, ask: Ask) -> None:
    sandbox = Sandbox(jobs=1, clock=clock, burst=75, steady=750)
    response = ask(sandbox, {"page[size]": "1"})
    assert response.status == 400
    assert ratelimit(response)[1] == "74"
    assert ratelimit(ask(sandbox))[1] == "73"


def test_a_request_that_is_not_let_in_is_not_counted(clock: VirtualClock, ask: Ask) -> None:
    sandbox = Sandbox(jobs=1, clock=clock, burst=75, steady=750)
    ask(sandbox, authorization=None)
    assert ratelimit(ask(sandbox))[1] == "74"


@pytest.mark.parametrize("offset", [0.0, 0.25, 0.75, 17.5])
def test_windows_begin_where_the_offset_says(offset: float, clock: VirtualClock, ask: Ask) -> None:
    sandbox = Sandbox(jobs=1, clock=clock, burst=1, window_offset_seconds=offset)
    clock.sleep(99 + offset % 1 + 0.9)
    assert ask(sandbox).status == 200
    assert ask(sandbox).status == 429
    clock.sleep(0.101)
    assert ask(sandbox).status == 200


def test_the_scarcer_window_is_named_when_the_sandbox_is_told_to(
    clock: VirtualClock, ask: Ask
) -> None:
    sandbox = Sandbox(jobs=1, clock=clock, burst=3, steady=5, named_window="scarcer")
    assert ratelimit(ask(sandbox)) == ["3, 3;w=1, 5;w=60", "2", "0"]
    ask(sandbox)
    ask(sandbox)
    clock.sleep(1)
    assert ratelimit(ask(sandbox)) == ["5, 3;w=1, 5;w=60", "1", "58"]


def test_a_daily_window_is_counted_and_told_when_there_is_one(
    clock: VirtualClock, ask: Ask
) -> None:
    sandbox = Sandbox(jobs=1, clock=clock, burst=1, steady=2, daily=3)
    assert ratelimit(ask(sandbox))[0] == "1, 1;w=1, 2;w=60, 3;w=86400"
    for _ in range(2):
        clock.sleep(60)
        assert ask(sandbox).status == 200
    clock.sleep(60)
    assert ask(sandbox).header("retry-after") == str(86_400 - 180)


def test_keys_of_one_account_share_its_quota(clock: VirtualClock, ask: Ask) -> None:
    sandbox = Sandbox(
        jobs=1, clock=clock, burst=1, api_keys={"pk_a": "one", "pk_b": "one", "pk_c": "two"}
    )
    statuses = [ask(sandbox, authorization=f"Klaviyo-API-Key pk_{k}").status for k in "abc"]
    assert statuses == [200, 429, 200]


def test_keys_that_were_not_named_have_a_quota_each(clock: VirtualClock, ask: Ask) -> None:
    sandbox = Sandbox(jobs=1, clock=clock, burst=1)
    statuses = [ask(sandbox, authorization=f"Klaviyo-API-Key pk_{k}").status for k in "aab"]
    assert statuses == [200, 429, 200]


def test_an_app_does_not_use_the_quota_of_the_keys(clock: VirtualClock, ask: Ask) -> None:
    sandbox = Sandbox(
        jobs=1, clock=clock, burst=1, api_keys={"pk_a": "one"}, access_tokens={"t": "one"}
    )
    assert ask(sandbox, authorization="Klaviyo-API-Key pk_a").status == 200
    assert ask(sandbox, authorization="Bearer t").status == 200
    assert ask(sandbox, authorization="Bearer t").status == 429


def test_tokens_that_were_not_named_share_a_quota(clock: VirtualClock, ask: Ask) -> None:
    sandbox = Sandbox(jobs=1, clock=clock, burst=1)
    assert ask(sandbox, authorization="Bearer monday").status == 200
    assert ask(sandbox, authorization="Bearer tuesday").status == 429


def test_retrying_when_told_always_works(clock: VirtualClock, ask: Ask) -> None:
    sandbox = Sandbox(jobs=1, clock=clock, burst=3, steady=20, window_offset_seconds=0.3)
    for _ in range(100):
        response = ask(sandbox)
        if response.status == 429:
            clock.sleep(float(response.header("retry-after") or 0))
            assert ask(sandbox).status == 200
        clock.sleep(0.1)

"""What is tried again, and after how long."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import attrs
import pytest
from hypothesis import example, given, strategies as st

from klaviyo_variant_jobs import RetryPolicy
from klaviyo_variant_jobs.retry import least_wait_s, parse_http_date, parse_retry_after

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
delays = st.floats(0, 1e6)
chances = st.floats(0, 1, exclude_max=True)


def seconds(value: str | None) -> float | None:
    return parse_retry_after(value, now_s=NOW.timestamp())


@pytest.mark.parametrize("name", ["base_delay", "max_delay", "deadline"])
@pytest.mark.parametrize("value", [-1, -0.001, math.inf, -math.inf, math.nan, "5", None, True])
def test_seconds_are_finite_numbers_that_are_not_negative(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a number of seconds"):
        RetryPolicy(**{name: value})


def test_a_deadline_leaves_some_time() -> None:
    with pytest.raises(ValueError, match="deadline must be a number of seconds of at least 1e-09"):
        RetryPolicy(deadline=0)
    assert RetryPolicy(base_delay=0, max_delay=0).max_delay == 0


@pytest.mark.parametrize("value", [0, -1, 1.5, 2.0, "3", True])
def test_attempts_are_a_whole_number_of_at_least_one(value: Any) -> None:
    with pytest.raises(ValueError, match="max_attempts must be a whole number of at least 1 "):
        RetryPolicy(max_attempts=value)


@pytest.mark.parametrize("name", ["base_delay", "max_delay", "deadline"])
def test_seconds_of_more_than_thirty_years_are_refused(name: str) -> None:
    for value in (1e10, 10**400):
        with pytest.raises(ValueError, match=f"{name} must be a number of seconds"):
            RetryPolicy(**{name: value})


def test_by_default_the_deadline_governs() -> None:
    policy = RetryPolicy()
    assert policy.deadline == 300.0
    assert policy.max_attempts is None
    assert 0 < policy.base_delay <= policy.max_delay < policy.deadline


def test_a_policy_is_a_frozen_value_of_named_arguments() -> None:
    policy = RetryPolicy(max_attempts=2)
    assert policy == RetryPolicy(max_attempts=2)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        policy.deadline = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        RetryPolicy(3)  # type: ignore[misc]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 520, 524, 527, 599])
def test_a_full_quota_and_a_failing_server_are_tried_again(status: int) -> None:
    assert RetryPolicy().retries_status(status)


@pytest.mark.parametrize("status", [201, 204, 301, 304, 400, 401, 403, 404, 407, 410, 418, 600])
def test_other_statuses_are_not(status: int) -> None:
    assert not RetryPolicy().retries_status(status)


def waits(
    policy: RetryPolicy,
    attempt: int = 1,
    *,
    left_s: float = 10_000.0,
    status: int | None = 503,
    retry_after_s: float | None = None,
    chance: float = 1.0,
) -> float | None:
    least_s = least_wait_s(status, retry_after_s)
    return policy.wait_s(attempt=attempt, left_s=left_s, least_s=least_s, chance=chance)


def test_the_backoff_doubles_until_it_meets_its_bound() -> None:
    policy = RetryPolicy(base_delay=0.5, max_delay=3.0)
    assert [waits(policy, attempt) for attempt in range(1, 7)] == [0.5, 1.0, 2.0, 3.0, 3.0, 3.0]


def test_the_jitter_is_full() -> None:
    policy = RetryPolicy(base_delay=4.0)
    drawn = [waits(policy, status=None, chance=chance) for chance in (0.0, 0.25, 0.999)]
    assert drawn == [0.0, 1.0, pytest.approx(3.996)]


def test_retry_after_is_obeyed_even_when_it_is_longer_than_any_backoff() -> None:
    policy = RetryPolicy(base_delay=1, max_delay=2)
    assert waits(policy, retry_after_s=9000.0, chance=0.5) == 9000.0
    assert waits(policy, 3, retry_after_s=0.25, chance=0.5) == 1.0


def test_after_a_full_quota_the_wait_is_a_second_at_least() -> None:
    policy = RetryPolicy(base_delay=0)
    for said in (None, 0.0, 0.6):
        assert waits(policy, status=429, retry_after_s=said) == 1.0
    assert waits(policy, status=503, retry_after_s=0.6) == 0.6


def test_the_last_attempt_has_no_wait_after_it() -> None:
    policy = RetryPolicy(max_attempts=3)
    assert [waits(policy, attempt) is None for attempt in (1, 2, 3)] == [False, False, True]
    assert waits(RetryPolicy(), 100_000) is not None


def test_a_backoff_takes_at_most_half_of_the_time_that_is_left() -> None:
    policy = RetryPolicy(base_delay=100, max_delay=100)
    assert waits(policy, left_s=50) == 25.0
    assert waits(policy, left_s=50, chance=0.5) == 12.5


@pytest.mark.parametrize("left_s", [-1.0, 0.0, 0.1, 0.49])
def test_with_hardly_any_time_left_there_is_no_other_attempt(left_s: float) -> None:
    assert waits(RetryPolicy(), left_s=left_s, chance=0.0) is None
    assert waits(RetryPolicy(), left_s=left_s, status=None, chance=0.5) is None


def test_a_policy_of_short_delays_may_use_short_deadlines() -> None:
    policy = RetryPolicy(base_delay=0.01, max_delay=0.05, deadline=0.2)
    assert waits(policy, left_s=0.2) == 0.01


@pytest.mark.parametrize("status", [None, 429, 503])
@pytest.mark.parametrize("left_s", [5.0, 4.9, 1.0])
def test_a_wait_that_would_reach_the_deadline_is_not_begun(
    status: int | None, left_s: float
) -> None:
    assert waits(RetryPolicy(), left_s=left_s, status=status, retry_after_s=5.0) is None
    assert waits(RetryPolicy(), left_s=5.1, status=status, retry_after_s=5.0) == 5.0


@given(
    st.integers(1, 5000),
    st.sampled_from([None, 408, 429, 500, 503]),
    st.none() | delays,
    chances,
    delays,
    delays,
    st.floats(-10, 1e6),
)
def test_a_wait_keeps_its_bounds(
    attempt: int,
    status: int | None,
    retry_after_s: float | None,
    chance: float,
    base: float,
    longest: float,
    left_s: float,
) -> None:
    policy = RetryPolicy(base_delay=base, max_delay=longest)
    wait = waits(
        policy, attempt, left_s=left_s, status=status, retry_after_s=retry_after_s, chance=chance
    )
    least = max(retry_after_s or 0.0, 1.0 if status == 429 else 0.0)
    if wait is None:
        assert left_s < 0.5 or least >= left_s
    else:
        assert least <= wait <= max(least, min(longest, left_s / 2))
        assert wait < left_s


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("0", 0.0),
        ("1", 1.0),
        (" 17 ", 17.0),
        ("0.6", 0.6),
        (".5", 0.5),
        ("3.", 3.0),
        ("86400", 86400.0),
        ("Mon, 02 Nov 2026 09:00:30 GMT", 30.0),
        ("Monday, 02-Nov-26 09:01:00 GMT", 60.0),
        ("Mon Nov  2 09:00:05 2026", 5.0),
        ("Mon, 02 Nov 2026 10:00:30 +0100", 30.0),
        ("Mon, 02 Nov 2026 09:00:30 -0000", 30.0),
        ("Mon, 02 Nov 2026 08:59:59 GMT", 0.0),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(value: str, wait: float) -> None:
    assert seconds(value) == wait


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "-1",
        "+1",
        "1e9",
        "inf",
        "nan",
        "NaN",
        "0x10",
        "1,5",
        "1 second",
        "soon",
        "٣",
        "9" * 400,
        "2026-11-02T09:00:30Z",
        "02 Nov 2026 09:00:30 GMT",
        "Mon, 32 Nov 2026 09:00:30 GMT",
        "Mon, 02 Nov 2026",
        "Mon",
        "Mon, 02 Nov 2026 09:00:30 +9999",
        "Mon, 99999999999999999999 Nov 2026 09:00:30 GMT",
    ],
)
def test_anything_else_leaves_the_wait_to_the_backoff(value: str | None) -> None:
    assert seconds(value) is None


@given(st.text() | st.text("MonNov, 0123456789:+-GMT.").map("Mon, ".__add__))
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
def test_any_value_is_seconds_or_nothing(value: str) -> None:
    wait = seconds(value)
    assert wait is None or (math.isfinite(wait) and wait >= 0.0)


@given(st.integers(0, 10**15 - 1))
def test_whole_seconds_are_read_exactly(number: int) -> None:
    assert seconds(str(number)) == number


@given(st.timedeltas(timedelta(0), timedelta(days=4000)))
def test_a_date_to_come_is_read_exactly(ahead: timedelta) -> None:
    ahead -= timedelta(microseconds=ahead.microseconds)
    assert seconds(format_datetime(NOW + ahead, usegmt=True)) == ahead.total_seconds()


@pytest.mark.parametrize("text", ["", "soon", "0", "2026-11-02T09:00:00Z", "Mon"])
def test_what_is_no_http_date_is_none(text: str) -> None:
    assert parse_http_date(text) is None


def test_an_http_date_is_seconds_since_the_epoch() -> None:
    assert parse_http_date("Mon, 02 Nov 2026 09:00:00 GMT") == NOW.timestamp()

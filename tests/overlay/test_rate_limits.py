"""The limiter keeps to the quota, uses all of it, and learns what it is from the answers."""

from __future__ import annotations

import contextlib
import gc
import heapq
import itertools
import logging
import math
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence

import attrs
import pytest
from hypothesis import example, given, settings, strategies as st

from klaviyo_variant_jobs.clock import Clock
from klaviyo_variant_jobs.rate_limits import (
    LONGEST_S,
    Permit,
    Policy,
    RateLimit,
    RateLimiter,
    Wait,
    shared_limiter,
    tightest_limits,
)
from klaviyo_variant_jobs.sandbox import VirtualClock
from tooling.bench._loopback import threads_and_tasks

RECORDED = RateLimit(
    limit=75, remaining=74, reset_seconds=0, policies=(Policy(75, 1), Policy(750, 60))
)


class Account:
    """A limiter and the time it lives in."""

    def __init__(self, burst: int | None = None, steady: int | None = None) -> None:
        self.clock = VirtualClock()
        self.limiter = RateLimiter(burst, steady, clock=self.clock)

    def at(self, moment: float) -> None:
        self.clock.advance_to(moment)

    def ask(self, earlier: Wait | None = None, *, left_s: float = 1e9) -> Permit | Wait:
        return self.limiter.acquire(earlier, left_s=left_s)

    def permit(self, earlier: Wait | None = None) -> Permit:
        outcome = self.ask(earlier)
        assert isinstance(outcome, Permit)
        return outcome

    def wait(self, earlier: Wait | None = None, *, left_s: float = 1e9) -> Wait:
        outcome = self.ask(earlier, left_s=left_s)
        assert isinstance(outcome, Wait)
        return outcome

    def use(self, said: RateLimit | None = None) -> None:
        """Make a request that is answered at once."""
        self.limiter.release(self.permit(), said=said)

    def pause(self, seconds: float) -> None:
        """Make a request that is answered with a 429."""
        self.limiter.release(self.permit(), pause_s=seconds)

    def wait_s(self) -> float:
        """Seconds until there is a place for one more; it does not wait for it."""
        return self.wait(left_s=0.0).seconds

    def free(self) -> int:
        """How many permits are given right now; they are given back."""
        permits: list[Permit] = []
        while isinstance(outcome := self.ask(left_s=0.0), Permit):
            permits.append(outcome)
        for permit in permits:
            self.limiter.release(permit, sent=False)
        return len(permits)

    def limits(self) -> dict[int, int]:
        return {window.window_s: window.limit for window in self.limiter.snapshot().windows}


# Headers


@pytest.mark.parametrize(
    ("limit", "remaining", "reset", "expected"),
    [
        ("75, 75;w=1, 750;w=60", "74", "0", RECORDED),
        (
            "700, 75;w=1, 700;w=60",
            "699",
            "10",
            RateLimit(
                limit=700,
                remaining=699,
                reset_seconds=10,
                policies=(Policy(75, 1), Policy(700, 60)),
            ),
        ),
        (
            "1, 1;w=1, 2;w=60, 225;w=86400",
            None,
            None,
            RateLimit(limit=1, policies=(Policy(1, 1), Policy(2, 60), Policy(225, 86_400))),
        ),
        ("75", "3", "1", RateLimit(limit=75, remaining=3, reset_seconds=1)),
        ("soon", "-1", "1.5e3", None),
        (None, None, None, None),
    ],
)
def test_every_recorded_form_is_read(
    limit: str | None, remaining: str | None, reset: str | None, expected: RateLimit | None
) -> None:
    assert RateLimit.parse(limit, remaining, reset) == expected


numbers = st.integers(0, 999_999_999)


@given(
    st.builds(
        RateLimit,
        limit=st.none() | numbers,
        remaining=st.none() | numbers,
        reset_seconds=st.none() | numbers,
        policies=st.lists(st.builds(Policy, numbers, numbers), max_size=4).map(tuple),
    )
)
def test_what_is_written_is_read_back(said: RateLimit) -> None:
    def text(number: float | None) -> str | None:
        return None if number is None else str(number)

    read = RateLimit.parse(str(said), text(said.remaining), text(said.reset_seconds))
    assert (read or RateLimit()) == said


@given(st.text() | st.from_regex(r"[0-9;w=, ]*"), st.text(), st.text())
def test_arbitrary_headers_never_raise_and_never_block_for_ever(
    limit: str, remaining: str, reset: str
) -> None:
    account = Account(5, 50)
    account.use(RateLimit.parse(limit, remaining, reset))
    account.at(1.0)
    outcome = account.ask(left_s=0.0)
    assert isinstance(outcome, Permit) or outcome.seconds <= LONGEST_S


def test_the_named_policy_is_one_that_can_have_its_reset() -> None:
    both = (Policy(10, 1), Policy(10, 60))
    assert RateLimit(limit=10, reset_seconds=30, policies=both).named_policy == Policy(10, 60)
    assert RateLimit(limit=10, reset_seconds=99, policies=both).named_policy is None
    assert RateLimit(limit=11, policies=both).named_policy is None


# Permits


def test_it_starts_from_the_tightest_limits_of_the_kept_revisions() -> None:
    assert list(Account().limits().values()) == list(tightest_limits())
    assert Account(steady=9).limits() == {1: 75, 60: 9}


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "75"])
def test_limits_that_are_no_whole_numbers_above_zero_are_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="burst must be a whole number"):
        RateLimiter(burst=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="steady must be a whole number"):
        RateLimiter(steady=wrong)  # type: ignore[arg-type]


def test_a_place_is_free_again_one_window_after_the_answer() -> None:
    account = Account(1, 100)
    permit = account.permit()
    account.at(0.4)
    account.limiter.release(permit)
    account.at(0.5)
    wait = account.wait()
    assert wait.seconds == pytest.approx(0.9)
    account.at(1.39)
    wait = account.wait(wait)
    assert wait.seconds == pytest.approx(0.01)
    account.at(1.4)
    account.permit(wait)


def test_a_request_that_never_left_gives_its_place_back() -> None:
    account = Account(1, 100)
    account.limiter.release(account.permit(), sent=False)
    account.permit()


def test_a_request_that_was_refused_holds_no_place() -> None:
    account = Account(2, 2)
    account.pause(3.0)
    account.at(3.0)
    assert account.free() == 2


def test_a_second_release_changes_nothing() -> None:
    account = Account(2, 100)
    permit = account.permit()
    account.limiter.release(permit)
    before = account.limiter.snapshot()
    account.limiter.release(permit, sent=False)
    account.limiter.release(permit, said=RateLimit(policies=(Policy(1, 1),)), pause_s=9.0)
    assert account.limiter.snapshot() == before


def test_a_permit_that_nobody_releases_expires_as_if_it_were_answered_then() -> None:
    account = Account(2, 2)
    lost = account.permit()
    account.at(300.0)
    account.use()
    account.at(599.9)
    assert account.limiter.snapshot().pending == 1
    assert account.free() == 1
    account.at(600.0)
    assert account.limiter.snapshot().pending == 0
    assert account.free() == 1, "held for a window more"
    account.at(660.0)
    assert account.free() == 2
    account.limiter.release(lost, pause_s=9.0)
    assert account.free() == 2


def test_a_limiter_whose_permits_were_all_lost_goes_on() -> None:
    account = Account(5, 5)
    for _ in range(5):
        account.permit()
    account.at(661.0)
    account.free()
    account.at(721.0)
    assert account.free() == 5


# First come, first served


def test_the_wait_of_those_further_behind_counts_the_turns_before_theirs() -> None:
    account = Account(2, 100)
    account.use()
    account.use()
    account.at(0.5)
    waits = [account.wait().seconds for _ in range(5)]
    assert waits == pytest.approx([0.5, 0.5, 1.5, 1.5, 2.5])


def test_while_places_are_pending_the_wait_is_until_the_first_can_be_free() -> None:
    account = Account(1, 100)
    account.permit()
    account.at(0.7)
    assert account.wait().seconds == pytest.approx(1.0)


def test_a_newcomer_does_not_overtake_those_who_wait() -> None:
    account = Account(1, 100)
    account.use()
    first = account.wait()
    account.at(1.0)
    newcomer = account.wait()
    account.permit(first)
    assert account.wait(newcomer).seconds == pytest.approx(1.0)


def test_a_newcomer_gets_a_place_that_nobody_before_needs() -> None:
    account = Account(2, 100)
    account.use()
    account.use()
    first = account.wait()
    account.at(1.0)
    account.permit()
    account.permit(first)


def test_a_waiter_that_does_not_come_for_its_place_holds_up_nobody_for_long() -> None:
    account = Account(1, 100)
    account.use()
    stalled, following = account.wait(), account.wait()
    account.at(1.0)
    following = account.wait(following)
    assert following.seconds == pytest.approx(0.25)
    account.at(1.26)
    assert account.limiter.snapshot().waiting == 1
    account.limiter.release(account.permit(following))
    last = account.wait()
    account.at(2.0)
    stalled = account.wait(stalled)
    account.at(2.26)
    assert isinstance(account.ask(last), Wait)
    account.permit(stalled)


def test_those_who_were_cancelled_are_forgotten_within_seconds() -> None:
    account = Account(10, 10)
    for _ in range(10):
        account.use()
    for _ in range(100):
        account.wait()
    account.at(5.3)
    assert account.limiter.snapshot().waiting == 0
    assert account.wait_s() == pytest.approx(54.7)


def test_a_long_wait_is_told_in_steps_so_that_what_has_changed_is_noticed() -> None:
    account = Account(1, 1)
    permit = account.permit()
    wait = account.wait()
    assert wait.seconds == 5.0
    account.at(1.0)
    account.limiter.release(permit, sent=False)
    account.at(5.0)
    account.permit(wait)


def test_nobody_waits_for_a_request_whose_time_is_too_short() -> None:
    account = Account(1, 100)
    account.use()
    assert account.wait(left_s=0.9).seconds == pytest.approx(1.0), "the whole wait, to judge by"
    account.at(1.0)
    account.permit()


def test_who_asks_again_keeps_its_place_when_a_wait_becomes_too_long_for_it() -> None:
    account = Account(1, 100)
    account.use()
    first, second = account.wait(), account.wait()
    assert account.wait(first, left_s=0.1).seconds == pytest.approx(1.0)
    assert account.limiter.snapshot().waiting == 1
    account.at(1.0)
    account.permit(second)


# Learning


def test_headers_tighten_at_once() -> None:
    account = Account(350, 3500)
    account.use(RECORDED)
    assert account.limits() == {1: 75, 60: 750}
    assert account.free() == 74


def test_headers_loosen_when_what_taught_us_has_passed_and_never_above_the_start() -> None:
    account = Account(100, 1000)
    generous = RateLimit(policies=(Policy(500, 1), Policy(5000, 60)))
    account.use(RECORDED)
    account.at(0.9)
    account.use(generous)
    assert account.limits() == {1: 75, 60: 750}
    account.at(1.0)
    account.use(generous)
    assert account.limits() == {1: 100, 60: 750}
    account.at(60.0)
    account.use(generous)
    assert account.limits() == {1: 100, 60: 1000}


def test_each_statement_of_the_tight_limit_teaches_anew() -> None:
    account = Account(100, 1000)
    account.use(RECORDED)
    account.at(50.0)
    account.use(RECORDED)
    account.at(109.0)
    account.use(RateLimit(policies=(Policy(75, 1), Policy(1000, 60))))
    assert account.limits()[60] == 750


def test_a_window_that_is_no_longer_named_goes_back_to_the_start() -> None:
    account = Account(100, 1000)
    account.use(RECORDED)
    account.at(60.0)
    account.use(RateLimit(policies=(Policy(75, 1),)))
    assert account.limits() == {1: 75, 60: 1000}


def test_of_two_statements_about_one_window_the_tighter_counts() -> None:
    account = Account()
    account.use(RateLimit(policies=(Policy(30, 1), Policy(40, 1))))
    assert account.limits()[1] == 30


def test_a_window_that_only_headers_name_is_obeyed() -> None:
    account = Account()
    daily = RateLimit.parse("1, 75;w=1, 750;w=60, 3;w=86400")
    for moment in (0.0, 10.0, 20.0, 30.0):  # The first was sent before the limit was known.
        account.at(moment)
        account.use(daily)
    assert account.limiter.snapshot().windows[2].available == 0
    assert account.wait_s() == pytest.approx(120.0), "then one sees whether it still holds"


def test_a_window_that_only_headers_name_disappears_when_what_taught_it_has_passed() -> None:
    account = Account()
    account.use(RateLimit.parse("75, 75;w=1, 750;w=60, 9000;w=3600"))
    for moment in range(100, 3600, 100):
        account.at(moment)
        account.use(RECORDED)
        assert list(account.limits()) == [1, 60, 3600]
    account.at(3600.0)
    account.use(RECORDED)
    assert list(account.limits()) == [1, 60]


def test_no_number_of_named_windows_makes_the_limiter_grow() -> None:
    account = Account()
    for length in range(100, 1000):
        account.use(RateLimit(policies=(Policy(10_000, length),)))
        account.at(length / 5)
    assert len(account.limits()) <= 8


@pytest.mark.parametrize(
    "header",
    [
        "0, 0;w=1, 0;w=60",
        "0",
        "75;w=0",
        "75, 75;w=1000000",
        "-5, -5;w=1",
        "99999999999999999999;w=1",
        "nan;w=1, 1e3;w=60",
        ", ".join(f"1;w={seconds}" for seconds in range(1, 1000)),
        "1;w",
        "",
    ],
)
@pytest.mark.parametrize("remaining", ["0", "-3", "999999999", "many", None])
def test_garbage_changes_nothing(header: str, remaining: str | None) -> None:
    account, untouched = Account(), Account()
    for one, said in ((account, RateLimit.parse(header, remaining, "0")), (untouched, None)):
        one.use(RECORDED)
        one.at(2.0)
        one.use(said)
    assert account.limiter.snapshot() == untouched.limiter.snapshot()


# What remains


def named(window: Policy, remaining: int, reset: int = 0) -> RateLimit:
    return RateLimit(
        limit=window.limit,
        remaining=remaining,
        reset_seconds=reset,
        policies=(Policy(75, 1), Policy(750, 60)),
    )


def test_no_more_is_sent_than_remains_until_the_reset() -> None:
    account = Account()
    account.use(named(Policy(750, 60), 10, reset=30))
    assert account.free() == 10
    for _ in range(10):
        account.use()
    wait = account.wait()
    assert wait.seconds == 5.0
    assert account.wait_s() == pytest.approx(31.0)
    assert wait.reason == "11 of 750 requests in 60 s used, the rest by others"
    account.at(31.0)
    assert account.free() == 75


def test_of_what_remains_of_the_burst_window_no_more_is_sent_even_when_our_places_free() -> None:
    account = Account()
    for _ in range(60):
        account.use()
    account.at(0.9)
    account.use(named(Policy(75, 1), 4))
    account.at(1.5)
    assert account.free() == 4
    account.at(1.9)
    assert account.free() == 75


def test_the_latest_answer_says_what_remains() -> None:
    account = Account()
    account.use(named(Policy(750, 60), 10, reset=30))
    account.use(named(Policy(750, 60), 5, reset=30))
    assert account.free() == 5
    account.use(named(Policy(750, 60), 749, reset=59))
    assert account.free() == 72


def test_our_own_requests_do_not_pass_for_those_of_others() -> None:
    account = Account()
    permits = [account.permit() for _ in range(40)]
    account.at(0.1)
    for nth, permit in enumerate(permits):
        # All 40 were counted before the first was answered.
        account.limiter.release(permit, said=named(Policy(75, 1), 35))
        assert account.free() == 35, nth


def test_what_is_pending_is_not_held_against_us_when_our_places_free() -> None:
    account = Account(1000, 750)
    for _ in range(700):
        account.use()
    account.at(59.5)
    permits = [account.permit() for _ in range(40)]
    said = RateLimit(limit=750, remaining=10, reset_seconds=0, policies=(Policy(750, 60),))
    account.limiter.release(permits[0], said=said)
    assert account.free() == 10
    account.at(60.0)
    assert account.free() == 710


def test_a_limit_of_our_own_choice_leaves_room_for_others_already() -> None:
    account = Account(20, 750)
    account.use(named(Policy(75, 1), 44))
    assert account.free() == 19


# Pausing


def test_a_429_pauses_everyone() -> None:
    account = Account(10, 100)
    waiting = account.permit()
    account.pause(7.0)
    account.limiter.release(waiting)
    assert account.wait().reason == "paused for 7.0 s after a 429"
    account.at(3.0)
    assert account.wait_s() == pytest.approx(4.0)
    snapshot = account.limiter.snapshot()
    assert (snapshot.paused_for_s, snapshot.pending, snapshot.waiting) == (4.0, 0, 1)


def test_after_a_pause_it_goes_on_at_once() -> None:
    account = Account()
    account.pause(120.0)
    account.at(119.9)
    assert account.free() == 0
    account.at(120.0)
    assert account.free() == 75


def test_the_longest_of_several_pauses_holds() -> None:
    account = Account()
    first, second = account.permit(), account.permit()
    account.limiter.release(first, pause_s=9.0)
    account.at(0.2)
    account.limiter.release(second, pause_s=1.0)
    assert account.limiter.snapshot().paused_for_s == pytest.approx(8.8)


def test_an_absurd_retry_after_pauses_for_a_day_at_most() -> None:
    account = Account()
    account.pause(1e15)
    assert account.limiter.snapshot().paused_for_s == LONGEST_S


# A poisoned quota

POISON = RateLimit.parse("1, 1;w=86400")


def test_a_limit_below_a_tenth_of_the_start_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    account = Account()
    with caplog.at_level(logging.WARNING, "klaviyo_variant_jobs"):
        account.use(RateLimit.parse("8, 8;w=1, 750;w=60, 108000;w=86400"))
        account.limiter.snapshot()
        assert not caplog.records
        account.use(POISON)
        account.limiter.snapshot()
        account.at(300.0)
        account.use(RateLimit.parse("1, 1;w=1, 1;w=60"))
        account.limiter.snapshot()
    (line,) = [record.message for record in caplog.records]
    assert line == "the API limits us to 1;w=86400, less than a tenth of 1080000"


def test_while_a_learned_limit_blocks_everyone_one_request_in_minutes_sees_if_it_holds() -> None:
    account = Account()
    account.use(POISON)
    account.use()  # The first one was sent before the limit was known.
    first, second = account.wait(), account.wait()
    account.at(119.0)
    assert account.wait_s() == pytest.approx(1.0)
    account.at(120.0)
    probe = account.permit()
    assert account.free() == 0
    account.at(121.0)
    account.limiter.release(probe, said=POISON)
    assert account.free() == 0, "it holds"
    account.at(240.0)
    probe = account.permit(first)
    assert isinstance(account.ask(second), Wait)
    account.limiter.release(probe, said=RECORDED)
    assert account.limits() == {1: 75, 60: 750}
    account.permit(second)
    assert account.free() == 73


def test_a_probe_without_an_answer_of_the_api_teaches_nothing() -> None:
    account = Account()
    account.use(POISON)
    account.use()
    account.at(120.0)
    account.use()
    assert account.free() == 0
    assert list(account.limits()) == [1, 60, 86_400]


def test_limits_of_our_own_choice_and_pauses_are_never_probed() -> None:
    account = Account(1, 1)
    account.permit()
    account.at(400.0)
    assert account.free() == 0
    account = Account()
    account.pause(3600.0)
    account.at(3599.0)
    assert account.free() == 0


# What is seen


def test_the_reason_names_the_full_window() -> None:
    account = Account(10, 1)
    account.use()
    account.at(1.0)
    assert account.wait().reason == "1 of 1 requests in 60 s used"


def test_a_snapshot_says_what_is_in_use_and_what_is_available() -> None:
    account = Account(2, 100)
    account.use()
    account.permit()
    account.wait()
    snapshot = account.limiter.snapshot()
    burst, steady = snapshot.windows
    assert (burst.window_s, burst.limit, burst.in_use, burst.available) == (1, 2, 2, 0)
    assert (steady.window_s, steady.limit, steady.in_use, steady.available) == (60, 100, 2, 98)
    assert (snapshot.pending, snapshot.waiting, snapshot.paused_for_s) == (1, 1, 0.0)


def test_the_clock_of_the_first_client_stays() -> None:
    limiter, first, second = RateLimiter(1, 1), VirtualClock(), VirtualClock()
    limiter.use_clock(first)
    limiter.use_clock(second)
    permit = limiter.acquire(None, left_s=1.0)
    assert isinstance(permit, Permit)
    limiter.release(permit)
    second.advance_to(100.0)
    assert isinstance(limiter.acquire(None, left_s=1.0), Wait)
    first.advance_to(60.0)
    assert isinstance(limiter.acquire(None, left_s=1.0), Permit)


def test_the_same_identity_and_clock_get_the_same_limiter() -> None:
    clock = VirtualClock()
    assert shared_limiter("this", clock) is shared_limiter("this", clock)
    assert shared_limiter("this", clock) is not shared_limiter("that", clock)
    assert shared_limiter("this", clock) is not shared_limiter("this", VirtualClock())


def test_a_program_that_makes_a_client_per_task_keeps_its_count() -> None:
    clock = VirtualClock()
    for nth in range(3):
        assert isinstance(shared_limiter("per task", clock).acquire(None, left_s=1.0), Permit)
        gc.collect()
        assert shared_limiter("per task", clock).snapshot().pending == nth + 1


def test_unlimited_never_waits() -> None:
    limiter = RateLimiter.unlimited()
    for _ in range(10_000):
        permit = limiter.acquire(None, left_s=0.0)
        assert isinstance(permit, Permit)
        limiter.release(permit, said=POISON, pause_s=100.0)


# For any arrivals


@attrs.frozen
class Request:
    """Joins at `joins_at`; a granted one is counted `share` of the way to its answer."""

    joins_at: float
    latency_s: float
    share: float


@attrs.define
class Fate:
    granted_at: float = math.nan
    counted_at: float = math.nan
    answered_at: float = math.nan


def run(account: Account, requests: Sequence[Request]) -> list[Fate]:
    """Let requests happen; each asks again after the wait it was told."""
    events: list[tuple[float, int, Callable[[], None]]] = []
    order = itertools.count()
    fates = [Fate() for _ in requests]

    def at(moment: float, event: Callable[[], None]) -> None:
        heapq.heappush(events, (moment, next(order), event))

    def ask(request: Request, fate: Fate, earlier: Wait | None) -> None:
        now = account.clock.monotonic()
        outcome = account.ask(earlier)
        if isinstance(outcome, Wait):
            at(now + outcome.seconds, lambda: ask(request, fate, outcome))
            return
        fate.granted_at = now
        fate.counted_at = now + request.share * request.latency_s
        fate.answered_at = now + request.latency_s
        at(fate.answered_at, lambda: account.limiter.release(outcome))

    for request, fate in zip(requests, fates, strict=True):
        at(request.joins_at, lambda request=request, fate=fate: ask(request, fate, None))  # type: ignore[misc]
    while events:
        moment, _, event = heapq.heappop(events)
        account.at(moment)
        event()
    return fates


shares = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1)
moments = st.integers(0, 40).map(lambda tenths: tenths / 10) | st.floats(0, 4)
latencies = st.sampled_from([0.0, 0.1, 1.0]) | st.floats(0, 3)
arrivals = st.lists(st.builds(Request, moments, latencies, shares), min_size=1, max_size=25).map(
    lambda found: sorted(found, key=lambda request: request.joins_at)
)
limits = st.tuples(st.integers(1, 5), st.integers(2, 12))


@settings(max_examples=100)
@given(limits, arrivals)
@example((1, 2), [Request(0.0, 0.0, 0.0)] * 5)
def test_no_window_of_any_alignment_is_exceeded_and_no_place_stays_unused(
    limit: tuple[int, int], requests: list[Request]
) -> None:
    fates = run(Account(*limit), requests)
    counted = sorted(fate.counted_at for fate in fates)
    for allowed, length in zip(limit, (1, 60), strict=True):
        for first, after in zip(counted, counted[allowed:], strict=False):
            assert after - first >= length - 1e-8
    granted = [fate.granted_at for fate in fates]
    assert granted == sorted(granted), "first come, first served"
    for nth, (request, moment) in enumerate(zip(requests, granted, strict=True)):
        assert moment <= earliest(limit, fates[:nth], request) + 1e-4


def earliest(limit: tuple[int, int], before: Sequence[Fate], request: Request) -> float:
    """When there is a place, given what became of those before."""
    moment = max([request.joins_at, *(fate.granted_at for fate in before)])
    for allowed, length in zip(limit, (1, 60), strict=True):
        freed = sorted(fate.answered_at + length for fate in before)
        if len(freed) >= allowed:
            moment = max(moment, freed[-allowed])
    return moment


# Together


class HookedClock(Clock):
    """Does something when it is asked for the time, which is in the middle of an `acquire`."""

    def __init__(self) -> None:
        self.hook: Callable[[], object] = lambda: None

    def tell(self) -> float:
        hook, self.hook = self.hook, lambda: None
        hook()
        return 0.0

    monotonic = tell


@contextlib.contextmanager
def at_most_seconds(seconds: float, work: Callable[[], object]) -> Iterator[None]:
    """Do `work` in a thread, and fail if it is stuck."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    thread.join(seconds)
    assert not thread.is_alive(), "stuck"


def test_a_request_that_is_collected_in_the_middle_of_an_acquire_is_no_deadlock() -> None:
    clock = HookedClock()
    limiter = RateLimiter(2, 100, clock=clock)

    class Dropped:
        def __init__(self) -> None:
            self.itself, self.permit = self, limiter.acquire(None, left_s=1.0)

        def __del__(self) -> None:
            assert isinstance(self.permit, Permit)
            limiter.release(self.permit, sent=False)

    Dropped()
    clock.hook = gc.collect
    with at_most_seconds(10.0, lambda: limiter.acquire(None, left_s=1.0)):
        pass
    assert limiter.snapshot().pending == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_a_forked_child_starts_anew_though_the_lock_was_held_when_it_was_made() -> None:
    clock = HookedClock()
    limiter = RateLimiter(3, 3, clock=clock)
    used = limiter.acquire(None, left_s=1.0)
    assert isinstance(used, Permit)
    limiter.release(used)
    pending = limiter.acquire(None, left_s=1.0)
    assert isinstance(pending, Permit)
    inside, forked = threading.Event(), threading.Event()

    def hold_the_lock() -> None:
        inside.set()
        forked.wait(10.0)

    clock.hook = hold_the_lock
    with at_most_seconds(20.0, lambda: limiter.acquire(None, left_s=1.0)):
        assert inside.wait(10.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            signal.alarm(10)
            limiter.release(pending)
            seen = limiter.snapshot()
            os._exit(0 if (seen.pending, seen.windows[0].in_use) == (0, 1) else 1)
        forked.set()
    assert os.waitpid(child, 0)[1] == 0
    assert limiter.snapshot().pending == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_first_threads_of_a_forked_child_start_anew_once() -> None:
    limiter = RateLimiter(1_000, 1_000, clock=VirtualClock())
    child = os.fork()
    if not child:
        signal.alarm(10)
        threads = [threading.Thread(target=limiter.acquire, args=(None,), kwargs={"left_s": 1.0})]
        threads += [threading.Thread(target=limiter.snapshot) for _ in range(3)]
        make_lock = threading.Lock

        def take_long() -> threading.Lock:
            time.sleep(0.01)  # Other threads come in between.
            return make_lock()

        threading.Lock = take_long  # type: ignore[assignment,misc]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os._exit(0 if limiter.snapshot().pending == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_many_threads_at_once_neither_lose_nor_gain_a_place() -> None:
    limiter = RateLimiter(10_000, 10_000, clock=VirtualClock())

    def work() -> None:
        for nth in range(200):
            permit = limiter.acquire(None, left_s=1.0)
            assert isinstance(permit, Permit)
            limiter.release(permit, sent=nth % 2 == 0)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    snapshot = limiter.snapshot()
    assert (snapshot.pending, snapshot.waiting) == (0, 0)
    assert snapshot.windows[0].in_use == 800


def test_threads_and_tasks_share_one_limiter_over_loopback() -> None:
    shared = threads_and_tasks(threads=4, tasks=4, each=3, burst=12)
    assert shared.requests == 24
    assert shared.refused <= 1

"""The limiter keeps to the quota, uses all of it, and learns what it is from the answers."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from klaviyo_variant_jobs import Client, RateLimit, RateLimiter
from klaviyo_variant_jobs.rate_limits import (
    LONGEST_S,
    Policy,
    Ticket,
    shared_limiter,
    tightest_limits,
)
from klaviyo_variant_jobs.sandbox import Sandbox, VirtualClock
from tooling.bench._loopback import threads_and_tasks

RECORDED = RateLimit(
    limit=75, remaining=74, reset_seconds=0, policies=(Policy(75, 1), Policy(750, 60))
)

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
    limiter = RateLimiter(5, 50)
    use(limiter, 0.0, RateLimit.parse(limit, remaining, reset))
    assert limiter.join(1.0).wait_s(1.0) <= LONGEST_S


def test_the_named_policy_is_one_that_can_have_its_reset() -> None:
    both = (Policy(10, 1), Policy(10, 60))
    assert RateLimit(limit=10, reset_seconds=30, policies=both).named_policy == Policy(10, 60)
    assert RateLimit(limit=10, reset_seconds=99, policies=both).named_policy is None
    assert RateLimit(limit=11, policies=both).named_policy is None


# Granting


def use(limiter: RateLimiter, now: float, said: RateLimit | None = None) -> None:
    """Make a request that is answered at once."""
    ticket = limiter.join(now)
    assert ticket.wait_s(now) == 0.0
    ticket.answered(now, said)


def free_at(limiter: RateLimiter, now: float) -> int:
    """How many places are granted right now; they are given back."""
    tickets: list[Ticket] = []
    while (ticket := limiter.join(now)).wait_s(now) == 0.0:
        tickets.append(ticket)
    for given_back in (ticket, *tickets):
        given_back.cancel(now)
    return len(tickets)


def test_it_starts_from_the_tightest_limits_of_the_kept_revisions() -> None:
    limits = [window.limit for window in RateLimiter().snapshot(0.0).windows]
    assert limits == list(tightest_limits())
    assert [window.limit for window in RateLimiter(steady=9).snapshot(0.0).windows] == [75, 9]


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "75"])
def test_limits_that_are_no_whole_numbers_above_zero_are_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="burst must be a whole number"):
        RateLimiter(burst=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="steady must be a whole number"):
        RateLimiter(steady=wrong)  # type: ignore[arg-type]


def test_a_place_is_freed_one_window_after_the_answer() -> None:
    limiter = RateLimiter(1, 100)
    ticket = limiter.join(0.0)
    assert ticket.wait_s(0.0) == 0.0
    ticket.answered(0.4, None)
    waiter = limiter.join(0.5)
    assert waiter.wait_s(0.5) == pytest.approx(0.9)
    assert waiter.wait_s(1.39) == pytest.approx(0.01)
    assert waiter.wait_s(1.4) == 0.0


def test_a_failed_request_holds_its_place_as_an_answered_one_does() -> None:
    limiter = RateLimiter(1, 100)
    limiter.join(0.0).failed(0.2)
    assert limiter.join(0.2).wait_s(0.2) == pytest.approx(1.0)


def test_the_wait_of_those_further_behind_counts_the_turns_before_theirs() -> None:
    limiter = RateLimiter(2, 100)
    for _ in range(2):
        use(limiter, 0.0)
    waits = [limiter.join(0.5).wait_s(0.5) for _ in range(5)]
    assert waits == pytest.approx([0.5, 0.5, 1.5, 1.5, 2.5])


def test_a_waiter_is_woken_when_its_place_comes_sooner_than_it_was_told() -> None:
    limiter = RateLimiter(1, 100)
    held = limiter.join(0.0)
    waiter = limiter.join(0.0)
    assert waiter.wait_s(0.0) == 1.0
    woken: list[bool] = []
    waiter.on_grant(lambda: woken.append(True))
    held.cancel(0.1)
    assert woken
    assert waiter.wait_s(0.1) == 0.0


def test_asking_for_a_wake_up_after_the_grant_wakes_at_once() -> None:
    limiter = RateLimiter(1, 100)
    held, waiter = limiter.join(0.0), limiter.join(0.0)
    held.cancel(0.1)
    woken: list[bool] = []
    waiter.on_grant(lambda: woken.append(True))
    assert woken


def test_who_moves_up_because_the_head_was_cancelled_learns_of_it() -> None:
    limiter = RateLimiter(1, 100)
    use(limiter, 0.0)
    first, second = limiter.join(0.5), limiter.join(0.5)
    assert (first.wait_s(0.5), second.wait_s(0.5)) == (0.5, 1.5)
    woken: list[bool] = []
    second.on_grant(lambda: woken.append(True))
    first.cancel(0.6)
    assert woken
    assert second.wait_s(0.6) == pytest.approx(0.4)


def test_a_waiter_that_does_not_come_for_its_place_holds_up_nobody_for_long() -> None:
    limiter = RateLimiter(1, 100)
    use(limiter, 0.0)
    stalled, next_one, last = (limiter.join(0.0) for _ in range(3))
    assert next_one.wait_s(1.0) == pytest.approx(0.25)
    assert next_one.wait_s(1.25) == 0.0
    assert limiter.snapshot(1.25).waiting == 2
    next_one.answered(1.3, None)
    assert stalled.wait_s(2.0) == pytest.approx(0.3)
    assert last.wait_s(2.3) > 0.0
    assert stalled.wait_s(2.3) == 0.0, "the first free place after it came is its own"


def test_a_request_dropped_by_the_garbage_collector_in_the_middle_of_a_turn_is_no_deadlock() -> (
    None
):
    limiter = RateLimiter(2, 100)
    dropped, held, waiter = (limiter.join(0.0) for _ in range(3))
    waiter.on_grant(lambda: dropped.cancel(0.1))  # Wake-ups happen within a turn.
    held.cancel(0.1)
    assert limiter.snapshot(0.1).in_flight == 1
    assert waiter.wait_s(0.1) == 0.0


def test_closing_a_ticket_after_its_answer_changes_nothing() -> None:
    limiter = RateLimiter(2, 100)
    ticket = limiter.join(0.0)
    ticket.answered(0.0, None)
    before = limiter.snapshot(0.0)
    ticket.cancel(0.0)
    ticket.failed(0.0)
    assert limiter.snapshot(0.0) == before


# Learning


def test_headers_tighten_at_once() -> None:
    limiter = RateLimiter(350, 3500)
    use(limiter, 0.0, RECORDED)
    assert [window.limit for window in limiter.snapshot(0.0).windows] == [75, 750]
    assert free_at(limiter, 0.0) == 74


def test_headers_loosen_when_what_taught_us_has_passed_and_never_above_the_start() -> None:
    limiter = RateLimiter(100, 1000)
    generous = RateLimit(policies=(Policy(500, 1), Policy(5000, 60)))
    use(limiter, 0.0, RECORDED)
    use(limiter, 0.9, generous)
    assert [window.limit for window in limiter.snapshot(0.9).windows] == [75, 750]
    use(limiter, 1.0, generous)
    assert [window.limit for window in limiter.snapshot(1.0).windows] == [100, 750]
    use(limiter, 60.0, generous)
    assert [window.limit for window in limiter.snapshot(60.0).windows] == [100, 1000]


def test_a_waiter_gets_its_place_when_a_limit_loosens() -> None:
    limiter = RateLimiter(10, 1000)
    use(limiter, 0.0, RateLimit(policies=(Policy(5, 1),)))
    generous = RateLimit(policies=(Policy(10, 1),))
    use(limiter, 0.5, generous)  # Not yet: what taught us has not passed.
    sent = [limiter.join(1.6) for _ in range(5)]
    waiter = limiter.join(1.6)
    assert waiter.wait_s(1.6) > 0.0
    sent[0].answered(1.7, generous)
    assert waiter.wait_s(1.7) == 0.0


def test_what_is_learned_of_others_takes_back_places_that_were_free() -> None:
    limiter = RateLimiter(10, 1000)
    policies = (Policy(10, 1), Policy(1000, 60))
    use(limiter, 0.0, RateLimit(limit=10, remaining=9, reset_seconds=1, policies=policies))
    use(limiter, 2.0, RateLimit(limit=10, remaining=2, reset_seconds=1, policies=policies))
    joined = [limiter.join(2.0) for _ in range(10)]  # Of 8 used 7 are not ours.
    assert sum(ticket.wait_s(2.0) == 0.0 for ticket in joined) == 2


def test_each_statement_of_the_tight_limit_teaches_anew() -> None:
    limiter = RateLimiter(100, 1000)
    use(limiter, 0.0, RECORDED)
    use(limiter, 50.0, RECORDED)
    use(limiter, 109.0, RateLimit(policies=(Policy(75, 1), Policy(1000, 60))))
    assert limiter.snapshot(109.0).windows[1].limit == 750


def test_of_two_statements_about_one_window_the_tighter_counts() -> None:
    limiter = RateLimiter()
    use(limiter, 0.0, RateLimit(policies=(Policy(30, 1), Policy(40, 1))))
    assert limiter.snapshot(0.0).windows[0].limit == 30


def test_a_daily_window_is_obeyed_and_disappears_a_day_after_it_was_last_named() -> None:
    limiter = RateLimiter()
    daily = RateLimit.parse("1, 75;w=1, 750;w=60, 3;w=86400")
    use(limiter, 0.0, daily)
    use(limiter, 10.0, daily)
    use(limiter, 20.0, RECORDED)
    assert [window.window_s for window in limiter.snapshot(20.0).windows] == [1, 60, 86_400]
    waiter = limiter.join(20.0)
    assert waiter.wait_s(20.0) == pytest.approx(86_380.0)
    assert waiter.wait_s(86_400.0) == 0.0
    waiter.answered(86_400.0, RECORDED)
    assert len(limiter.snapshot(86_409.0).windows) == 3
    assert [window.window_s for window in limiter.snapshot(86_410.0).windows] == [1, 60]


def test_a_new_window_counts_what_was_sent_before_it_was_known() -> None:
    limiter = RateLimiter()
    for now in (0.0, 1.0, 2.0):
        use(limiter, now)
    use(limiter, 3.0, RateLimit.parse("75, 75;w=1, 5;w=10, 750;w=60"))
    ten = limiter.snapshot(3.0).windows[1]
    assert (ten.window_s, ten.limit, ten.in_use) == (10, 5, 4)
    assert free_at(limiter, 3.0) == 1


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
    limiter = RateLimiter()
    use(limiter, 0.0, RECORDED)
    before = limiter.snapshot(5.0).windows
    use(limiter, 2.0, RateLimit.parse(header, remaining, "0"))
    after = limiter.snapshot(5.0).windows
    assert [(w.window_s, w.limit, w.left_to_others) for w in after] == [
        (w.window_s, w.limit, w.left_to_others) for w in before
    ]


# Others


def named(window: Policy, remaining: int, reset: int = 0) -> RateLimit:
    return RateLimit(
        limit=window.limit,
        remaining=remaining,
        reset_seconds=reset,
        policies=(Policy(75, 1), Policy(750, 60)),
    )


def test_no_more_is_left_to_others_than_our_own_requests_do_not_explain() -> None:
    limiter = RateLimiter()
    tickets = [limiter.join(0.0) for _ in range(20)]
    for nth, ticket in enumerate(tickets, 1):
        ticket.answered(0.1, named(Policy(75, 1), 75 - nth))
    assert limiter.snapshot(0.1).windows[0].left_to_others == 0
    use(limiter, 0.5, named(Policy(75, 1), 75 - 21 - 9))
    assert limiter.snapshot(0.5).windows[0].left_to_others == 9


def test_the_rate_of_others_is_carried_on_to_the_end_of_the_window() -> None:
    limiter = RateLimiter()
    use(limiter, 0.0, named(Policy(750, 60), 750 - 101, reset=30))
    left = limiter.snapshot(0.0).windows[1].left_to_others
    assert 180 <= left <= 200
    assert free_at(limiter, 0.0) == 74


def test_room_for_others_is_taken_back_bit_by_bit_when_nothing_is_heard_of_them() -> None:
    limiter = RateLimiter()
    use(limiter, 0.0, named(Policy(750, 60), 750 - 301, reset=1))
    left = [limiter.snapshot(now).windows[1].left_to_others for now in range(0, 3600, 120)]
    assert left[0] > 290
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0


def test_others_who_have_left_are_forgotten_when_the_headers_show_it() -> None:
    limiter = RateLimiter()
    use(limiter, 0.0, named(Policy(750, 60), 750 - 301, reset=1))
    use(limiter, 90.0, named(Policy(750, 60), 750 - 3, reset=20))
    assert limiter.snapshot(90.0).windows[1].left_to_others < 20


def test_a_tenth_stays_ours_however_much_others_use() -> None:
    limiter = RateLimiter()
    use(limiter, 0.0, named(Policy(750, 60), 0, reset=59))
    assert limiter.snapshot(0.0).windows[1].left_to_others == 675


def test_a_limit_of_our_own_choice_leaves_room_already() -> None:
    limiter = RateLimiter(20, 750)
    use(limiter, 0.0, named(Policy(75, 1), 75 - 31))
    assert limiter.snapshot(0.0).windows[0].left_to_others == 0


# Pausing


def test_a_429_pauses_everyone_and_gives_its_place_back() -> None:
    limiter = RateLimiter(2, 100)
    refused = limiter.join(0.0)
    in_flight, waiter = [limiter.join(0.0) for _ in range(2)]
    assert in_flight.wait_s(0.0) == 0.0
    assert waiter.wait_s(0.0) > 0.0
    woken: list[bool] = []
    waiter.on_grant(lambda: woken.append(True))
    refused.refused(0.1, 7.0)
    assert woken, "its wait is longer than it was told, and its deadline may be short"
    assert waiter.wait_s(0.1) >= 7.0
    assert limiter.join(3.0).wait_s(3.0) >= 4.1
    snapshot = limiter.snapshot(3.1)
    assert snapshot.paused_for_s == pytest.approx(4.0)
    assert (snapshot.in_flight, snapshot.waiting) == (1, 2)


def test_after_a_pause_it_starts_with_one_request_and_doubles() -> None:
    limiter = RateLimiter()
    use(limiter, 0.0, RECORDED)
    limiter.join(0.0).refused(0.0, 120.0)
    assert free_at(limiter, 119.9) == 0
    steps = [free_at(limiter, 120.0 + tenths / 10) for tenths in range(1, 16, 2)]
    assert steps == [1, 2, 5, 11, 22, 45, 75, 75]


def test_the_ramp_bounds_what_is_in_flight() -> None:
    limiter = RateLimiter()
    use(limiter, 0.0, RECORDED)
    limiter.join(0.0).refused(0.0, 120.0)
    probe, waiter = limiter.join(120.1), limiter.join(120.1)
    assert probe.wait_s(120.1) == 0.0
    assert waiter.wait_s(120.1) == pytest.approx(0.1)
    probe.answered(120.15, RECORDED)
    assert waiter.wait_s(120.15) == 0.0


def test_the_longest_of_several_pauses_holds() -> None:
    limiter = RateLimiter()
    first, second = limiter.join(0.0), limiter.join(0.0)
    first.refused(0.1, 9.0)
    second.refused(0.2, 1.0)
    assert limiter.snapshot(0.2).paused_for_s == pytest.approx(8.9)


def test_an_absurd_retry_after_pauses_for_a_day_at_most() -> None:
    limiter = RateLimiter()
    limiter.join(0.0).refused(0.0, 1e15)
    assert limiter.snapshot(0.0).paused_for_s == LONGEST_S


def test_a_429_that_we_did_not_cause_means_that_others_are_there() -> None:
    limiter = RateLimiter()
    for now in range(10):
        use(limiter, float(now), RECORDED)
    limiter.join(10.0).refused(10.0, 40.0)
    left = limiter.snapshot(10.0).windows[1].left_to_others
    assert left == 675, "740 of 750 in 20 s were theirs; a tenth stays ours"


def test_a_429_that_an_unknown_limit_explains_is_not_blamed_on_others() -> None:
    limiter = RateLimiter(350, 3500)
    tickets = [limiter.join(0.0) for _ in range(350)]
    tickets[0].refused(0.1, 1.0)
    for ticket in tickets[1:76]:
        ticket.answered(0.1, RECORDED)
    for ticket in tickets[76:]:
        ticket.refused(0.1, 1.0)
    assert [window.left_to_others for window in limiter.snapshot(0.1).windows] == [0, 0]


# What is seen


def test_the_reason_names_the_full_window_and_those_who_wait() -> None:
    limiter = RateLimiter(10, 1)
    use(limiter, 0.0)
    waiter = limiter.join(1.0)
    assert waiter.reason(1.0) == "1 of 1 requests in 60 s used; 1 waiting"


def test_the_reason_tells_of_pauses_ramps_and_others() -> None:
    limiter = RateLimiter()
    limiter.join(0.0).refused(0.0, 3.0)
    waiter = limiter.join(1.0)
    assert waiter.reason(1.0) == "paused for 2.0 s after a 429; 1 waiting"
    assert "starting again slowly after a 429" in waiter.reason(3.1)
    use(limiter := RateLimiter(), 0.0, named(Policy(75, 1), 44))
    assert "30 left to others" in limiter.join(0.0).reason(0.0)


def client_of(sandbox: Sandbox, clock: VirtualClock, limiter: RateLimiter) -> Client[Any]:
    http = httpx.Client(transport=sandbox.transport())
    return Client("pk_test", rate_limiter=limiter, http_client=http, clock=clock)


def test_a_wait_of_more_than_a_second_is_logged_once_with_its_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = VirtualClock()
    client = client_of(Sandbox(clock=clock, jobs=1), clock, RateLimiter(10, 1))
    with caplog.at_level(logging.INFO, "klaviyo_variant_jobs"):
        client.get_page()
        assert not [record for record in caplog.records if "waiting" in record.message]
        client.get_page()
    (line,) = [record.message for record in caplog.records if "waiting" in record.message]
    assert line == "waiting 60.0 s for a place: 1 of 1 requests in 60 s used; 1 waiting"


def test_a_short_wait_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    client = client_of(Sandbox(clock=clock, jobs=1), clock, RateLimiter(1, 100))
    with caplog.at_level(logging.INFO, "klaviyo_variant_jobs"):
        client.get_page()
        client.get_page()
    assert clock.monotonic() >= 1.0
    assert not [record for record in caplog.records if "waiting" in record.message]


def test_the_same_identity_gets_the_same_limiter() -> None:
    assert shared_limiter("this") is shared_limiter("this")
    assert shared_limiter("this") is not shared_limiter("that")


def test_unlimited_never_waits() -> None:
    limiter = RateLimiter.unlimited()
    tickets = [limiter.join(0.0) for _ in range(10_000)]
    assert {ticket.wait_s(0.0) for ticket in tickets} == {0.0}
    tickets[0].refused(0.0, 100.0)
    assert limiter.join(0.0).wait_s(0.0) == 0.0


# For any arrivals


@attrs.frozen
class Request:
    """Joins at `joins_at`; a granted one is counted `share` of the way to its answer."""

    joins_at: float
    latency_s: float
    share: float
    patience_s: float | None = None
    """How long it waits for a place before it is cancelled; None: for ever."""


@attrs.define
class Fate:
    granted_at: float | None = None
    counted_at: float | None = None
    answered_at: float | None = None


def run(limiter: RateLimiter, requests: Sequence[Request]) -> list[Fate]:
    """Let requests happen; each asks again after the wait it was told, or when it is woken."""
    events: list[tuple[float, int, Callable[[float], None]]] = []
    order = itertools.count()
    fates = [Fate() for _ in requests]

    def at(moment: float, event: Callable[[float], None]) -> None:
        heapq.heappush(events, (moment, next(order), event))

    def start(request: Request, fate: Fate) -> None:
        def join(now: float) -> None:
            ticket = limiter.join(now)
            waiting = True

            def ask(now: float) -> None:
                nonlocal waiting
                if not waiting:
                    return
                wait_s = ticket.wait_s(now)
                if wait_s == 0.0:
                    waiting = False
                    fate.granted_at = now
                    fate.counted_at = now + request.share * request.latency_s
                    fate.answered_at = now + request.latency_s
                    at(fate.answered_at, lambda moment: ticket.answered(moment, None))
                    return
                at(now + wait_s, ask)
                ticket.on_grant(lambda: at(clock[0], ask))

            def give_up(now: float) -> None:
                nonlocal waiting
                if waiting:
                    waiting = False
                    ticket.cancel(now)

            ask(now)
            if request.patience_s is not None:
                at(now + request.patience_s, give_up)

        at(request.joins_at, join)

    clock = [0.0]
    for request, fate in zip(requests, fates, strict=True):
        start(request, fate)
    while events:
        clock[0], _, event = heapq.heappop(events)
        event(clock[0])
    return fates


shares = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1)
moments = st.integers(0, 40).map(lambda tenths: tenths / 10) | st.floats(0, 4)
latencies = st.sampled_from([0.0, 0.1, 1.0]) | st.floats(0, 3)


def requests_of(patience: st.SearchStrategy[float | None]) -> st.SearchStrategy[list[Request]]:
    one = st.builds(Request, moments, latencies, shares, patience)
    return st.lists(one, min_size=1, max_size=25).map(
        lambda found: sorted(found, key=lambda request: request.joins_at)
    )


limits = st.tuples(st.integers(1, 5), st.integers(2, 12))


@settings(max_examples=100)
@given(limits, requests_of(st.none()))
@example((1, 2), [Request(0.0, 0.0, 0.0)] * 5)
def test_no_window_of_any_alignment_is_exceeded_and_no_place_stays_unused(
    limit: tuple[int, int], requests: list[Request]
) -> None:
    fates = run(RateLimiter(*limit), requests)
    counted = sorted(fate.counted_at for fate in fates if fate.counted_at is not None)
    assert len(counted) == len(requests)
    for allowed, length in zip(limit, (1, 60), strict=True):
        for first, after in zip(counted, counted[allowed:], strict=False):
            assert after - first >= length - 1e-9
    granted = [fate.granted_at for fate in fates if fate.granted_at is not None]
    assert granted == sorted(granted), "first come, first served"
    for nth, (request, moment) in enumerate(zip(requests, granted, strict=True)):
        assert moment <= earliest(limit, fates[:nth], request) + 1e-4


def earliest(limit: tuple[int, int], before: Sequence[Fate], request: Request) -> float:
    """When there is a place, given what became of those before."""
    moment = max([request.joins_at, *(fate.granted_at or 0.0 for fate in before)])
    for allowed, length in zip(limit, (1, 60), strict=True):
        freed = sorted((fate.answered_at or 0.0) + length for fate in before)
        if len(freed) >= allowed:
            moment = max(moment, freed[-allowed])
    return moment


@settings(max_examples=100)
@given(limits, requests_of(st.none() | st.floats(0, 70)))
def test_a_cancelled_waiter_leaves_no_trace(
    limit: tuple[int, int], requests: list[Request]
) -> None:
    limiter, untouched = RateLimiter(*limit), RateLimiter(*limit)
    fates = run(limiter, requests)
    stayed = [nth for nth, fate in enumerate(fates) if fate.granted_at is not None]
    # Not cancelled this time, since they have been granted.
    others = [attrs.evolve(requests[nth], patience_s=None) for nth in stayed]
    expected = [fate.granted_at for fate in run(untouched, others)]
    assert [fates[nth].granted_at for nth in stayed] == pytest.approx(expected, abs=1e-4)
    assert limiter.snapshot(1e6) == untouched.snapshot(1e6)


# Together


def test_many_threads_at_once_neither_lose_nor_gain_a_place() -> None:
    limiter = RateLimiter(10_000, 10_000)

    def work() -> None:
        for nth in range(200):
            ticket = limiter.join(nth / 1000)
            assert ticket.wait_s(nth / 1000) == 0.0
            (ticket.cancel if nth % 2 else ticket.failed)(nth / 1000)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    snapshot = limiter.snapshot(0.2)
    assert (snapshot.in_flight, snapshot.waiting) == (0, 0)
    assert snapshot.windows[0].in_use == 800


def test_threads_and_tasks_share_one_limiter_over_loopback() -> None:
    shared = threads_and_tasks(threads=4, tasks=4, each=3, burst=12)
    assert shared.requests == 24
    assert shared.refused <= 1

"""Quota: what response headers say of it, and the limiter that stays within it.

Pure arithmetic: every call takes the time, nothing here waits. A request may reach the server at
any moment between send and answer, so its place is freed one window after the answer; then no
window of any alignment ever holds more than its limit.
"""

from __future__ import annotations

import functools
import math
import os
import re
import sys
import threading
import time
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping
from typing import Protocol
from weakref import WeakSet, WeakValueDictionary

import attrs

from klaviyo_variant_jobs_api.registry import REVISIONS

LONGEST_S = 86_400
"""Quotas of a day exist. What claims to be longer is not believed, be it a window or a pause."""


@attrs.frozen
class Policy:
    """One quota: `limit` requests in `window_s` seconds."""

    limit: int
    window_s: int

    def __str__(self) -> str:
        return f"{self.limit};w={self.window_s}"


@attrs.frozen(kw_only=True)
class RateLimit:
    """What the RateLimit headers of one response said; None for what they did not say.

    Recorded: `ratelimit-limit: 75, 75;w=1, 750;w=60`, `ratelimit-remaining: 74`,
    `ratelimit-reset: 0`. The first number names the window that `remaining` and `reset_seconds`
    speak of. A 429 carries none of them. Nothing is judged here: a limit of 0 is kept as it came.
    """

    limit: int | None = None
    remaining: int | None = None
    reset_seconds: float | None = None
    policies: tuple[Policy, ...] = ()

    def __str__(self) -> str:
        """The value of the `ratelimit-limit` header that says the same."""
        named = () if self.limit is None else (str(self.limit),)
        return ", ".join((*named, *map(str, self.policies)))

    @classmethod
    def parse(
        cls, limit: str | None, remaining: str | None = None, reset: str | None = None
    ) -> RateLimit | None:
        """Read the three header values; None when nothing in them can be understood."""
        named, policies = _parse_limit(limit) if limit else (None, ())
        parsed = cls(
            limit=named,
            remaining=_number(remaining),
            reset_seconds=_number(reset),
            policies=policies,
        )
        return None if parsed == _NOTHING else parsed

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> RateLimit | None:
        """Read the headers of a response; None when they say nothing of a quota."""
        limit = headers.get("ratelimit-limit")
        remaining = headers.get("ratelimit-remaining")
        reset = headers.get("ratelimit-reset")
        return cls.parse(limit, remaining, reset) if limit or remaining or reset else None

    @property
    def named_policy(self) -> Policy | None:
        """The policy that `remaining` speaks of; None when the headers do not tell."""
        reset = self.reset_seconds or 0
        for policy in self.policies:
            if policy.limit == self.limit and policy.window_s >= reset:
                return policy
        return None


_NOTHING = RateLimit()
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_POLICY = re.compile(r"(\d{1,9})\s*;\s*w\s*=\s*(\d{1,9})(?:\s*;.*)?", re.ASCII | re.DOTALL)


def _number(text: str | None) -> int | None:
    text = text.strip() if text else ""
    return int(text) if _NUMBER.fullmatch(text) else None


# The header is the same on nearly every response. Bounded, since a server chooses the keys.
@functools.lru_cache(maxsize=32)
def _parse_limit(header: str) -> tuple[int | None, tuple[Policy, ...]]:
    items = [item.strip() for item in header.split(",")]
    found = filter(None, map(_POLICY.fullmatch, items))
    return _number(items[0]), tuple(Policy(int(match[1]), int(match[2])) for match in found)


def _believable(policies: tuple[Policy, ...]) -> dict[int, int]:
    """The tightest limit of each window; none of 0, since an answer proves a request allowed."""
    limits: dict[int, int] = {}
    for policy in sorted(policies, key=lambda policy: policy.limit):
        if policy.limit > 0 and 0 < policy.window_s <= LONGEST_S:
            limits.setdefault(policy.window_s, policy.limit)
    return limits if len(limits) <= _MOST_WINDOWS else {}


class Ticket(Protocol):
    """One request's claim on the quota.

    First `wait_s`, again after each wait, until it says 0; then one of `answered`, `failed` and
    `refused`. Or `cancel` at any time before. `failed` and `cancel` after one of these do nothing:
    who was interrupted cannot know how far they came.
    """

    def wait_s(self, now: float) -> float:
        """0 once a place is granted; else seconds until it is worth asking again.

        Unless others give theirs up no place comes sooner, so a deadline may be judged by it.
        """

    def reason(self, now: float) -> str:
        """Why there is no place yet, in words for a log."""

    def on_grant(self, wake: Callable[[], object]) -> None:
        """Call `wake`, from any thread, when it is worth asking before the wait is over.

        At once when it is already. `wake` must not call the limiter.
        """

    def answered(self, now: float, rate_limit: RateLimit | None) -> None:
        """The request was answered: free the place one window later, learn from the headers."""

    def failed(self, now: float) -> None:
        """The request got no answer but may have been counted: free the place one window later."""

    def refused(self, now: float, pause_s: float) -> None:
        """A 429, which is not counted: free the place and pause everyone for `pause_s`."""

    def cancel(self, now: float) -> None:
        """The request will not be sent: leave the queue, or give an unused place back."""


class Limiter(Protocol):
    """What a client asks before each request; the place for a limiter shared through Redis."""

    def join(self, now: float) -> Ticket:
        """Queue for a place, first come, first served. `now` is the client's monotonic clock."""


@attrs.frozen(kw_only=True)
class WindowState:
    """One window at one moment."""

    window_s: int
    limit: int
    in_use: int
    """Places that our own requests hold, those being answered included."""
    left_to_others: int
    """Places left to whoever else uses the account."""


@attrs.frozen(kw_only=True)
class Snapshot:
    """A limiter at one moment."""

    windows: tuple[WindowState, ...]
    """The shortest first."""
    in_flight: int
    waiting: int
    paused_for_s: float


# How others' share is guessed; `scripts/bench pacing` shows what these do against a stranger.
_HELD_S = 20.0  # at least: how long a share is held before a quarter of it is tried
_FIRST_GUESS = 16  # a refused burst that ours does not explain: others use this fraction
_KEPT = 10  # the fraction of each limit that stays ours whatever is guessed
_RESOLVED_S = 10  # windows at least this long are told of in seconds that mean something

# Answers are remembered for this much longer than the longest window: a request that took longer
# says nothing of others.
_SLOW_ANSWER_S = 60.0

# More than any API has; a header that names more is not believed.
_MOST_WINDOWS = 8

# After a pause one request may be in flight, twice as many with each of these steps.
_RAMP_STEP_S = 0.2

# A waiter that was called and does not come for its place (its event loop is busy) loses it to
# those behind, and gets the first free one when it comes.
_PATIENCE_S = 0.25

# Above the rounding errors of a clock that counts seconds since boot.
_TICK_S = 1e-9


@attrs.define(eq=False)
class _Window:
    """One quota over `length` seconds, as far as it is known."""

    length: int
    limit: int
    ceiling: int | None  # None: only headers told us of this window.
    stated: int = attrs.field(default=attrs.Factory(lambda window: window.limit, takes_self=True))
    taught_until: float = -math.inf
    others: int = 0
    others_until: float = -math.inf

    def room(self, now: float) -> int:
        """Places that are ours."""
        if not self.others:
            return self.limit
        while self.others and now >= self.others_until:
            self.others = self.others * 3 // 4
            self.others_until += self._held_s()
        return min(self.limit, max(self.stated - self.others, -(-self.limit // _KEPT)))

    def hear(self, now: float, stated: int) -> bool:
        """Tighten at once; loosen, to the ceiling at most, when what taught us has passed.

        Tells whether that changed anything.
        """
        limit = stated if self.ceiling is None else min(stated, self.ceiling)
        if limit > self.limit and now < self.taught_until:
            return False
        changed = (limit, stated) != (self.limit, self.stated)
        if limit < self.limit:
            self.others = 0  # What looked like others was the limit that we did not know.
        self.limit, self.stated = limit, stated
        self.taught_until = now + self.length
        return changed

    def leave(self, now: float, others: float) -> None:
        """Leave room for `others` requests; for fewer when the window that taught it has passed."""
        if others >= self.others or now >= self.others_until - self.length:
            self.others = min(round(others), self.stated)
            self.others_until = now + self._held_s()

    def expected(self, others: int, left_s: float) -> float:
        """How many requests of others the whole window will hold.

        They made `others` of them until `left_s` before its end, and go on at that rate. What was
        known before weighs as much as a thirtieth of a window, lest its first second decide.
        """
        seen_s = self.length - left_s
        return others + left_s * (others + self.others / 30) / (seen_s + self.length / 30)

    def _held_s(self) -> float:
        return max(_HELD_S, 2.0 * self.length)


class RateLimiter:
    """Paces requests within the quota of one account, in one process.

    Safe to share between threads, tasks and clients. Grants are first come, first served. It
    starts from `burst` requests per second and `steady` per minute, learns from the answers
    (tightening at once, loosening when the window that taught it has passed, never above the
    start), leaves room for others who use the account, and after a 429 pauses everyone, then
    starts again with a single request at a time and twice as many every fifth of a second.

    `None` means the tightest limit among the revisions this release knows, because the API's owner
    applies limits to old revisions too. Raises `ValueError` for anything but whole numbers above 0.
    """

    def __init__(self, burst: int | None = None, steady: int | None = None) -> None:
        start_burst, start_steady = tightest_limits()
        burst = _checked("burst", start_burst if burst is None else burst)
        steady = _checked("steady", start_steady if steady is None else steady)
        self._turn = _Turn(self._leave)
        self._windows = {1: _Window(1, burst, burst), 60: _Window(60, steady, steady)}
        self._heard: tuple[Policy, ...] = ()
        self._stated: list[tuple[_Window, int]] = []  # What `_heard` means.
        self._answers: deque[float] = deque()  # When requests were answered, oldest first.
        self._remembered_s = 60.0 + _SLOW_ANSWER_S
        self._in_flight = 0
        self._sure = 0  # At least so many places are free, whatever the time;
        self._full_until = -math.inf  # or until then none is. Both until `_reconsider`.
        self._queue: OrderedDict[_Place, None] = OrderedDict()
        self._gone = 0  # How many have left the queue.
        self._called: deque[_Place] = deque()  # Granted from the queue, oldest first.
        self._late: set[_Place] = set()  # Called in vain; back in the queue when they ask.
        self._paused_until = -math.inf
        self._ramped_at = -math.inf
        _limiters.add(self)

    @staticmethod
    def unlimited() -> Limiter:
        """A limiter that never waits: for tests, or when something else paces the requests."""
        return _Unlimited()

    def join(self, now: float) -> Ticket:
        """Queue for a place, first come, first served. `now` is the client's monotonic clock."""
        place = _Place(self)
        with self._turn.lock:
            if self._sure > 0 and not self._queue:
                self._grant(place, now)
            else:
                place.rank = self._gone + len(self._queue)
                self._queue[place] = None
                self._dispatch(now)
            place.taken = place.granted
        self._turn.settle()
        return place

    def snapshot(self, now: float | None = None) -> Snapshot:
        """Limits and use at this moment; `now` is the clients' clock, None the machine's."""
        moment = time.monotonic() if now is None else now
        with self._turn.lock:
            self._forget_windows(moment)
            seen = Snapshot(
                windows=tuple(
                    WindowState(
                        window_s=length,
                        limit=window.limit,
                        in_use=self._in_flight + self._answered_since(moment - length),
                        left_to_others=window.limit - window.room(moment),
                    )
                    for length, window in sorted(self._windows.items())
                ),
                in_flight=self._in_flight,
                waiting=len(self._queue) + len(self._late),
                paused_for_s=max(0.0, self._paused_until - moment),
            )
        self._turn.settle()
        return seen

    def start_in_child(self) -> None:
        """Forget, in a forked process, the requests that others have under way in the parent.

        Nobody here would ever end them, or let go of a lock that was held.
        """
        self._turn = _Turn(self._leave)
        self._in_flight = 0
        self._queue.clear()
        self._called.clear()
        self._late.clear()
        self._reconsider()

    # Everything below is called by whoever has the turn.

    def _answered_since(self, moment: float) -> int:
        return len(self._answers) - bisect_right(self._answers, moment + _TICK_S)

    def _free_places(self, now: float) -> int:
        self._forget_windows(now)
        if now < self._paused_until:
            return 0
        free = sys.maxsize
        if now < self._ramped_at:
            free = int(2.0 ** ((now - self._paused_until) / _RAMP_STEP_S))
        for window in self._windows.values():
            room = window.room(now) - self._answered_since(now - window.length)
            if room < free:
                free = room
        return free - self._in_flight

    def _wait_s(self, now: float, ahead: int) -> float:
        """Seconds before which a request with `ahead` others before it gets no place."""
        wait = self._paused_until - now
        if now < self._ramped_at:
            wait += math.log2(self._in_flight + 1) * _RAMP_STEP_S
        for window in self._windows.values():
            wait = max(wait, self._blocked_s(window, now, ahead))
        if self._called and not ahead:
            wait = min(wait, self._called[0].granted_at + _PATIENCE_S - now)
        return max(wait, _TICK_S)

    def _blocked_s(self, window: _Window, now: float, ahead: int) -> float:
        room = window.room(now)
        live = self._answered_since(now - window.length)
        # One place serves several of those ahead in turn, and each holds it for a window.
        rounds, nth = divmod(ahead, room)
        nth += live + self._in_flight - room
        blocked = float(rounds * window.length)
        if nth >= live:
            blocked += window.length  # Still in flight: held for a window once it is answered.
        elif nth >= 0:
            blocked += self._answers[nth - live] + window.length - now
        if window.others:
            blocked = min(blocked, window.others_until - now)
        return blocked if window.ceiling else min(blocked, window.taught_until - now)

    def _reason(self, now: float) -> str:
        queue = f"; {len(self._queue)} waiting"
        if now < self._paused_until:
            return f"paused for {self._paused_until - now:.1f} s after a 429{queue}"
        full = max(self._windows.values(), key=lambda window: self._blocked_s(window, now, 0))
        in_use = self._in_flight + self._answered_since(now - full.length)
        others = f", {full.limit - full.room(now)} left to others" if full.others else ""
        ramp = ", starting again slowly after a 429" if now < self._ramped_at else ""
        return f"{in_use} of {full.limit} requests in {full.length} s used{others}{ramp}{queue}"

    def _grant(self, place: _Place, now: float) -> None:
        self._sure -= 1
        # In one statement, as below: an exception of a signal handler may come between two.
        place.granted, place.granted_at, self._in_flight = True, now, self._in_flight + 1

    def _dispatch(self, now: float) -> None:
        """Grant what is free, in order."""
        if not self._queue or now < self._full_until:
            return
        self._call_back(now)
        while self._queue:
            if self._sure <= 0:
                self._sure = self._free_places(now)
                if self._sure <= 0:
                    break
            place, _ = self._queue.popitem(last=False)
            self._gone += 1
            self._grant(place, now)
            self._called.append(place)
            place.nudge()
        else:
            return
        # It sleeps by what it was told; whoever left may have brought its place forward.
        head = next(iter(self._queue))
        self._full_until = now + self._wait_s(now, 0)
        if self._full_until < head.asks_at - _TICK_S:
            head.nudge()

    def _reconsider(self) -> None:
        """Something has changed besides the time."""
        self._sure = 0
        self._full_until = -math.inf

    def _call_back(self, now: float) -> None:
        """Take the places of those who were called and did not come."""
        called = self._called
        while called and (called[0].taken or called[0].granted_at + _PATIENCE_S <= now):
            place = called.popleft()
            if not place.taken:
                place.granted, self._in_flight = False, self._in_flight - 1
                self._late.add(place)

    def _ask(self, place: _Place, now: float) -> float:
        place.nudged = False
        if place in self._late:
            self._late.remove(place)
            self._gone -= 1
            in_order = sorted((place, *self._queue), key=lambda waiting: waiting.rank)
            self._queue = OrderedDict.fromkeys(in_order)
        if not place.granted:
            self._dispatch(now)
        if place.granted:
            place.taken = True
            return 0.0
        wait = self._wait_s(now, max(0, place.rank - self._gone))
        place.asks_at = now + wait
        return wait

    def _remember(self, now: float) -> None:
        answers = self._answers
        # Threads read the clock before they get here; the order has to hold all the same.
        answers.append(now if not answers or now > answers[-1] else answers[-1])
        while answers[0] < now - self._remembered_s:
            answers.popleft()

    def _leave(self, place: _Place, now: float, sent: bool) -> None:
        if place.granted:
            place.granted, place.taken, self._in_flight = False, True, self._in_flight - 1
            if sent:
                self._remember(now)
        elif place in self._queue:
            del self._queue[place]
            self._gone += 1
        else:
            self._late.discard(place)
        self._reconsider()
        self._dispatch(now)

    def _forget_windows(self, now: float) -> None:
        """Drop windows that only headers told us of, when what told us has passed."""
        for window in tuple(self._windows.values()) if len(self._windows) > 2 else ():
            if window.ceiling is None and now >= window.taught_until:
                del self._windows[window.length]
                self._heard = ()

    def _learn(self, now: float, place: _Place, said: RateLimit) -> None:
        if said.policies and said.policies is not self._heard:
            self._heard = said.policies
            self._stated = self._statements(_believable(said.policies))
            self._reconsider()
        for window, limit in self._stated if said.policies else ():
            if limit == window.limit:
                window.taught_until = now + window.length
            elif window.hear(now, limit):
                self._reconsider()
        if said.limit is not None and said.remaining is not None:
            used = said.limit - said.remaining
            if used - self._in_flight > 1:  # Else there is only this one, or nothing to explain.
                self._learn_others(now, place, said, used)

    def _statements(self, limits: dict[int, int]) -> list[tuple[_Window, int]]:
        """Each window with what is said of it; where nothing is, our own start is good again."""
        for length, limit in limits.items():
            if length not in self._windows and len(self._windows) < _MOST_WINDOWS:
                self._windows[length] = _Window(length, limit, None)
        self._remembered_s = max(self._windows) + _SLOW_ANSWER_S
        found = ((w, limits.get(w.length, w.ceiling)) for w in self._windows.values() if limits)
        return [(window, limit) for window, limit in found if limit is not None]

    def _learn_others(self, now: float, place: _Place, said: RateLimit, used: int) -> None:
        named = said.named_policy
        window = self._windows.get(named.window_s) if named else None
        if window is None:
            return
        left_s = said.reset_seconds or 0.0
        others = self._others(place, window, used, left_s)
        if window.length >= _RESOLVED_S and (others or window.others):
            window.leave(now, window.expected(others, left_s))
        elif others:
            window.leave(now, others)
        self._reconsider()

    def _others(self, place: _Place, window: _Window, used: int, left_s: float) -> int:
        """How many of the `used` places of the server's window our requests cannot explain.

        The window began a length before its end, which is at least `left_s` less the rounding of a
        second after the request was sent. Ours are those in flight or answered since.
        """
        most = used - self._in_flight
        if most <= 0:
            return 0
        since = place.granted_at - window.length + max(left_s - 1.0, 0.0)
        answers = self._answers
        if most <= len(answers) and answers[-most] > since:
            return 0
        forgotten = bool(answers) and since < answers[-1] - self._remembered_s
        return 0 if forgotten else most - self._answered_since(since)

    def _refuse(self, now: float, place: _Place, pause_s: float) -> None:
        self._reconsider()
        self._blame_others(now, place, pause_s)
        until = now + min(pause_s, LONGEST_S)
        if until <= self._paused_until:
            return
        much_later = until - self._paused_until > 1.0
        self._paused_until = until
        self._ramped_at = until + math.log2(self._windows[1].limit + 1) * _RAMP_STEP_S
        if much_later:
            for waiting in self._queue:
                waiting.nudge()

    def _blame_others(self, now: float, place: _Place, pause_s: float) -> None:
        """Whatever refused us had no room, and we kept to what we knew."""
        # The shortest window that a wait this long fits into is the one that was full.
        full = min((length for length in self._windows if length >= pause_s), default=None)
        if full is None:
            return
        window = self._windows[full]
        if self._in_flight + self._answered_since(now - full) > window.limit:
            return  # We did not keep to it: the limit has just been tightened.
        least = max(1, window.stated // _FIRST_GUESS)
        if full >= _RESOLVED_S:
            others = self._others(place, window, window.stated, pause_s)
            window.leave(now, max(least, window.expected(others, pause_s)))
        elif place.granted_at >= self._paused_until:  # Else one volley would double it many times.
            window.leave(now, max(least, 2 * window.others))


@attrs.define(eq=False)
class _Place:
    """A ticket of the in-process limiter."""

    limiter: RateLimiter
    rank: int = 0  # How many joined the queue before.
    granted: bool = False
    granted_at: float = math.inf
    taken: bool = False  # The grant is known to the one who waits for it.
    asks_at: float = math.inf
    wake: Callable[[], object] | None = None
    nudged: bool = False

    def nudge(self) -> None:
        self.nudged = True
        if self.wake is not None:
            self.wake()

    def wait_s(self, now: float) -> float:
        if self.taken:
            return 0.0
        limiter = self.limiter
        with limiter._turn.lock:
            wait = limiter._ask(self, now)
        limiter._turn.settle()
        return wait

    def reason(self, now: float) -> str:
        limiter = self.limiter
        with limiter._turn.lock:
            why = limiter._reason(now)
        limiter._turn.settle()
        return why

    def on_grant(self, wake: Callable[[], object]) -> None:
        limiter = self.limiter
        with limiter._turn.lock:
            self.wake = wake
            if self.nudged:
                wake()
        limiter._turn.settle()

    def answered(self, now: float, rate_limit: RateLimit | None) -> None:
        limiter = self.limiter
        with limiter._turn.lock:
            self.granted, self.taken, limiter._in_flight = False, True, limiter._in_flight - 1
            limiter._remember(now)
            if now < limiter._ramped_at:
                limiter._reconsider()
            if rate_limit is not None:
                limiter._learn(now, self, rate_limit)
            limiter._dispatch(now)
        limiter._turn.settle()

    def refused(self, now: float, pause_s: float) -> None:
        limiter = self.limiter
        with limiter._turn.lock:
            self.granted, self.taken, limiter._in_flight = False, True, limiter._in_flight - 1
            limiter._refuse(now, self, pause_s)
            limiter._dispatch(now)
        limiter._turn.settle()

    def failed(self, now: float) -> None:
        self.limiter._turn.leave(self, now, sent=True)

    def cancel(self, now: float) -> None:
        self.limiter._turn.leave(self, now, sent=False)

    def __del__(self) -> None:
        # An exception of a signal handler may come between a grant and whoever is told of it.
        if getattr(self, "granted", False):  # It may have come before `__init__` was through.
            self.failed(self.granted_at)


class _Turn:
    """A lock, and a way out for those who cannot wait for it.

    A request that was dropped leaves when the garbage collector finds it, and that may be in the
    middle of a turn of the very same thread. Whoever has the turn sees it out afterwards.
    """

    def __init__(self, see_out: Callable[[_Place, float, bool], None]) -> None:
        # Entered itself, not through a method of ours: an exception that a signal handler raises
        # would find a method between having the lock and letting it go.
        self.lock = threading.Lock()
        self._leaving: deque[tuple[_Place, float, bool]] = deque()
        self._see_out = see_out

    def leave(self, place: _Place, now: float, *, sent: bool) -> None:
        self._leaving.append((place, now, sent))
        self.settle()

    def settle(self) -> None:
        """See out who could not wait; to be called after each turn."""
        # Looked at again after each release: what came while we had the lock has nobody else.
        while self._leaving and self.lock.acquire(blocking=False):
            try:
                while self._leaving:
                    self._see_out(*self._leaving[0])  # Seen out twice rather than not at all.
                    self._leaving.popleft()
            finally:
                self.lock.release()


class _Unlimited:
    """Limiter and ticket in one: everything is granted and nothing is kept."""

    def join(self, now: float) -> Ticket:
        return self

    def wait_s(self, now: float) -> float:
        return 0.0

    def reason(self, now: float) -> str:
        return ""

    def on_grant(self, wake: Callable[[], object]) -> None: ...

    def answered(self, now: float, rate_limit: RateLimit | None) -> None: ...

    def failed(self, now: float) -> None: ...

    def refused(self, now: float, pause_s: float) -> None: ...

    def cancel(self, now: float) -> None: ...


# Unused limiters that are remembered, so that a program which makes a client per task keeps its
# count; one holds at most a few thousand numbers.
_REMEMBERED = 256
_shared: WeakValueDictionary[Hashable, RateLimiter] = WeakValueDictionary()
_recent: OrderedDict[Hashable, RateLimiter] = OrderedDict()
_sharing = threading.Lock()
_limiters: WeakSet[RateLimiter] = WeakSet()


def _start_in_child() -> None:
    global _sharing
    _sharing = threading.Lock()
    for limiter in tuple(_limiters):
        limiter.start_in_child()


if hasattr(os, "register_at_fork"):  # Not where processes do not fork.
    os.register_at_fork(after_in_child=_start_in_child)


def shared_limiter(identity: Hashable) -> RateLimiter:
    """The process's limiter for one account's credential; the same one for the same identity."""
    with _sharing:
        limiter = _shared.get(identity)
        if limiter is None:
            limiter = _shared[identity] = RateLimiter()
        _recent[identity] = limiter
        _recent.move_to_end(identity)
        if len(_recent) > _REMEMBERED:
            _recent.popitem(last=False)
        return limiter


def _checked(name: str, value: int | None) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
    return value


def tightest_limits() -> tuple[int, int]:
    """Requests per second and per minute: the tightest among the revisions this release knows."""
    return min(r.burst for r in REVISIONS), min(r.steady for r in REVISIONS)

"""Quota: what response headers say of it, and the limiter that stays within it.

A limiter never calls back: `acquire` returns a permit or a wait, and a caller that has to wait
sleeps and asks again. A request reaches the server at an unknown moment between send and response.
So it keeps its place in a window until one window length after the response: then no window holds
more than its limit, whenever it begins.
"""

from __future__ import annotations

import functools
import itertools
import logging
import math
import os
import re
import threading
from collections import deque
from collections.abc import Awaitable, Hashable, Mapping
from typing import NamedTuple, Protocol, TypeAlias, TypedDict, Unpack
from weakref import WeakValueDictionary

import attrs

from klaviyo_variant_jobs_api.registry import REVISIONS

from .clock import SYSTEM_CLOCK, Clock

logger = logging.getLogger("klaviyo_variant_jobs")

LONGEST_S = 86_400
"""A day, the longest quota there is. A longer window or pause is not believed."""

_MOST_WINDOWS = 8
"""A header that names more windows is not believed."""

_EXPIRES_S = 600.0
"""When a permit that nobody released expires: after twice the default deadline.

A request that takes longer, under a longer deadline, stops counting too early; at worst the API
refuses one.
"""

_GRACE_S = 0.25
"""How late a caller may ask again before others get its place: busy event loops wake tasks late."""

_LOOK_AGAIN_S = 5.0
"""The longest wait before asking again.

The place of a cancelled caller stays unused until it is late, so this bounds the loss.
"""

_PROBE_S = 120.0
"""How often one request is sent while a window known only from headers lets nobody send.

Well below the deadline of a page, so that the waiting page itself finds out.
"""

_TICK_S = 1e-9
"""Above the rounding errors of a clock that counts seconds since boot."""


# What the headers say


class Policy(NamedTuple):
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
        return ", ".join(str(n) for n in (self.limit, *self.policies) if n is not None)

    @classmethod
    def parse(
        cls, limit: str | None, remaining: str | None = None, reset: str | None = None
    ) -> RateLimit | None:
        """Read the three header values; None when nothing in them can be understood."""
        named, policies = _parse_limit(limit) if limit else (None, ())
        left, reset_seconds = _number(remaining), _number(reset)
        parsed = cls(limit=named, remaining=left, reset_seconds=reset_seconds, policies=policies)
        return None if parsed == cls() else parsed

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> RateLimit | None:
        """Read the headers of a response; None when they say nothing of a quota."""
        said = [headers.get(f"ratelimit-{name}") for name in ("limit", "remaining", "reset")]
        return cls.parse(*said) if any(said) else None

    @property
    def named_policy(self) -> Policy | None:
        """The policy that `remaining` speaks of; None when the headers do not tell."""
        for policy in self.policies:
            if policy.limit == self.limit and policy.window_s >= (self.reset_seconds or 0):
                return policy
        return None


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


# What a client asks of a limiter


class Permit:
    """Permission to send one request. A limiter may keep its own data in a subclass."""


@attrs.frozen
class Wait:
    """No permit yet: ask again after `seconds`."""

    seconds: float
    reason: str = ""
    """For a log: `paused for 3.0 s after a 429`, `75 of 75 requests in 1 s used`."""


Answer: TypeAlias = Permit | Wait


class Outcome(TypedDict, total=False):
    """The keyword arguments of `Limiter.release`."""

    sent: bool
    said: RateLimit | None
    pause_s: float | None


class Limiter(Protocol):
    """What a client asks before each request; `RateLimiter` and `RedisRateLimiter` implement it.

    `acquire` and `flush` may return awaitables where only an `AsyncClient` uses the limiter.
    """

    def acquire(self, earlier: Wait | None, *, left_s: float) -> Answer | Awaitable[Answer]:
        """Ask for a permit.

        The caller sleeps `Wait.seconds` and asks again; first come, first served. A caller that
        gives up just does not ask again.

        Args:
            earlier: what the last call for the same request returned; None the first time.
            left_s: seconds that the request has left. A longer wait means that no permit comes in
                time. A limiter across a network answers within this time.
        """

    def release(
        self,
        permit: Permit,
        *,
        sent: bool = True,
        said: RateLimit | None = None,
        pause_s: float | None = None,
    ) -> None:
        """Report what came of a permit.

        Never blocks and takes no lock, because it also runs when a task is cancelled or collected.
        A second call for the same permit does nothing. A permit that nobody releases expires.

        Args:
            permit: what `acquire` gave.
            sent: False if the request never left.
            said: the RateLimit headers of a response of the API.
            pause_s: seconds that everybody pauses, after a 429.
        """

    def flush(self) -> Awaitable[None] | None:
        """Report what has not been reported yet; called when a client closes."""


# The limiter of one process


class WindowState(NamedTuple):
    """One window at one moment."""

    window_s: int
    limit: int
    in_use: int
    """Places that our own requests hold, pending ones included."""
    available: int
    """Requests that this window lets us send now."""


@attrs.frozen
class Snapshot:
    """A limiter at one moment."""

    windows: tuple[WindowState, ...]
    """The shortest first."""
    pending: int
    """Permits given and not released."""
    waiting: int
    paused_for_s: float


@attrs.frozen
class _Queued(Wait):
    number: int = 0  # How many asked before.


@attrs.define(eq=False)
class _Window:
    """One limit over `length` seconds, and which of its places are taken."""

    length: int
    limit: int
    held: deque[float] = attrs.field(factory=deque)  # When places become free, soonest first.
    taught_until: float = -math.inf
    capped_until: float = -math.inf
    last: int = 0  # The number of the last permit that may be given until then.

    def free(self, now: float, pending: int, given: int) -> int:
        """How many more permits may be given now.

        `given` is the number of the last permit, `pending` how many are not released. `held` must
        have no place that is already free.
        """
        free = self.limit - len(self.held) - pending
        return min(free, self.last - given) if now < self.capped_until else free

    def wait_s(self, now: float, before: int, pending: int, given: int) -> float:
        """The least seconds until a place for a request that has `before` others ahead of it."""
        if now < self.capped_until and given + before >= self.last:
            return self.capped_until - now
        # With more requests ahead than places, each place serves several in turn, a window each.
        rounds, before = divmod(before, self.limit)
        nth = len(self.held) + pending + before - self.limit
        if nth >= len(self.held):
            return (rounds + 1.0) * self.length  # Still pending: held for a window once answered.
        return rounds * self.length + (self.held[nth] - now if nth >= 0 else 0.0)


class RateLimiter:
    """Paces requests within the quota of one account, in one process.

    Safe to share between threads, tasks and clients; first come, first served. It starts from
    `burst` requests per second and `steady` per minute and learns from the responses:

    - Limits tighten at once. They loosen when the window that taught them has passed, and never
      above the start.
    - When the headers show that others use the account too, it sends no more than `remaining` until
      the reset.
    - After a 429 everyone pauses.

    Args:
        burst: requests per second; None means the tightest limit among the revisions this release
            knows, because the API's owner applies limits to old revisions too.
        steady: requests per minute; None likewise.
        clock: tells the time; None means the clock of the first client that uses the limiter.

    Raises:
        ValueError: for limits that are not whole numbers above 0.
    """

    def __init__(
        self, burst: int | None = None, steady: int | None = None, *, clock: Clock | None = None
    ) -> None:
        known = tightest_limits()
        burst = _checked("burst", known[0] if burst is None else burst)
        self._start = {1: burst, 60: _checked("steady", known[1] if steady is None else steady)}
        self._windows = {length: _Window(length, limit) for length, limit in self._start.items()}
        self._heard: tuple[Policy, ...] = ()
        self._limits: dict[int, int] = {}  # What `_heard` means.
        self._warned = False
        self._paused_until = self._given_at = -math.inf
        self._given = 0  # The number of the last permit.
        self._asked = itertools.count()
        self._clock = clock
        self._start_anew()

    def _start_anew(self) -> None:
        """Set the state up; in a forked process, forget the requests of the parent."""
        self._lock = threading.Lock()
        self._told: deque[tuple[Permit, float, Outcome]] = deque()
        self._pending: dict[Permit, float] = {}  # When each was given, the oldest first.
        self._queue: dict[int, float] = {}  # The number of each who waits, and when it is late.
        self._pid = os.getpid()  # Last: until then, threads of a forked process wait in `_entered`.

    def _entered(self) -> threading.Lock:
        """The lock to take; in a forked process the state is set up first, once."""
        if self._pid != os.getpid():
            with process_lock():
                if self._pid != os.getpid():
                    self._start_anew()
        return self._lock

    @staticmethod
    def unlimited() -> Limiter:
        """A limiter that never waits: for tests, or when something else paces the requests."""
        return _Unlimited()

    def use_clock(self, clock: Clock) -> None:
        """Tell the time by `clock`, unless there is a clock already."""
        self._clock = self._clock or clock

    def acquire(self, earlier: Wait | None, *, left_s: float) -> Permit | Wait:
        """As `Limiter.acquire`."""
        self._clock = self._clock or SYSTEM_CLOCK
        with self._entered():
            now = self._settle()
            number = earlier.number if isinstance(earlier, _Queued) else next(self._asked)
            self._queue.pop(number, None)
            before = sum(other < number for other in self._queue) if self._queue else 0
            wait_s = self._wait_s(now, before)
            if wait_s <= _TICK_S:
                if now >= self._given_at + _PROBE_S:
                    for window in self._windows.values():
                        window.taught_until = now  # Kept only if the response names it again.
                permit = Permit()
                self._pending[permit] = self._given_at = now
                self._given += 1
                return permit
            reason = self._reason(now, before)
            if wait_s <= left_s:  # Else the caller gives up, and takes no place in the queue.
                kept = self._wait_s(now, 0) <= _TICK_S  # A place is free, for callers ahead.
                wait_s = min(wait_s, _GRACE_S if kept else _LOOK_AGAIN_S)
                self._queue[number] = now + wait_s + _GRACE_S
            return _Queued(wait_s, reason, number)

    def release(self, permit: Permit, **outcome: Unpack[Outcome]) -> None:
        """As `Limiter.release`."""
        self._told.append((permit, (self._clock or SYSTEM_CLOCK).monotonic(), outcome))

    def flush(self) -> None:
        """Do nothing: nobody else has to be told."""

    def snapshot(self) -> Snapshot:
        """Limits and use at this moment."""
        with self._entered():
            now = self._settle()
            pending, given = len(self._pending), self._given
            paused_for_s = max(0.0, self._paused_until - now)
            windows = [
                WindowState(n, w.limit, len(w.held) + pending, max(0, w.free(now, pending, given)))
                for n, w in sorted(self._windows.items())
            ]
            return Snapshot(tuple(windows), pending, len(self._queue), paused_for_s)

    # Everything below is called with the lock.

    def _settle(self) -> float:
        """Bring the state up to date; returns the time."""
        now = (self._clock or SYSTEM_CLOCK).monotonic()
        for permit, given_at in self._pending.items():
            if now < given_at + _EXPIRES_S:
                break
            self.release(permit)
        while self._told:
            permit, at, outcome = self._told.popleft()
            if self._pending.pop(permit, None) is None:
                continue
            pause_s, said = outcome.get("pause_s"), outcome.get("said")
            if pause_s is not None:  # The server counts no request that it refuses.
                self._paused_until = max(self._paused_until, at + min(pause_s, LONGEST_S))
            elif outcome.get("sent", True):
                for length, window in self._windows.items():
                    window.held.append(at + length)
            else:
                self._given -= 1
            if said is not None:
                self._learn(at, said)
        for window in self._windows.values():
            held = window.held
            while held and held[0] <= now:
                held.popleft()
        if self._queue:
            self._queue = {number: late for number, late in self._queue.items() if now <= late}
        return now

    def _learn(self, at: float, said: RateLimit) -> None:
        """Apply what the headers of a response said."""
        # `_parse_limit` nearly always returns the same object for the same header.
        if said.policies is not self._heard:
            self._heard, self._limits = said.policies, self._understood(said.policies)
        for length, limit in self._limits.items():
            known = self._windows.get(length)
            if known is None:
                self._windows[length] = _Window(length, limit, taught_until=at + length)
            # Tighten at once; loosen when what taught us has passed.
            elif limit <= known.limit or at >= known.taught_until:
                known.limit, known.taught_until = limit, at + length
        if len(self._windows) > len(self._start):
            self._forget(at)
        policy = said.named_policy
        named = self._windows.get(policy.window_s) if policy and policy.limit else None
        if named and said.remaining is not None:
            # We count pending requests as used, so those that the server has counted already are
            # not taken for requests of others.
            if said.remaining < named.limit - len(named.held) - len(self._pending):
                named.last = self._given + said.remaining
                # The reset is told in whole seconds, rounded down.
                named.capped_until = at + min((said.reset_seconds or 0.0) + 1.0, named.length)
            else:
                named.capped_until = at

    def _forget(self, at: float) -> None:
        """Forget windows that are no longer named, when what taught them has passed."""
        for length in self._windows.keys() - self._start.keys() - self._limits.keys():
            passed = at >= self._windows[length].taught_until
            if passed or len(self._windows) > _MOST_WINDOWS:
                del self._windows[length]

    def _understood(self, policies: tuple[Policy, ...]) -> dict[int, int]:
        """The tightest limit of each window, never above the start, less what is known already.

        Empty for a header that is not believed.
        """
        # No limit is 0: this response shows that a request was allowed.
        good = [p for p in policies if p.limit > 0 and 0 < p.window_s <= LONGEST_S]
        if not 0 < len(good) <= _MOST_WINDOWS:
            return {}
        limits = dict(self._start)
        for policy in good:
            limit, length = policy.limit, policy.window_s
            limits[length] = min(limit, limits.get(length, limit))
            known = min(n * max(1.0, length / of) for of, n in self._start.items())
            if limit * 10 < known and not self._warned:
                self._warned = True
                logger.warning("the API limits us to %s, less than a tenth of %d", policy, known)
        start, windows = self._start, self._windows
        return {n: m for n, m in limits.items() if not start.get(n) == m == windows[n].limit}

    def _wait_s(self, now: float, before: int) -> float:
        """The least seconds until a permit for a request that has `before` others ahead of it."""
        pending, given = len(self._pending), self._given
        wait_s = self._paused_until - now
        for length, window in self._windows.items():
            if window.free(now, pending, given) > before:
                continue
            blocked_s = window.wait_s(now, before, pending, given)
            if length not in self._start:
                probe_s = self._given_at + _PROBE_S - now
                blocked_s = min(blocked_s, max(probe_s, _GRACE_S if before else 0.0))
            wait_s = max(wait_s, blocked_s)
        return wait_s

    def _reason(self, now: float, before: int) -> str:
        if now < self._paused_until:
            return f"paused for {self._paused_until - now:.1f} s after a 429"
        use = len(self._pending), self._given
        full = max(self._windows.values(), key=lambda window: window.wait_s(now, before, *use))
        used = f"{len(full.held) + use[0]} of {full.limit} requests in {full.length} s used"
        return f"{used}, the rest by others" if now < full.capped_until else used


class _Unlimited(RateLimiter):
    """Everything is granted and nothing is kept."""

    def acquire(self, earlier: Wait | None, *, left_s: float) -> Permit:
        return Permit()

    def release(self, permit: Permit, **outcome: Unpack[Outcome]) -> None: ...


def tightest_limits() -> tuple[int, int]:
    """Requests per second and per minute: the tightest among the revisions this release knows."""
    return min(r.burst for r in REVISIONS), min(r.steady for r in REVISIONS)


def _checked(name: str, value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
    return value


# `_recent` keeps the last limiters alive, so that a program which makes a client per task keeps its
# counts.
_shared: WeakValueDictionary[Hashable, RateLimiter] = WeakValueDictionary()
_recent: deque[RateLimiter] = deque(maxlen=256)
_locks: dict[int, threading.Lock] = {}


def process_lock() -> threading.Lock:
    """The process's own lock: a fork copies other locks as they are, perhaps locked."""
    return _locks.setdefault(os.getpid(), threading.Lock())


def shared_limiter(identity: Hashable, clock: Clock) -> RateLimiter:
    """The process's limiter for one account's credential and one clock."""
    key = (identity, id(clock))  # The limiter keeps the clock, and with it its id.
    with process_lock():
        limiter = _shared.get(key)
        if limiter is None:
            limiter = _shared[key] = RateLimiter(clock=clock)
        _recent.append(limiter)
        return limiter

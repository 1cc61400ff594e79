"""The limiter of one process: who sends next."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from weakref import WeakSet

import attrs

from klaviyo_variant_jobs_api.registry import REVISIONS

from .headers import RateLimit
from .protocol import Limiter, Ticket
from .quota import TICK_S, Quota, WindowState
from .turn import Turn

# A waiter that was called and does not come for its place (its event loop is busy) loses it to
# those behind, and gets the first free one when it comes.
_PATIENCE_S = 0.25

limiters: WeakSet[RateLimiter] = WeakSet()
"""Those of this process, which a fork makes start anew."""


@attrs.frozen(kw_only=True)
class Snapshot:
    """A limiter at one moment."""

    windows: tuple[WindowState, ...]
    """The shortest first."""
    in_flight: int
    waiting: int
    paused_for_s: float


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
        self._quota = Quota(
            _checked("burst", start_burst if burst is None else burst),
            _checked("steady", start_steady if steady is None else steady),
        )
        self._turn = Turn(self._leave)
        self._sure = 0  # At least so many places are free, whatever the time;
        self._full_until = -math.inf  # or until then none is. Both until `_reconsider`.
        self._queue: OrderedDict[_Place, None] = OrderedDict()
        self._gone = 0  # How many have left the queue.
        self._called: deque[_Place] = deque()  # Granted from the queue, oldest first.
        self._late: set[_Place] = set()  # Called in vain; back in the queue when they ask.
        limiters.add(self)

    @staticmethod
    def unlimited() -> Limiter:
        """A limiter that never waits: for tests, or when something else paces the requests."""
        return _Unlimited()

    def join(self, now: float) -> Ticket:
        """Queue for a place, first come, first served. `now` is the client's monotonic clock."""
        place = _Place(self, self._turn)
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
            seen = Snapshot(
                windows=self._quota.windows(moment),
                in_flight=self._quota.in_flight,
                waiting=len(self._queue) + len(self._late),
                paused_for_s=self._quota.paused_for_s(moment),
            )
        self._turn.settle()
        return seen

    def start_in_child(self) -> None:
        """Forget, in a forked process, the requests that others have under way in the parent.

        Nobody here would ever end them, or let go of a lock that was held.
        """
        self._turn = Turn(self._leave)
        self._quota.in_flight = 0
        self._queue.clear()
        self._called.clear()
        self._late.clear()
        self._reconsider()

    # Everything below is called by whoever has the turn.

    def _wait_s(self, now: float, ahead: int) -> float:
        """Seconds before which a request with `ahead` others before it gets no place."""
        wait = self._quota.wait_s(now, ahead)
        if self._called and not ahead:
            wait = min(wait, self._called[0].granted_at + _PATIENCE_S - now)
        return max(wait, TICK_S)

    def _reason(self, now: float) -> str:
        return f"{self._quota.reason(now)}; {len(self._queue)} waiting"

    def _grant(self, place: _Place, now: float) -> None:
        quota = self._quota
        self._sure -= 1
        # No call between the three, here as below: Python heeds signals at calls, and an exception
        # of a handler would leave a place that nobody knows of.
        place.granted, place.granted_at, quota.in_flight = True, now, quota.in_flight + 1

    def _dispatch(self, now: float) -> None:
        """Grant what is free, in order."""
        if not self._queue or now < self._full_until:
            return
        self._call_back(now)
        while self._queue:
            if self._sure <= 0:
                self._sure = self._quota.free_places(now)
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
        if self._full_until < head.asks_at - TICK_S:
            head.nudge()

    def _reconsider(self) -> None:
        """Something has changed besides the time."""
        self._sure = 0
        self._full_until = -math.inf

    def _call_back(self, now: float) -> None:
        """Take the places of those who were called and did not come."""
        called, quota = self._called, self._quota
        while called and (called[0].taken or called[0].granted_at + _PATIENCE_S <= now):
            place = called.popleft()
            if not place.taken:
                place.granted, quota.in_flight = False, quota.in_flight - 1
                self._late.add(place)

    def _ask(self, place: _Place, now: float) -> float:
        if place.turn is not self._turn:
            return 0.0
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

    def _ended(self, place: _Place) -> bool:
        """Free a place; False for one of the parent process, which counts it, after a fork."""
        if place.turn is not self._turn:
            return False
        quota = self._quota
        place.granted, place.taken, quota.in_flight = False, True, quota.in_flight - 1
        return True

    def _answer(self, place: _Place, now: float, said: RateLimit | None) -> None:
        if not self._ended(place):
            return
        quota = self._quota
        quota.remember(now)
        if quota.ramps(now):
            self._reconsider()
        if said is not None and quota.learn(now, place.granted_at, said):
            self._reconsider()
        self._dispatch(now)

    def _refuse(self, place: _Place, now: float, pause_s: float) -> None:
        if not self._ended(place):
            return
        self._reconsider()
        if self._quota.refuse(now, place.granted_at, pause_s):
            for waiting in self._queue:
                waiting.nudge()
        self._dispatch(now)

    def _leave(self, place: _Place, now: float, sent: bool) -> None:
        if place.granted:
            if self._ended(place) and sent:
                self._quota.remember(now)
        elif place in self._queue:
            del self._queue[place]
            self._gone += 1
        else:
            self._late.discard(place)
        self._reconsider()
        self._dispatch(now)


@attrs.define(eq=False)
class _Place:
    """A ticket of the in-process limiter."""

    limiter: RateLimiter
    turn: Turn[_Place]
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
            limiter._answer(self, now, rate_limit)
        limiter._turn.settle()

    def refused(self, now: float, pause_s: float) -> None:
        limiter = self.limiter
        with limiter._turn.lock:
            limiter._refuse(self, now, pause_s)
        limiter._turn.settle()

    def failed(self, now: float) -> None:
        self.limiter._turn.leave(self, now, sent=True)

    def cancel(self, now: float) -> None:
        self.limiter._turn.leave(self, now, sent=False)

    def __del__(self) -> None:
        # An exception of a signal handler may come between a grant and whoever is told of it.
        if getattr(self, "granted", False):  # It may have come before `__init__` was through.
            self.failed(self.granted_at)


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


def tightest_limits() -> tuple[int, int]:
    """Requests per second and per minute: the tightest among the revisions this release knows."""
    return min(r.burst for r in REVISIONS), min(r.steady for r in REVISIONS)


def _checked(name: str, value: int | None) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
    return value

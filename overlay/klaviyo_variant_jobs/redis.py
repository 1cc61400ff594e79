"""One quota for many processes, kept in Redis or Valkey.

A Lua script on the server (`redis_script`) holds the quota. One call of it, a *trip*, reports the
outcomes of requests and asks for permits. Each limiter makes its trips from one thread, or one task
under asyncio, so that requests which come at the same time share a trip.

While Redis cannot be used, each process keeps to its own share of the limits.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
import logging
import math
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, Protocol, TypeVar

import attrs
import msgspec

from .clock import SYSTEM_CLOCK, Clock
from .rate_limits import (
    Permit,
    RateLimit,
    RateLimiter,
    Snapshot,
    Wait,
    WindowState,
    process_lock,
    tightest_limits,
)
from .redis_script import KEYS, LEASE_S, SCRIPT, Ask, Queued, Seen, Told

logger = logging.getLogger("klaviyo_variant_jobs")

_PATIENCE_S = 1.0
"""Timeout of a trip. It takes about 1 ms, and a few 100 ms on an overloaded machine."""

_TELL_AFTER_S = 0.05
"""How long an outcome waits for others to share its trip."""

_HEARTBEAT_S = 2.0
"""A limiter in use makes a trip at least this often, to notice that the server lost its data."""

_PROBE_S = 1.0
"""How often a server that failed is tried again."""

_RETURN_S = 2.5
"""Seconds from the return of Redis to sharing again; by then all processes have reported."""

_IDLE_S = 10.0
"""The thread or task ends after so long without a request; a waiting request asks again sooner."""


class Scripting(Protocol):
    """What is used of `redis.Redis`, `redis.asyncio.Redis` and the same classes of valkey."""

    def register_script(self, script: str, /) -> Any:
        """Return a callable that runs the script, and loads it first where the server lacks it."""


@attrs.frozen
class SharedSnapshot(Snapshot):
    """A shared limiter at one moment; counts are of all processes together."""

    shared: bool
    """False while Redis cannot be used: counts and limits are then this process's own share."""
    members: int
    """Limiters that called Redis in the last minute, this one included; 0 if it never answered."""


class RedisRateLimiter:
    """Shares the quota of one account among all processes that use the same Redis.

    Requests of one limiter get their permits in order; several limiters take turns. Limits learnt
    from response headers, and the pause after a 429, apply to all of them. The permits of a killed
    process expire after a minute at most.

    When Redis cannot be used or takes longer than a second, the limiter logs one warning. Until
    Redis is back, each process keeps to its share: the limits divided by the number of limiters
    that Redis last knew of. A request never waits for Redis past its own deadline.

    Args:
        client: a `redis.Redis` for `Client`, a `redis.asyncio.Redis` for `AsyncClient`, or the same
            class of valkey. An asynchronous one belongs to one event loop, and so does its limiter.
            For a `redis.Redis` the limiter opens its own connections to the same server, with short
            timeouts and without retries. Other clients are used as they are; give those of Sentinel
            and of a cluster short timeouts.
        burst: requests per second, of all processes together; None means the tightest limit among
            the revisions this release knows.
        steady: requests per minute; None likewise.
        prefix: start of all keys in Redis.
        account: tells this account from others in the same Redis: its name, or its API key (not an
            OAuth token, since those change). Redis gets only a keyed hash of it. By default all
            limiters with the same prefix share one quota.
        clock: measures time in this process; the server measures the windows.

    Raises:
        ValueError: `burst` or `steady` is not a whole number above 0.
    """

    def __init__(
        self,
        client: Scripting,
        *,
        burst: int | None = None,
        steady: int | None = None,
        prefix: str = "klaviyo-variant-jobs",
        account: str = "",
        clock: Clock | None = None,
    ) -> None:
        RateLimiter(burst, steady)  # Raises for invalid limits.
        known_burst, known_steady = tightest_limits()
        self._start = (burst or known_burst, steady or known_steady)
        self._clock = clock or SYSTEM_CLOCK
        self._is_async = inspect.iscoroutinefunction(getattr(client, "execute_command", None))
        client = client if self._is_async else _impatient(client)
        self._script: Callable[..., Any] = client.register_script(SCRIPT)
        name = hashlib.blake2b(account.encode(), key=prefix.encode()[:64], digest_size=16)
        # Braces make a cluster keep all keys in one hash slot.
        self._keys = [f"{prefix}:{{{name.hexdigest()}}}:{key}" for key in KEYS]
        self._start_anew()

    def __repr__(self) -> str:
        """Leaves out the client: its URL may hold a password."""
        return f"<{type(self).__name__} burst={self._start[0]} steady={self._start[1]}>"

    def _start_anew(self) -> None:
        """Set the state up; in a forked process, forget the requests of the parent."""
        self._member = os.urandom(6).hex()
        self._requests = 0
        self._asks: deque[Ask] = deque()
        self._told: deque[Told] = deque()
        self._history: deque[Told] = deque(maxlen=self._start[1])  # Up to a minute of it.
        self._leases: dict[str, float] = {}  # By pending request: when it expires.
        self._seen: Seen | None = None  # None: Redis was never reached.
        self._own: RateLimiter | None = None  # Of our own share, while Redis cannot be used.
        self._back_at = math.inf  # When permits come from Redis again.
        self._tells_all = False
        self._called_at = self._used_at = -math.inf
        self._lock = threading.Lock()
        # One trip at a time: flush must not return while another trip still carries outcomes.
        self._trips = contextlib.nullcontext() if self._is_async else threading.Lock()
        self._bell: threading.Event | asyncio.Event = threading.Event()
        self._caller: threading.Thread | asyncio.Task[None] | None = None
        self._pid = os.getpid()  # Last: until then, threads of a forked process wait in `acquire`.

    # Methods of the Limiter protocol

    def acquire(
        self, earlier: Wait | None, *, left_s: float
    ) -> Permit | Wait | Awaitable[Permit | Wait]:
        """As `Limiter.acquire`; returns an awaitable if the client is asynchronous."""
        if self._pid != os.getpid():
            with process_lock():
                if self._pid != os.getpid():
                    self._start_anew()
        if not isinstance(earlier, Queued):
            with self._lock:
                self._requests += 1
                earlier = Queued(0.0, id=f"{self._member}:{self._requests}")
        asking = self._ask(Ask(earlier, left_s))
        return asking if self._is_async else _at_once(asking)

    def release(
        self,
        permit: Permit,
        *,
        sent: bool = True,
        said: RateLimit | None = None,
        pause_s: float | None = None,
    ) -> None:
        """As `Limiter.release`."""
        if not isinstance(permit, _Place) or permit.released:
            return
        permit.released = True
        # The API does not count a request that it answers with 429.
        counted = sent and pause_s is None
        told = Told(permit.id, self._clock.monotonic(), counted, said, pause_s)
        self._history.append(told)
        self._told.append(told)
        if permit.own is not None:
            limiter, own = permit.own
            # `remaining` lacks what other processes used; our limits already leave out their share.
            limits = attrs.evolve(said, remaining=None) if said else None
            limiter.release(own, sent=sent, said=limits, pause_s=pause_s)

    def flush(self) -> Awaitable[None] | None:
        """Report the outcomes that are left; then the thread or task ends."""
        self._used_at = -math.inf
        flushing = self._flush()
        return flushing if self._is_async else _at_once(flushing)

    def snapshot(self) -> SharedSnapshot:
        """Limits and use as of the last trip, or of our own share. Makes no call to Redis."""
        own, seen = self._own, self._seen
        members = seen.members if seen else 0
        if own is None and seen is not None:
            paused_s = seen.paused_s(self._clock.monotonic())
            windows = tuple(WindowState(*window) for window in seen.windows)
            return SharedSnapshot(windows, seen.pending, seen.waiting, paused_s, True, members)
        alone = (own or RateLimiter(*self._start)).snapshot()
        values = (alone.windows, alone.pending, alone.waiting, alone.paused_for_s)
        return SharedSnapshot(*values, False, members)

    # Asking for permits. With a sync client these coroutines never suspend, see _at_once.

    async def _ask(self, ask: Ask) -> Permit | Wait:
        # Half of the time left is kept for the request itself.
        patience_s = min(_PATIENCE_S, ask.left_s / 2)
        try:
            on_own_share = self._is_on_own_share()
            self._hand_over(None if on_own_share else ask)
            if on_own_share:
                return self._ask_own_share(ask)
            if not self._is_async:
                return ask.outcome.result(patience_s)
            async with asyncio.timeout(patience_s):
                return await asyncio.wrap_future(ask.outcome)
        except (TimeoutError, RuntimeError):  # RuntimeError: no thread can be started.
            return self._asked_in_vain(ask)
        except BaseException:
            if not ask.outcome.cancel():
                self._give_back(ask.outcome.result())
            raise

    def _hand_over(self, ask: Ask | None) -> None:
        """Pass it to the thread or task that makes the trips, and start that if need be."""
        with self._lock:
            self._used_at = self._clock.monotonic()
            if ask is not None:
                self._asks.append(ask)
            if self._is_async:
                self._start_task()
            elif self._caller is None:
                bell = self._bell
                thread = threading.Thread(
                    target=lambda: _at_once(self._call(bell)), name="quota", daemon=True
                )
                thread.start()
                self._caller = thread
        self._bell.set()

    def _start_task(self) -> None:
        loop, caller = asyncio.get_running_loop(), self._caller
        if not isinstance(caller, asyncio.Task) or caller.get_loop() is not loop:
            self._bell = asyncio.Event()
            # An empty context: the task must not run in the trace of the first request.
            self._caller = loop.create_task(self._call(self._bell), context=Context())

    async def _call(self, bell: threading.Event | asyncio.Event) -> None:
        while self._stays():
            if isinstance(bell, threading.Event):
                bell.wait(self._nap_s())
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._nap_s()):
                        await bell.wait()
            bell.clear()
            with self._trips:
                if self._has_news():
                    await self._make_trip()

    async def _make_trip(self) -> None:
        asks, tells_all, message = self._pack()
        try:
            reply = self._script(keys=self._keys, args=[message])
            if self._is_async:
                async with asyncio.timeout(_PATIENCE_S):
                    reply = await reply
            seen = msgspec.convert(reply, Seen)
        except Exception as error:  # Requests go on without Redis, whatever failed.
            self._fail(asks, error)
        else:
            self._take(seen, asks, tells_all)

    async def _flush(self) -> None:
        with self._trips:
            if self._told and not self._is_away():
                await self._make_trip()
        self._bell.set()

    # When to make a trip

    def _is_away(self) -> bool:
        """Whether the last call failed."""
        return self._own is not None and self._back_at == math.inf

    def _stays(self) -> bool:
        with self._lock:
            now = self._clock.monotonic()
            leases = list(self._leases.items())
            self._leases = {id: until for id, until in leases if until > now}
            if self._asks or self._leases or now < self._used_at + _IDLE_S:
                return True
            self._caller = None
            return False

    def _nap_s(self) -> float:
        soon = (self._told or self._leases) and not self._is_away()
        return _TELL_AFTER_S if soon else _PROBE_S

    def _has_news(self) -> bool:
        since = self._clock.monotonic() - self._called_at
        if self._is_away():
            return since >= _PROBE_S
        return bool(self._asks or self._told or self._tells_all) or since >= _HEARTBEAT_S

    # The message and the reply

    def _pack(self) -> tuple[list[Ask], bool, bytes]:
        now = self._called_at = self._clock.monotonic()
        asks = [ask for ask in _emptied(self._asks) if not ask.outcome.cancelled()]
        told = _emptied(self._told)
        tells_all = self._tells_all
        if tells_all:
            told = [attrs.evolve(each, said=None) for each in self._recent(now)]
        for each in told:
            self._leases.pop(each.id, None)
        epoch = self._seen.epoch if self._seen else 0
        message = {
            "member": self._member,
            "epoch": 0 if tells_all else epoch,
            "burst": self._start[0],
            "steady": self._start[1],
            "outcomes": [each.packed(now, self._start) for each in told],
            "asks": [ask.packed(epoch) for ask in asks],
        }
        return asks, tells_all, msgspec.json.encode(message)

    def _take(self, seen: Seen, asks: list[Ask], tells_all: bool) -> None:
        before, now = self._seen, self._clock.monotonic()
        seen.at = now
        lost = bool(before and before.epoch != seen.epoch and self._recent(now))
        if tells_all:
            self._tells_all = False
        elif lost:  # Its counts are too low until every process has reported again.
            self._fall_back("has lost its data")
        self._seen = seen
        if self._is_away():
            self._back_at = now + _RETURN_S
        for ask, (number, wait_us, ahead) in zip(asks, seen.answers, strict=False):
            id, reason = ask.earlier.id, seen.reason(ahead)
            if wait_us:
                self._give(ask, Queued(wait_us / 1e6, reason, id, number, seen.epoch))
            else:
                self._leases[id] = now + LEASE_S
                self._give(ask, _Place(id))
        # The script answers no asks of a member that names another epoch.
        for ask in asks[len(seen.answers) :]:
            if lost:
                self._give(ask, self._unanswered(ask))
            else:
                self._asks.append(ask)
                self._bell.set()

    def _fail(self, asks: list[Ask], error: Exception) -> None:
        # Only the class: the text may hold the address, the user or the password.
        self._fall_back(f"cannot be used ({type(error).__name__})")
        for ask in (*asks, *_emptied(self._asks)):
            if not ask.outcome.cancelled():
                self._give(ask, self._unanswered(ask))

    def _give(self, ask: Ask, outcome: Permit | Wait) -> None:
        if ask.outcome.set_running_or_notify_cancel():
            ask.outcome.set_result(outcome)
        else:
            self._give_back(outcome)

    def _give_back(self, outcome: Permit | Wait) -> None:
        """Release the permit of a request that was cancelled."""
        if isinstance(outcome, Permit):
            self.release(outcome, sent=False)

    def _recent(self, now: float) -> list[Told]:
        return [each for each in self._history.copy() if each.at > now - 60.0]

    # While Redis cannot be used

    def _asked_in_vain(self, ask: Ask) -> Permit | Wait:
        if not ask.outcome.cancel():
            return ask.outcome.result()
        self._fall_back("does not answer in time")
        return self._unanswered(ask)

    def _unanswered(self, ask: Ask) -> Permit | Wait:
        # A server that hung may still grant this ask later: report it as not sent.
        self._history.append(Told(ask.earlier.id, self._clock.monotonic(), counted=False))
        return self._ask_own_share(ask)

    def _fall_back(self, why: str) -> None:
        seen = self._seen
        with self._lock:
            self._tells_all, self._back_at = True, math.inf
            if self._own is not None:
                return
            members = max(1, seen.members) if seen else 1
            limits = [window[1] for window in seen.windows] if seen else self._start
            share = [max(1, limit // members) for limit in limits]
            self._own = self._own_limiter(*share)
        logger.warning(
            "the limiter's Redis %s; until it is back this process keeps to %d requests per second"
            " and %d per minute, its share as one of %d",
            why,
            *share,
            members,
        )

    def _is_on_own_share(self) -> bool:
        if self._own is not None and self._clock.monotonic() >= self._back_at:
            with self._lock:
                self._own, self._back_at = None, math.inf
            logger.info("the limiter's Redis is back; the quota is shared again")
        return self._own is not None

    def _own_limiter(self, burst: int, steady: int) -> RateLimiter:
        """A limiter that has counted our requests of the last minute, and keeps a running pause."""
        now = self._clock.monotonic()
        clock = _Replay(self._clock, now - 60.0)
        own = RateLimiter(burst, steady, clock=clock)
        paused_s = self._seen.paused_s(now) if self._seen else 0.0
        refused = own.acquire(None, left_s=0.0) if paused_s else None
        for told in [each for each in self._recent(now) if each.counted][-steady:]:
            clock.past = max(clock.past, told.at)
            while isinstance(place := own.acquire(None, left_s=0.0), Wait) and clock.past < now:
                clock.past += place.seconds
            if isinstance(place, Permit):
                own.release(place)
        clock.past = math.inf
        if isinstance(refused, Permit):
            own.release(refused, pause_s=paused_s)
        return own

    def _ask_own_share(self, ask: Ask) -> Permit | Wait:
        own = self._own or self._own_limiter(*self._start)
        earlier = ask.earlier
        before = earlier.own[1] if earlier.own and earlier.own[0] is own else None
        outcome = own.acquire(before, left_s=ask.left_s)
        if isinstance(outcome, Permit):
            return _Place(f"{earlier.id}:own", (own, outcome))
        reason = f"{outcome.reason}, of our own share"
        return attrs.evolve(earlier, seconds=outcome.seconds, reason=reason, own=(own, outcome))


@attrs.define(eq=False)
class _Place(Permit):
    id: str
    own: tuple[RateLimiter, Permit] | None = None  # Of our own share, while Redis cannot be used.
    released: bool = False


class _Replay(Clock):
    """A clock set to the past while `_own_limiter` replays old requests."""

    def __init__(self, clock: Clock, past: float) -> None:
        self._clock = clock
        self.past = past

    def monotonic(self) -> float:
        return min(self.past, self._clock.monotonic())


_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def _emptied(items: deque[_Item]) -> list[_Item]:
    """Take out what was in `items` at the start; other threads may add to it meanwhile."""
    return [items.popleft() for _ in range(len(items))]


def _at_once(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: _Result = end.value
        return result
    raise AssertionError("the coroutine suspended")


def _impatient(client: Any) -> Any:
    """A client of the same server with short timeouts; `client` itself if it is no plain one.

    By default redis-py waits 5 s and tries ten more times.
    """
    pool: Any = getattr(client, "connection_pool", None)
    if type(pool).__name__ not in ("ConnectionPool", "BlockingConnectionPool"):
        return client
    settings = pool.connection_kwargs | {
        "socket_timeout": _PATIENCE_S,
        **({} if "path" in pool.connection_kwargs else {"socket_connect_timeout": _PATIENCE_S}),
        "retry": None,
        "retry_on_error": [],
        "retry_on_timeout": False,
    }
    ours = type(pool)(connection_class=pool.connection_class, **settings)
    return type(client)(connection_pool=ours)

"""One quota for many processes, kept in Redis or Valkey.

What has to be decided together is decided by a script on the server (`redis_script`), in one call:
a *trip*. A trip tells what came of requests and asks for permits. One thread, or one task under
asyncio, makes the trips of a limiter, so that requests which come together travel together.

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
    tightest_limits,
)
from .redis_script import KEYS, LEASE_S, SCRIPT, Ask, Queued, Seen, Told

logger = logging.getLogger("klaviyo_variant_jobs")

_PATIENCE_S = 1.0
"""A trip takes about a millisecond; on a machine with too much to do, a few hundred."""

_TELL_AFTER_S = 0.05
"""What came of a request waits so long for company, then it travels alone."""

_HEARTBEAT_S = 2.0
"""A limiter in use calls at least this often, so that a server which lost everything is told."""

_PROBE_S = 1.0
"""How often a server that could not be used is tried."""

_RETURN_S = 2.5
"""More than a heartbeat or a probe: by then every process has told what it used meanwhile."""

_IDLE_S = 10.0
"""The thread or task ends after so long without a request. No wait is as long."""


class Scripting(Protocol):
    """What is used of `redis.Redis`, `redis.asyncio.Redis` and valkey's of the same shape."""

    def register_script(self, script: str, /) -> Any:
        """Return a callable that runs the script, and loads it where it is not known."""


@attrs.frozen
class SharedSnapshot(Snapshot):
    """A shared limiter at one moment; counts are those of all processes."""

    shared: bool
    """False: Redis cannot be used, and these are our own counts and our share of the limits."""
    members: int
    """Limiters that Redis heard of in the last minute, ours included; 0: it was never reached."""


class RedisRateLimiter:
    """Paces the requests of all processes that use the same Redis within the quota of one account.

    Requests of one limiter are served in order, and the limiters of several processes in turn.
    Limits that the API's answers teach, and the pause after a 429, hold for all of them. A killed
    process gives its places back. When Redis cannot be used, or takes longer than a second,
    there is one warning, and each process keeps to its share: the limits divided by the number of
    processes that Redis last knew of. No request waits longer for Redis than it has time.

    Args:
        client: a `redis.Redis` for `Client`, a `redis.asyncio.Redis` for `AsyncClient`, or valkey's
            of the same shape. Of a `redis.Redis` the address and credentials are used, on a
            connection with short timeouts and without retries; any other (Sentinel, cluster) as it
            is, so give those short timeouts.
        burst: requests per second, of all processes together; None means the tightest limit among
            the revisions this release knows.
        steady: requests per minute; None likewise.
        prefix: the keys in Redis begin with it.
        account: whatever tells this account from others in the same Redis: its name, or its API
            key (no OAuth token, since those change). Redis sees only a keyed hash of it. Without
            it, all limiters with this prefix share one quota.
        clock: measures time here; windows are measured by the server.

    Raises:
        ValueError: for limits that are not whole numbers above 0.
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
        RateLimiter(burst, steady)  # Raises for limits that are none.
        known_burst, known_steady = tightest_limits()
        self._start = (burst or known_burst, steady or known_steady)
        self._clock = clock or SYSTEM_CLOCK
        self._is_async = inspect.iscoroutinefunction(getattr(client, "execute_command", None))
        client = client if self._is_async else _impatient(client)
        self._script: Callable[..., Any] = client.register_script(SCRIPT)
        name = hashlib.blake2b(account.encode(), key=prefix.encode()[:64], digest_size=16)
        # In braces, so that a cluster keeps them together.
        self._keys = [f"{prefix}:{{{name.hexdigest()}}}:{key}" for key in KEYS]
        self._start_anew()

    def __repr__(self) -> str:
        """Without the client: its URL may have a password in it."""
        return f"<{type(self).__name__} burst={self._start[0]} steady={self._start[1]}>"

    def _start_anew(self) -> None:
        """Forget, in a forked process, what the parent has under way."""
        self._pid = os.getpid()
        self._member = os.urandom(6).hex()
        self._requests = 0
        self._asks: deque[Ask] = deque()
        self._told: deque[Told] = deque()
        self._history: deque[Told] = deque(maxlen=self._start[1])  # Of the last minute, at most.
        self._leases: dict[str, float] = {}  # Of our pending requests: until when.
        self._seen: Seen | None = None  # None: never heard of it.
        self._own: RateLimiter | None = None  # Of our own share, while Redis cannot be used.
        self._back_at = math.inf  # When Redis is to be asked for permits again.
        self._tells_all = False
        self._called_at = self._used_at = -math.inf
        self._lock = threading.Lock()
        # One trip at a time, so that after a flush everything is told.
        self._trips = contextlib.nullcontext() if self._is_async else threading.Lock()
        self._bell: threading.Event | asyncio.Event = threading.Event()
        self._caller: threading.Thread | asyncio.Task[None] | None = None

    # The limiter's protocol

    def acquire(
        self, earlier: Wait | None, *, left_s: float
    ) -> Permit | Wait | Awaitable[Permit | Wait]:
        """As `Limiter.acquire`; gives an awaitable if the client is an asynchronous one."""
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
        # The API counts no request that it refuses.
        counted = sent and pause_s is None
        told = Told(permit.id, self._clock.monotonic(), counted, said, pause_s)
        self._history.append(told)
        self._told.append(told)
        if permit.own is not None:
            limiter, own = permit.own
            # What our peers have used is missing from what remains; they are no strangers.
            limits = attrs.evolve(said, remaining=None) if said else None
            limiter.release(own, sent=sent, said=limits, pause_s=pause_s)

    def flush(self) -> Awaitable[None] | None:
        """Tell what came of the last requests; the thread or task ends with it."""
        self._used_at = -math.inf
        flushing = self._flush()
        return flushing if self._is_async else _at_once(flushing)

    def snapshot(self) -> SharedSnapshot:
        """Limits and use as Redis last told them, or those of our own share; asks nobody."""
        own, seen = self._own, self._seen
        members = seen.members if seen else 0
        if own is None and seen is not None:
            paused_s = seen.paused_s(self._clock.monotonic())
            windows = tuple(WindowState(*window) for window in seen.windows)
            return SharedSnapshot(windows, seen.pending, seen.waiting, paused_s, True, members)
        alone = (own or RateLimiter(*self._start)).snapshot()
        values = (alone.windows, alone.pending, alone.waiting, alone.paused_for_s)
        return SharedSnapshot(*values, False, members)

    # Asking. Where the client is no asynchronous one, none of these coroutines ever suspends.

    async def _ask(self, ask: Ask) -> Permit | Wait:
        # However short the time is, some is left for the request.
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
        except (TimeoutError, RuntimeError):  # The latter where no thread can be started.
            return self._asked_in_vain(ask)
        except BaseException:
            if not ask.outcome.cancel():
                self._give_back(ask.outcome.result())
            raise

    def _hand_over(self, ask: Ask | None) -> None:
        """Leave it to the caller, the thread or task that makes the trips."""
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
            # Not in the context, a trace for example, of the request that happens to come first.
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
        except Exception as error:  # Whatever it is, requests go on without Redis.
            self._fail(asks, error)
        else:
            self._take(seen, asks, tells_all)

    async def _flush(self) -> None:
        with self._trips:
            if self._told and not self._is_away():
                await self._make_trip()
        self._bell.set()

    # When to call

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

    # What travels

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
        elif lost:  # Whatever it says now is not yet the whole.
            self._fall_back("has lost what it knew")
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
        # It answers nobody who knows of another epoch.
        for ask in asks[len(seen.answers) :]:
            if lost:
                self._give(ask, self._unanswered(ask))
            else:
                self._asks.append(ask)
                self._bell.set()

    def _fail(self, asks: list[Ask], error: Exception) -> None:
        # Only the kind: the text may name the server, its user or its password.
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
        """Nobody waits for it any more."""
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
        # A frozen server that goes on may yet give it a place.
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
        """A limiter that knows of our own requests of the last minute, and of a pause."""
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
    own: tuple[RateLimiter, Permit] | None = None  # Of our own share, while Redis is away.
    released: bool = False


class _Replay(Clock):
    """Tells the time of what is told again, until that is over."""

    def __init__(self, clock: Clock, past: float) -> None:
        self._clock = clock
        self.past = past

    def monotonic(self) -> float:
        return min(self.past, self._clock.monotonic())


_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def _emptied(items: deque[_Item]) -> list[_Item]:
    """What was in `items`; others may put something in meanwhile."""
    return [items.popleft() for _ in range(len(items))]


def _at_once(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    """Run one that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: _Result = end.value
        return result
    raise AssertionError("it suspends")


def _impatient(client: Any) -> Any:
    """The same server over connections that give up soon, where `client` is of the plain kind.

    By default redis-py waits 5 s, and tries ten times more.
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

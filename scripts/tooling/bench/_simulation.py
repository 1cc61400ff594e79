"""Simulates one account in virtual time: its senders and its windows.

It uses a heap of events and no event loop, since a figure takes half a million requests.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence

import attrs

from klaviyo_variant_jobs.clock import Clock
from klaviyo_variant_jobs.rate_limits import Permit, RateLimit, RateLimiter, Wait
from klaviyo_variant_jobs.retry import RetryPolicy, least_wait_s
from klaviyo_variant_jobs.sandbox.windows import NamedWindow, Quota, Window


class World(Clock):
    """A clock that runs events in order; its time is that of the current event."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.random_source = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def random(self) -> float:
        return self.random_source.random()

    def after(self, seconds: float, event: Callable[[], object]) -> None:
        """Schedule `event` in `seconds`."""
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), event))

    def run(self, done: Callable[[], bool]) -> None:
        """Run events until `done`."""
        while self._events and not done():
            self.now, _, event = heapq.heappop(self._events)
            event()


@attrs.frozen
class Response:
    """A response: status and RateLimit headers."""

    status: int
    headers: Mapping[str, str]

    @property
    def retry_after_s(self) -> float:
        return float(self.headers["retry-after"])


@attrs.frozen(kw_only=True)
class Latency:
    """Seconds from request to response, uniformly distributed."""

    least_s: float = 0.0
    most_s: float = 0.0


class Account:
    """The server: counts each request at a random moment between request and response."""

    def __init__(
        self, world: World, windows: Sequence[Window], *, offset_s: float, named: NamedWindow
    ) -> None:
        self._world = world
        self._quota = Quota(windows, offset_seconds=offset_s)
        self._named = named

    def send(self, latency: Latency, answer: Callable[[Response], object]) -> None:
        """Send a request; `answer` is called with the response."""
        world = self._world
        seconds = latency.least_s + world.random() * (latency.most_s - latency.least_s)
        if not seconds:
            answer(self._counted())
            return
        sent = world.random() * seconds
        world.after(sent, lambda: self._arrive(seconds - sent, answer))

    def _arrive(self, seconds: float, answer: Callable[[Response], object]) -> None:
        response = self._counted()
        self._world.after(seconds, lambda: answer(response))

    def _counted(self) -> Response:
        wait_s = self._quota.admit(self._world.now)
        if wait_s:
            return Response(429, {"retry-after": str(math.ceil(wait_s))})
        return Response(200, dict(self._quota.headers(self._world.now, self._named)))


class Load:
    """A number of requests, and the results of the tasks that make them."""

    def __init__(self, account: Account, world: World, latency: Latency, requests: int) -> None:
        self.account = account
        self.world = world
        self.latency = latency
        self.left = requests
        self.unanswered = requests
        self.refused = 0
        self.refused_last_at = 0.0
        self.finished_at = 0.0

    def done(self) -> bool:
        return self.unanswered == 0

    def answered(self) -> None:
        self.unanswered -= 1
        self.finished_at = self.world.now

    def count_refusal(self) -> None:
        self.refused += 1
        self.refused_last_at = self.world.now


class OurTask:
    """Makes one request after the other, with our limiter and retry policy."""

    _policy = RetryPolicy()

    def __init__(self, load: Load, limiter: RateLimiter) -> None:
        self._load = load
        self._limiter = limiter
        self._next()

    def _next(self) -> None:
        if self._load.left:
            self._load.left -= 1
            self._attempts = 0
            self._deadline = self._load.world.now + self._policy.deadline
            self._load.world.after(0.0, self._acquire)

    def _give_up(self) -> None:
        self._load.left += 1  # A service would try again.
        self._next()

    def _acquire(self, earlier: Wait | None = None) -> None:
        world = self._load.world
        left_s = self._deadline - world.now
        outcome = self._limiter.acquire(earlier, left_s=left_s)
        if isinstance(outcome, Permit):
            permit = outcome
            self._attempts += 1
            self._load.account.send(
                self._load.latency, lambda response: self._take(permit, response)
            )
        elif outcome.seconds >= left_s:
            self._give_up()
        else:
            wait = outcome
            world.after(wait.seconds, lambda: self._acquire(wait))

    def _take(self, permit: Permit, response: Response) -> None:
        world = self._load.world
        if response.status == 200:
            self._limiter.release(permit, said=RateLimit.from_headers(response.headers))
            self._load.answered()
            self._next()
            return
        self._load.count_refusal()
        pause_s = least_wait_s(429, response.retry_after_s)
        self._limiter.release(permit, pause_s=pause_s)
        wait_s = self._policy.wait_s(
            attempt=self._attempts,
            left_s=self._deadline - world.now,
            least_s=pause_s,
            chance=world.random(),
        )
        if wait_s is None:
            self._give_up()
        else:
            world.after(wait_s, self._acquire)


class SdkTask:
    """The observed behaviour of the official SDK: no pacing, two retry layers.

    A permanent 429 with Retry-After 1 made it send 12 requests in 13.7 s. We assume three rounds of
    four attempts: the inner layer waits Retry-After before each further attempt, the outer one a
    random time below 2 s, then below 4 s. When it gives up, the caller starts again.
    """

    def __init__(self, load: Load) -> None:
        self._load = load
        self._next()

    def _next(self) -> None:
        if self._load.left:
            self._load.left -= 1
            self._attempts = 0
            self._load.world.after(0.0, self._send)

    def _send(self) -> None:
        self._attempts += 1
        self._load.account.send(self._load.latency, self._answer)

    def _answer(self, response: Response) -> None:
        if response.status == 200:
            self._load.answered()
            self._next()
            return
        self._load.count_refusal()
        self._load.world.after(self._wait_s(response), self._send)

    def _wait_s(self, response: Response) -> float:
        if self._attempts % 4:
            return response.retry_after_s
        rounds = self._attempts // 4
        if rounds == 3:
            self._attempts = 0
            return 0.0
        return self._load.world.random() * 2.0**rounds


class Stranger:
    """Another program on the account: it makes requests at random moments, without retries."""

    def __init__(self, world: World, account: Account, *, per_minute: float) -> None:
        self._world = world
        self._account = account
        self._rate_s = per_minute / 60.0
        self.sent = 0
        self.refused = 0
        self._next()

    def _next(self) -> None:
        self._world.after(self._world.random_source.expovariate(self._rate_s), self._send)

    def _send(self) -> None:
        self.sent += 1
        self._account.send(Latency(least_s=0.1, most_s=0.1), self._answer)
        self._next()

    def _answer(self, response: Response) -> None:
        self.refused += response.status == 429


def ideal_s(requests: int, windows: Sequence[Window]) -> float:
    """The earliest time of the last request, without latency, for any alignment of windows."""
    sent: list[float] = []
    for nth in range(requests):
        earliest = sent[-1] if sent else 0.0
        for window in windows:
            if nth >= window.limit:
                earliest = max(earliest, sent[nth - window.limit] + window.seconds)
        sent.append(earliest)
    return sent[-1]

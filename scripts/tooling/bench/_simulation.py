"""One account in virtual time: who sends to it, and what its windows answer.

Events in a heap rather than an event loop: a figure takes half a million requests.
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
    """Events in their order; the time is that of the event at hand."""

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
        """Let `event` happen `seconds` from now."""
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), event))

    def run(self, done: Callable[[], bool]) -> None:
        """Let events happen until `done`."""
        while self._events and not done():
            self.now, _, event = heapq.heappop(self._events)
            event()


@attrs.frozen
class Response:
    """What the server sent: a status and the headers that speak of the quota."""

    status: int
    headers: Mapping[str, str]

    @property
    def retry_after_s(self) -> float:
        return float(self.headers["retry-after"])


@attrs.frozen(kw_only=True)
class Latency:
    """Seconds from send to answer, evenly spread."""

    least_s: float = 0.0
    most_s: float = 0.0


class Account:
    """The server's side: counts each request at a random moment between send and answer."""

    def __init__(
        self, world: World, windows: Sequence[Window], *, offset_s: float, named: NamedWindow
    ) -> None:
        self._world = world
        self._quota = Quota(windows, offset_seconds=offset_s)
        self._named = named

    def send(self, latency: Latency, answer: Callable[[Response], object]) -> None:
        """Send a request; `answer` gets what comes back."""
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
    """A number of requests that some tasks make one after the other, each in its own way."""

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
    """One request after the other, each paced by the limiter and tried again by the policy."""

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
        self._load.left += 1  # As a service would try again.
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
    """The official SDK's arithmetic, from what was observed of it: no pacing, two retry layers.

    A lasting 429 with Retry-After 1 made it send 12 requests in 13.7 s. Assumed to be three rounds
    of four: the inner layer waits Retry-After before each of three further attempts, the outer one
    a random time below 2, then 4 seconds. What it gives up on its caller starts anew.
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
    """Somebody else on the account: requests at random moments, each made once."""

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
    """When the last of `requests` can be sent without latency, in windows of any alignment."""
    sent: list[float] = []
    for nth in range(requests):
        earliest = sent[-1] if sent else 0.0
        for window in windows:
            if nth >= window.limit:
                earliest = max(earliest, sent[nth - window.limit] + window.seconds)
        sent.append(earliest)
    return sent[-1]

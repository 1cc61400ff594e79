"""A process of `shared`: makes requests with one way of pacing, and prints the result."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable
from inspect import isawaitable
from typing import Any

from tooling.bench._shared_account import connect

# Limiters are imported where they are used: the environment of the peer has only the peer.


def ours(job: dict[str, Any]) -> Any:
    import redis
    import redis.asyncio

    from klaviyo_variant_jobs.redis import RedisRateLimiter

    library = redis.asyncio if job["kind"] == "tasks" else redis
    client = library.Redis(port=job["redis"])
    return RedisRateLimiter(
        client, burst=job["burst"], steady=job["steady"], account=job["account"]
    )


def alone(job: dict[str, Any]) -> Any:
    """A limiter per process, with the whole quota."""
    from klaviyo_variant_jobs.rate_limits import RateLimiter

    return RateLimiter(job["burst"], job["steady"])


def split(job: dict[str, Any]) -> Any:
    """A limiter per process, with its share of the limits."""
    from klaviyo_variant_jobs.rate_limits import RateLimiter

    members = job["members"]
    return RateLimiter(max(1, job["burst"] // members), max(1, job["steady"] // members))


class Pyrate:
    """PyrateLimiter's bucket in Redis. It gets no responses; the pause after a 429 is ours."""

    def __init__(self, job: dict[str, Any]) -> None:
        import redis
        from pyrate_limiter import Limiter, Rate, RedisBucket

        rates = [Rate(job["burst"], 1_000), Rate(job["steady"], 60_000)]
        client = redis.Redis(port=job["redis"])
        limiter = Limiter(RedisBucket.init(rates, client, job["account"]))
        is_async = job["kind"] == "tasks"
        self._acquire = limiter.try_acquire_async if is_async else limiter.try_acquire
        self._paused_until = 0.0

    def acquire(self, earlier: Any, *, left_s: float) -> Any:
        pause_s = self._paused_until - time.monotonic()
        if pause_s > 0:
            return Pause(pause_s)
        return self._acquire("request")

    def release(self, permit: object, *, pause_s: float | None = None, **said: Any) -> None:
        if pause_s:
            self._paused_until = time.monotonic() + pause_s

    def flush(self) -> None: ...


class Pause:
    """Stands in for our `Wait`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


WAYS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "ours": ours,
    "alone": alone,
    "split": split,
    "pyrate": Pyrate,
}


class Worker:
    """Makes a number of requests, and repeats each until it is served."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.left: int = job["requests"]
        self.limiter = WAYS[job["way"]](job)
        self.waits: list[float] = []
        self.asked = 0
        self._lock = threading.Lock()

    def run_threads(self, count: int) -> None:
        threads = [threading.Thread(target=self._work) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.limiter.flush()

    def _take(self) -> bool:
        with self._lock:
            self.left -= 1
            return self.left >= 0

    def _work(self) -> None:
        with connect(self.job["port"]) as connection:
            answers = connection.makefile()
            while self._take():
                served = False
                while not served:
                    permit = self._acquire()
                    connection.sendall(b"\n")
                    served = self._tell(permit, answers.readline())

    def _acquire(self) -> Any:
        earlier = None
        while True:
            self.asked += 1
            outcome = self.limiter.acquire(earlier, left_s=300.0)
            if not hasattr(outcome, "seconds"):
                return outcome
            time.sleep(outcome.seconds)
            earlier = outcome

    async def run_tasks(self, count: int) -> None:
        await asyncio.gather(*(self._work_async() for _ in range(count)))
        if isawaitable(flushed := self.limiter.flush()):
            await flushed

    async def _work_async(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.job["port"])
        while self._take():
            served = False
            while not served:
                permit = await self._acquire_async()
                writer.write(b"\n")
                served = self._tell(permit, (await reader.readline()).decode())
        writer.close()

    async def _acquire_async(self) -> Any:
        earlier = None
        while True:
            self.asked += 1
            outcome = self.limiter.acquire(earlier, left_s=300.0)
            if isawaitable(outcome):
                outcome = await outcome
            if not hasattr(outcome, "seconds"):
                return outcome
            await asyncio.sleep(outcome.seconds)
            earlier = outcome

    def _tell(self, permit: Any, answer: str) -> bool:
        status, *said = answer.strip().split("|")
        if status == "200":
            self.limiter.release(permit, said=self._parsed(said))
            return True
        self.limiter.release(permit, pause_s=max(1.0, float(said[0])))
        return False

    def _parsed(self, said: list[str]) -> Any:
        if self.job["way"] == "pyrate":
            return None
        from klaviyo_variant_jobs.rate_limits import RateLimit

        return RateLimit.parse(*said)


def main() -> None:
    job = json.loads(sys.argv[1])
    worker = Worker(job)
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.monotonic()
    if job["kind"] == "tasks":
        asyncio.run(worker.run_tasks(job["at_once"]))
    else:
        worker.run_threads(job["at_once"])
    seconds = time.monotonic() - started
    print(json.dumps({"seconds": seconds, "asked": worker.asked}))


if __name__ == "__main__":
    main()

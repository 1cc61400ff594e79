"""Runs one load of `shared`: processes on one account, and the outcome."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

from klaviyo_variant_jobs.sandbox.windows import Window
from tooling.bench._peers import environment
from tooling.bench._shared_account import Account
from tooling.bench._simulation import ideal_s


@attrs.frozen(kw_only=True)
class Load:
    """A number of equal workers and what they do."""

    way: str
    members: int
    burst: int
    steady: int
    each: int
    """Requests per worker."""
    idle: int = 0
    """How many of the members make no requests."""
    kinds: Sequence[str] = ("threads", "tasks")
    """The kinds of workers, in turn: with threads, or with tasks under asyncio."""
    most_latency_s: float = 0.2
    """Latency is between a tenth of it and all of it."""

    @property
    def at_once(self) -> int:
        """Pending requests per worker: 8 in all, which is enough to use the whole quota."""
        return max(1, 8 // (self.members - self.idle))


@attrs.frozen(kw_only=True)
class Outcome:
    """The result of a load."""

    load: Load
    served: int
    refused: int
    seconds: Sequence[float]
    """The duration of each worker that was not killed."""
    asked: int

    @property
    def used(self) -> float:
        """The share used of the quota that windows of any alignment allow."""
        windows = (Window(self.load.burst, 1), Window(self.load.steady, 60))
        return ideal_s(self.served, windows) / max(self.seconds)

    @property
    def spread(self) -> float:
        return max(self.seconds) / min(self.seconds)


@attrs.frozen
class Crew:
    """The processes of one load."""

    load: Load
    account: Account
    processes: list[subprocess.Popen[str]]

    def begin(self) -> None:
        """Start all workers at once."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()

    def outcome(self) -> Outcome:
        """Wait for the workers to end."""
        said = [process.communicate()[0] for process in self.processes]
        ends = [json.loads(text) for text in said if text]
        ends = ends[: len(ends) - self.load.idle]
        return Outcome(
            load=self.load,
            served=self.account.served,
            refused=self.account.refused,
            seconds=[end["seconds"] for end in ends],
            asked=sum(end["asked"] for end in ends),
        )


@contextlib.contextmanager
def crew(load: Load, account: Account, *, redis: int, python: Path | None = None) -> Iterator[Crew]:
    """Start the processes of a load; the workers wait for `begin`."""
    processes = []
    for nth in range(load.members):
        job = {
            "way": load.way,
            "redis": redis,
            "port": account.port,
            "account": str(account.port),
            "burst": load.burst,
            "steady": load.steady,
            "members": load.members,
            "requests": load.each if nth < load.members - load.idle else 0,
            "kind": load.kinds[nth % len(load.kinds)],
            "at_once": load.at_once,
        }
        command = [python or sys.executable, "-m", "tooling.bench._shared_worker", json.dumps(job)]
        processes.append(
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment(with_sdk=python is not None),
                text=True,
            )
        )
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        yield Crew(load, account, processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def later(seconds: float, event: Callable[[], object]) -> None:
    """Call `event` after so many seconds of a load."""
    timer = threading.Timer(seconds, event)
    timer.daemon = True
    timer.start()

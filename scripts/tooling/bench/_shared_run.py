"""One load for `shared`: processes on one account, and what came of it."""

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
    """What some equal workers do."""

    way: str
    members: int
    burst: int
    steady: int
    each: int
    """Requests of one worker."""
    idle: int = 0
    """How many of the members make none."""
    kinds: Sequence[str] = ("threads", "tasks")
    """What the workers are, in turn: with threads, or with tasks under asyncio."""
    most_latency_s: float = 0.2
    """Answers take from a tenth of it to all of it."""

    @property
    def at_once(self) -> int:
        """Requests that one worker has under way: together they are never what is scarce."""
        return max(1, 8 // (self.members - self.idle))


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of a load."""

    load: Load
    served: int
    refused: int
    seconds: Sequence[float]
    """How long each worker took that was not killed."""
    asked: int

    @property
    def used(self) -> float:
        """The share of the quota that was used, of what windows of any alignment allow."""
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
        """Let all of them go at once."""
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
    """Start the workers of a load; they wait for `begin`."""
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
    """Let something happen to a load that is under way."""
    timer = threading.Timer(seconds, event)
    timer.daemon = True
    timer.start()

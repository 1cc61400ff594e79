"""Runs contestants in interleaved rounds, each in a process of its own."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from tooling.bench._pages import JOBS_PER_PAGE, Listing
from tooling.bench._peers import environment


@attrs.frozen
class Lap:
    """One contestant reading one list."""

    contestant: str
    listing: Listing


@attrs.frozen
class Rounds:
    """The CPU of each lap, once per round."""

    cpu_s: dict[Lap, list[float]]

    def ms_per_page(self, lap: Lap) -> float:
        """The median of all rounds."""
        return statistics.median(self.cpu_s[lap]) / lap.listing.pages * 1000

    def ratio(self, dividend: Lap, divisor: Lap) -> float:
        """The median of the ratios within a round.

        Machines change their speed by half for seconds at a time; both laps of a round mostly see
        the same.
        """
        pairs = zip(self.cpu_s[dividend], self.cpu_s[divisor], strict=True)
        return statistics.median(one / other for one, other in pairs)


def run_rounds(laps: Sequence[Lap], *, server: str, rounds: int, peers: Path | None) -> Rounds:
    """Run every lap once in each of `rounds`, after a round that is not counted.

    `peers` is the Python of the environment with all peers; None for this one.
    """
    cpu_s: dict[Lap, list[float]] = {lap: [] for lap in laps}
    with contextlib.ExitStack() as stack:
        names = dict.fromkeys(lap.contestant for lap in laps)
        runners = {name: stack.enter_context(_runner(name, server, peers)) for name in names}
        for nth in range(rounds + 1):
            for lap, measured in cpu_s.items():
                taken = runners[lap.contestant].run(lap.listing)
                if nth:
                    measured.append(taken)
    return Rounds(cpu_s)


@attrs.frozen
class _Runner:
    process: subprocess.Popen[str]

    def run(self, listing: Listing) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{listing.prefix}\n")
        self.process.stdin.flush()
        cpu_s, jobs = self.process.stdout.readline().split()
        if int(jobs) != listing.pages * JOBS_PER_PAGE:
            raise AssertionError(f"{self.process.args!r} read {jobs} jobs of {listing}")
        return float(cpu_s)


@contextlib.contextmanager
def _runner(name: str, server: str, peers: Path | None) -> Iterator[_Runner]:
    command = [peers or sys.executable, "-m", "tooling.bench._contestants", name, server]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(with_sdk=peers is not None),
        text=True,
    ) as process:
        try:
            yield _Runner(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()

"""Refusals and lost time of the rate limiter, against the official SDK's way of waiting."""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import time
import timeit
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor

import attrs

from klaviyo_variant_jobs.clock import Clock
from klaviyo_variant_jobs.rate_limits import Permit, Policy, RateLimit, RateLimiter
from klaviyo_variant_jobs.sandbox.windows import NamedWindow, Window
from tooling.bench._loopback import threads_and_tasks
from tooling.bench._simulation import (
    Account,
    Latency,
    Load,
    OurTask,
    SdkTask,
    Stranger,
    World,
    ideal_s,
)

REQUESTS = 3_000
SERVED = (Window(75, 1), Window(750, 60))
ALIGNMENTS = 60
NONE = Latency()
TENTH = Latency(least_s=0.1, most_s=0.1)
SPREAD = Latency(least_s=0.02, most_s=0.4)
STRANGER_PER_MINUTE = 375


@attrs.frozen(kw_only=True)
class Scenario:
    """One load and its goals."""

    name: str
    tasks: int
    latency: Latency
    most_refused: float = 0
    """The most refusals in one run; below 1, a share of the refusals of the SDK's way."""
    most_ratio: float
    refused_until_s: float = math.inf
    believed: tuple[int, int] = (75, 750)
    named: NamedWindow = "burst"
    stranger: bool = False
    alignments: int = ALIGNMENTS

    def ideal_s(self) -> float:
        """The earliest finish of the requests, without latency and for any alignment of windows."""
        share = Window(STRANGER_PER_MINUTE, 60) if self.stranger else SERVED[1]
        return ideal_s(REQUESTS, (SERVED[0], share))


SCENARIOS = (
    Scenario(name="alone, 50 tasks", tasks=50, latency=NONE, most_ratio=1.02),
    Scenario(name="20 to 400 ms, 50 tasks", tasks=50, latency=SPREAD, most_ratio=1.03),
    Scenario(name="20 to 400 ms, 200 tasks", tasks=200, latency=SPREAD, most_ratio=1.03),
    Scenario(
        name="believes 350/3500, 400 tasks",
        tasks=400,
        latency=TENTH,
        believed=(350, 3500),
        most_refused=400,
        refused_until_s=1.0,
        most_ratio=1.05,
        alignments=20,
    ),
    # The limiter does not estimate the requests of others. It knows of them only by `remaining` and
    # by 429s, and leaves them no share.
    Scenario(
        name="stranger 375/min, burst named",
        tasks=50,
        latency=TENTH,
        stranger=True,
        most_refused=0.15,
        most_ratio=1.0,
        alignments=20,
    ),
    Scenario(
        name="stranger 375/min, scarcer named",
        tasks=50,
        latency=TENTH,
        stranger=True,
        named="scarcer",
        most_refused=0.15,
        most_ratio=1.0,
        alignments=20,
    ),
)


@attrs.frozen(kw_only=True)
class Run:
    """The result of one load at one alignment."""

    refused: int
    refused_last_at: float
    finished_at: float
    strangers: int
    strangers_refused: int


def simulate(scenario: Scenario, nth: int, *, sdk: bool, seed: int) -> Run:
    """Run a scenario once; alignment `nth` says where both windows of the server begin."""
    world = World(seed * 1_000 + nth)
    turn = nth / scenario.alignments
    account = Account(world, SERVED, offset_s=math.floor(60 * turn) + turn, named=scenario.named)
    stranger = None
    if scenario.stranger:
        stranger = Stranger(world, account, per_minute=STRANGER_PER_MINUTE)
    load = Load(account, world, scenario.latency, REQUESTS)
    limiter = RateLimiter(*scenario.believed, clock=world)
    for _ in range(scenario.tasks):
        if sdk:
            SdkTask(load)
        else:
            OurTask(load, limiter)
    world.run(load.done)
    return Run(
        refused=load.refused,
        refused_last_at=load.refused_last_at,
        finished_at=load.finished_at,
        strangers=stranger.sent if stranger else 0,
        strangers_refused=stranger.refused if stranger else 0,
    )


@attrs.frozen(kw_only=True)
class Outcome:
    """The results of all runs of a scenario with one way of waiting."""

    runs: Sequence[Run]
    ideal_s: float

    @property
    def refused_mean(self) -> float:
        return sum(run.refused for run in self.runs) / len(self.runs)

    @property
    def refused_most(self) -> int:
        return max(run.refused for run in self.runs)

    @property
    def refused_last_at(self) -> float:
        return max(run.refused_last_at for run in self.runs)

    @property
    def ratio_mean(self) -> float:
        return sum(run.finished_at for run in self.runs) / len(self.runs) / self.ideal_s

    @property
    def ratio_most(self) -> float:
        return max(run.finished_at for run in self.runs) / self.ideal_s

    @property
    def strangers_refused(self) -> float:
        sent = sum(run.strangers for run in self.runs)
        return sum(run.strangers_refused for run in self.runs) / sent if sent else 0.0

    def __str__(self) -> str:
        refused = f"{self.refused_mean:6.0f} {self.refused_most:5}"
        return (
            f"{refused} {self.ratio_mean:.3f} {self.ratio_most:.3f} {self.strangers_refused:5.0%}"
        )


def measure(pool: Executor, scenario: Scenario, *, sdk: bool, seed: int) -> Outcome:
    """Run a scenario at all its alignments."""
    # A third of the runs is enough for the mean of the SDK's way.
    step = 3 if sdk and scenario.alignments == ALIGNMENTS else 1
    turns = range(0, scenario.alignments, step)
    run = functools.partial(simulate, scenario, sdk=sdk, seed=seed)
    return Outcome(runs=list(pool.map(run, turns, chunksize=5)), ideal_s=scenario.ideal_s())


def missed(scenario: Scenario, ours: Outcome, theirs: Outcome) -> list[str]:
    """The goals of a scenario that were missed, each by its worst run."""
    found = []
    refused: float = ours.refused_most
    most = scenario.most_refused
    if 0 < most < 1:
        refused, most = ours.refused_mean, most * theirs.refused_mean
    if refused > most:
        found.append(f"{refused:.1f} refusals, not {most:.1f}")
    if ours.refused_last_at > scenario.refused_until_s:
        found.append(f"refused after {ours.refused_last_at:.1f} s")
    if ours.ratio_most > scenario.most_ratio:
        found.append(f"makespan {ours.ratio_most:.3f} of the ideal, not {scenario.most_ratio}")
    return found


class _Ticking(Clock):
    """Advances by 0.05 s at each call."""

    monotonic = staticmethod(itertools.count(0.0, 0.05).__next__)


def grant_us() -> float:
    """Microseconds per permit without contention: acquire, and release with headers."""
    limiter = RateLimiter(clock=_Ticking())
    said = RateLimit(
        limit=75, remaining=74, reset_seconds=0, policies=(Policy(75, 1), Policy(750, 60))
    )

    def once() -> None:
        permit = limiter.acquire(None, left_s=300.0)
        assert isinstance(permit, Permit)
        limiter.release(permit, said=said)

    # Many short runs: other programs disturb the fastest one least.
    return min(timeit.repeat(once, number=1_000, repeat=100)) / 1_000 * 1e6


GRANT_US = 3.0
LIVE_REFUSED = 1

_HEAD = """\
                                | ours                           | the SDK's way
                                | refused      ÷ ideal    others | refused      ÷ ideal    others
scenario                        |   mean  most  mean  most  lost |   mean  most  mean  most  lost"""


def main(argv: Sequence[str]) -> int:
    """Print a row for each scenario; returns 1 if a goal was missed."""
    parser = argparse.ArgumentParser(prog="scripts/bench pacing", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of latencies and the other program")
    seed = parser.parse_args(argv).seed
    started = time.monotonic()
    print(f"{REQUESTS} requests a run, server 75/s and 750/min, seed {seed}\n{_HEAD}")
    misses = []
    refused = 0.0
    worst = 0.0
    with ProcessPoolExecutor() as pool:
        for scenario in SCENARIOS:
            ours = measure(pool, scenario, sdk=False, seed=seed)
            theirs = measure(pool, scenario, sdk=True, seed=seed)
            print(f"{scenario.name:31} | {ours} | {theirs}", flush=True)
            misses += [f"{scenario.name}: {miss}" for miss in missed(scenario, ours, theirs)]
            refused += ours.refused_mean
            worst = max(worst, ours.ratio_most)
    shared = threads_and_tasks()
    if shared.refused > LIVE_REFUSED:
        misses.append(f"threads and tasks: {shared.refused} refusals, not {LIVE_REFUSED}")
    print(
        f"16 threads and 16 tasks over loopback, 40/s, real time: {shared.requests} requests, "
        f"{shared.refused} refused, {shared.seconds:.2f} s, {shared.ratio:.3f} of the ideal"
    )
    grant = grant_us()
    if grant >= GRANT_US:
        misses.append(f"a grant costs {grant:.2f} us, not {GRANT_US:g}")
    print(f"a grant without contention (acquire, release with headers): {grant:.2f} us")
    for miss in misses:
        print(f"MISSED  {miss}")
    print(
        f"pacing: {len(misses)} goals missed, refused {refused:.1f}, worst makespan {worst:.4f}, "
        f"grant {grant:.2f} us, seed {seed}, {time.monotonic() - started:.0f} s"
    )
    return 1 if misses else 0

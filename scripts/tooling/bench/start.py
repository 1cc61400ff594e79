"""Start: import and make a client, against httpx; and run a whole one-page script."""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence

from tooling.bench._contestants import KEY
from tooling.bench._figures import Figure, show
from tooling.bench._pages import REVISION, Listing
from tooling.bench._peers import environment, peers_python
from tooling.bench._server import page_server

_TIMED = "import time\nbegun = time.process_time()\n{}\nprint(time.process_time() - begun)"
_OURS = f"""import klaviyo_variant_jobs
klaviyo_variant_jobs.Client({KEY!r}, revision={REVISION!r})"""
_HTTPX = "import httpx\nhttpx.Client()"

# Each as in its README. Over plain http the SDK makes no TLS context, which it would need for the
# API, so its script makes one. Our client always makes one.
_OUR_SCRIPT = f"""from klaviyo_variant_jobs import Client
with Client({KEY!r}, revision={REVISION!r}, base_url="{{url}}") as client:
    print(sum(1 for job in client.iter_jobs()))"""
_SDK_SCRIPT = f"""import ssl
from klaviyo_api import KlaviyoAPI
ssl.create_default_context()
klaviyo = KlaviyoAPI({KEY!r}, test_host="{{url}}")
print(len(klaviyo.Catalogs.get_bulk_create_variants_jobs().data))"""


def main(argv: Sequence[str]) -> int:
    """Measure, print, and return 0."""
    parser = argparse.ArgumentParser(prog="bench start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--no-peers", action="store_true", help="leave the official SDK out")
    options = parser.parse_args(argv)
    peers = None if options.no_peers else peers_python()
    python = str(peers or sys.executable)
    env = environment(with_sdk=peers is not None)
    # Let Python write .pyc files: else each process would compile our modules again.
    env.pop("PYTHONDONTWRITEBYTECODE", None)

    def output(code: str) -> str:
        return subprocess.run(
            [python, "-c", code], env=env, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def whole(code: str) -> float:
        before = _children_s()
        if output(code).strip() != "100":
            raise AssertionError(f"the script did not read 100 jobs: {code}")
        return _children_s() - before

    with page_server() as server:
        url = server + Listing(pages=1).prefix
        runs: dict[str, Callable[[], float]] = {
            "httpx, import and client": lambda: float(output(_TIMED.format(_HTTPX))),
            "ours, import and client": lambda: float(output(_TIMED.format(_OURS))),
            "ours, whole script": lambda: whole(_OUR_SCRIPT.format(url=url)),
        }
        if peers:
            runs["sdk, whole script"] = lambda: whole(_SDK_SCRIPT.format(url=url))
        cpu_s = _medians(runs, options.rounds)
    figures = [
        Figure(
            "import and client, ours/httpx",
            cpu_s["ours, import and client"] / cpu_s["httpx, import and client"],
            at_most=1.3,
        )
    ]
    if peers:
        figures.append(
            Figure(
                "whole script, sdk/ours",
                cpu_s["sdk, whole script"] / cpu_s["ours, whole script"],
                at_least=3.0,
            )
        )
    return show("start", [(name, f"{s * 1000:.0f} ms") for name, s in cpu_s.items()], figures)


def _medians(runs: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    measured: dict[str, list[float]] = {name: [] for name in runs}
    for nth in range(rounds + 1):
        for name, run in runs.items():
            seconds = run()
            if nth:  # The first run compiles modules and warms the disk cache.
                measured[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in measured.items()}


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime

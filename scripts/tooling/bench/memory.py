"""Peak memory of a long list with one status, against that of a short one."""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tooling.bench._contestants import KEY, counted
from tooling.bench._figures import Figure, show
from tooling.bench._pages import JOBS_PER_PAGE, REVISION, Listing
from tooling.bench._peers import environment
from tooling.bench._server import page_server


def main(argv: Sequence[str]) -> int:
    """Measure, print, and return 0."""
    parser = argparse.ArgumentParser(prog="bench memory", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", type=int, default=20, help="pages")
    parser.add_argument("--long", type=int, default=1000, help="pages")
    options = parser.parse_args(argv)
    peaks: dict[int, list[float]] = {options.short: [], options.long: []}
    with page_server() as server:
        for _ in range(options.rounds):
            for pages, measured in peaks.items():
                measured.append(_peak_mb(server, pages))
    short, long = (statistics.median(peaks[pages]) for pages in (options.short, options.long))
    return show(
        "memory",
        [
            (f"{options.short} pages", f"{short:.1f} MB"),
            (f"{options.long} pages", f"{long:.1f} MB"),
        ],
        [Figure(f"peak, {options.long}/{options.short} pages", long / short, at_most=1.05)],
    )


def _peak_mb(server: str, pages: int) -> float:
    answer = subprocess.run(
        [sys.executable, "-m", __name__, server + Listing(pages=pages).prefix],
        env=environment(with_sdk=False),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    jobs, peak_mb = answer.split()
    if int(jobs) != pages * JOBS_PER_PAGE:
        raise AssertionError(f"read {jobs} jobs from {pages} pages")
    return float(peak_mb)


def _own_peak_mb() -> float:
    status = Path("/proc/self/status")
    if status.exists():  # On Linux getrusage includes the peak of the parent before the fork.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _read(url: str) -> None:
    from klaviyo_variant_jobs import Client, RateLimiter

    limiter = RateLimiter(999_999, 999_999)
    with Client(KEY, revision=REVISION, base_url=url, rate_limiter=limiter) as client:
        print(counted(client.iter_jobs(status="complete")), _own_peak_mb())


if __name__ == "__main__":
    _read(sys.argv[1])

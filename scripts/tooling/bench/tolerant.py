"""The tolerant path: pages with one odd job each, against pages that fit the schema."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from tooling.bench._figures import Figure, show
from tooling.bench._pages import Listing
from tooling.bench._rounds import Lap, run_rounds
from tooling.bench._server import page_server


def main(argv: Sequence[str]) -> int:
    """Measure, print, and return 0."""
    parser = argparse.ArgumentParser(prog="bench tolerant", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--pages", type=int, default=50)
    options = parser.parse_args(argv)
    fast = Lap("ours", Listing("small", pages=options.pages))
    tolerant = Lap("ours", Listing("odd", pages=options.pages))
    with page_server() as server:
        measured = run_rounds((fast, tolerant), server=server, rounds=options.rounds, peers=None)
    return show(
        "tolerant",
        [
            ("fits the schema", f"{measured.ms_per_page(fast):.2f} ms/page"),
            ("one odd job a page", f"{measured.ms_per_page(tolerant):.2f} ms/page"),
        ],
        [Figure("tolerant/fast", measured.ratio(tolerant, fast), at_most=3.0)],
    )

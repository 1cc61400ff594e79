"""CPU per page: the official SDK, plain httpx, http.client with Structs, and ours."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import attrs

from tooling.bench._figures import Figure, show
from tooling.bench._pages import Listing
from tooling.bench._peers import peers_python
from tooling.bench._rounds import Lap, run_rounds
from tooling.bench._server import page_server


@attrs.frozen
class Ratio:
    """The CPU of one lap divided by another's, and the goal."""

    name: str
    dividend: Lap
    divisor: Lap
    at_least: float | None = None
    at_most: float | None = None


def main(argv: Sequence[str]) -> int:
    """Measure, print, and return 0."""
    parser = argparse.ArgumentParser(prog="bench cpu", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pages", type=int, default=50, help="in each list")
    parser.add_argument("--no-peers", action="store_true", help="leave the official SDK out")
    options = parser.parse_args(argv)
    peers = None if options.no_peers else peers_python()
    ratios = _ratios(options.pages, with_sdk=peers is not None)
    laps = list(dict.fromkeys(lap for r in ratios for lap in (r.dividend, r.divisor)))
    small = Listing("small", "plain", options.pages)
    others = ("bare", "bare_async", "ours_httpx2", "ours_async_httpx2", "ours_async_aiohttp")
    laps += [Lap(contestant, small) for contestant in others]
    if peers:
        laps.append(Lap("sdk_kept", small))
    with page_server() as server:
        measured = run_rounds(laps, server=server, rounds=options.rounds, peers=peers)
    return show(
        "cpu",
        [(_label(lap), f"{measured.ms_per_page(lap):.2f} ms/page") for lap in laps],
        [
            Figure(r.name, measured.ratio(r.dividend, r.divisor), r.at_least, r.at_most)
            for r in ratios
        ],
    )


def _ratios(pages: int, *, with_sdk: bool) -> list[Ratio]:
    small = Listing("small", "plain", pages)
    small_gzip = Listing("small", "gzip", pages)
    large = Listing("large", "plain", pages)
    large_gzip = Listing("large", "gzip", pages)
    sdk, ours = Lap("sdk", small), Lap("ours", small)
    against_sdk = [
        Ratio("sdk/ours", sdk, ours, at_least=6.0),
        Ratio("sdk/ours async", sdk, Lap("ours_async", small), at_least=4.5),
    ]
    return [
        *(against_sdk if with_sdk else []),
        Ratio("ours/dicts", ours, Lap("dicts", small), at_most=0.75),
        Ratio("ours/dicts gzip", Lap("ours", small_gzip), Lap("dicts", small_gzip), at_most=0.75),
        Ratio("ours/dicts large", Lap("ours", large), Lap("dicts", large), at_most=0.6),
        Ratio(
            "ours/dicts large gzip", Lap("ours", large_gzip), Lap("dicts", large_gzip), at_most=0.6
        ),
        Ratio("ours/structs", ours, Lap("structs", small), at_most=2.6),
        Ratio(
            "ours/structs gzip", Lap("ours", small_gzip), Lap("structs", small_gzip), at_most=2.6
        ),
    ]


def _label(lap: Lap) -> str:
    return f"{lap.contestant}, {lap.listing.kind} {lap.listing.encoding}"

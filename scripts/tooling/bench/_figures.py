"""The output of all figures: a table, and one line to compare with earlier runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs


@attrs.frozen
class Figure:
    """A measured value and its goal."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def goal(self) -> str:
        return f">= {self.at_least:g}" if self.at_most is None else f"<= {self.at_most:g}"

    @property
    def met(self) -> bool:
        """Compares the rounded value, so that the table is consistent."""
        shown = round(self.value, 2)
        return shown >= (self.at_least or 0.0) and (self.at_most is None or shown <= self.at_most)


def show(name: str, measured: Iterable[tuple[str, str]], figures: Sequence[Figure]) -> int:
    """Print the measurements, the figures with their goals, and the line; returns 0."""
    rows = list(measured)
    width = max(len(label) for label in [*(row[0] for row in rows), *(f.name for f in figures)])
    for label, value in rows:
        print(f"{label:<{width}}  {value:>12}")
    print()
    print(f"{'ratio':<{width}}  {'measured':>12}  {'goal':<8}")
    for figure in figures:
        verdict = "met" if figure.met else "MISSED"
        print(f"{figure.name:<{width}}  {figure.value:>12.2f}  {figure.goal:<8}  {verdict}")
    print()
    print(f"{name}:", "; ".join(f"{f.name} {f.value:.2f} {f.goal}" for f in figures))
    return 0

"""What every figure prints: a table, and one line to compare with that of another day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs


@attrs.frozen
class Figure:
    """A measured ratio and the goal for it."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def goal(self) -> str:
        return f">= {self.at_least:g}" if self.at_most is None else f"<= {self.at_most:g}"

    @property
    def met(self) -> bool:
        """Judged as shown, so that the table never contradicts itself."""
        shown = round(self.value, 2)
        return shown >= (self.at_least or 0.0) and (self.at_most is None or shown <= self.at_most)


def show(name: str, measured: Iterable[tuple[str, str]], figures: Sequence[Figure]) -> int:
    """Print what was measured, the figures with their goals, and the line; the exit code is 0."""
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

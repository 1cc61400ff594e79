"""Tables that fit the terminal: first fewer columns, then a block per row; no value is cut."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import attrs
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

T = TypeVar("T")

_GAP = 2
_NARROWEST = 16
"""The least width, in cells, that long text is folded to."""
_BLOCK_NARROWEST = 6
"""The same in a block. On narrower terminals lines wrap: rich would cut or drop the text."""


@attrs.frozen
class Column(Generic[T]):
    """One column: its heading, and the text of its cells."""

    heading: str
    cell: Callable[[T], str]
    optional: bool = attrs.field(default=False, kw_only=True)
    """Left out, the last one first, if the table is too wide."""
    folds: bool = attrs.field(default=False, kw_only=True)
    """Whether the text may take several lines."""
    right: bool = attrs.field(default=False, kw_only=True)
    """Whether it is aligned to the right, for numbers."""
    style: Callable[[str], str] = attrs.field(default=lambda text: "", kw_only=True)
    """The rich style of a cell, by its text."""


def render(columns: Sequence[Column[Any]], rows: Sequence[Sequence[str]]) -> tuple[str, list[str]]:
    """The rows as text for stdout, and the headings of the columns left out.

    On a terminal the text fits its width. In a pipe it has every column, and nothing is folded.
    """
    on_terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    wide = [
        max([cell_len(column.heading), *(cell_len(row[n]) for row in rows)])
        for n, column in enumerate(columns)
    ]
    shown = list(range(len(columns)))
    if on_terminal:
        least = [min(w, _NARROWEST) if c.folds else w for c, w in zip(columns, wide, strict=True)]
        shown = _fitting(columns, least, console.width)
        if _total(shown, least) > console.width:
            heading = max(cell_len(column.heading) for column in columns)
            console.width = max(console.width, heading + _GAP + _BLOCK_NARROWEST)
            return _captured(console, _blocks(columns, rows)), []
    else:
        console.width = _total(shown, wide)
    left_out = [column.heading for n, column in enumerate(columns) if n not in shown]
    return _captured(console, [_table(columns, rows, shown)]), left_out


def _fitting(columns: Sequence[Column[Any]], least: Sequence[int], width: int) -> list[int]:
    shown = list(range(len(columns)))
    for n in reversed(range(len(columns))):
        if columns[n].optional and _total(shown, least) > width:
            shown.remove(n)
    return shown


def _total(shown: Sequence[int], widths: Sequence[int]) -> int:
    return sum(widths[n] for n in shown) + _GAP * (len(shown) - 1)


def _table(
    columns: Sequence[Column[Any]], rows: Sequence[Sequence[str]], shown: list[int]
) -> Table:
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for n in shown:
        column = columns[n]
        table.add_column(
            Text(column.heading),
            justify="right" if column.right else "left",
            no_wrap=not column.folds,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(row[n], style=columns[n].style(row[n])) for n in shown))
    return table


def _blocks(columns: Sequence[Column[Any]], rows: Sequence[Sequence[str]]) -> list[Table | Text]:
    """One block of `heading value` lines for each row, a blank line between."""
    blocks: list[Table | Text] = []
    for row in rows:
        block = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, show_header=False)
        block.add_column(style="bold", no_wrap=True)
        block.add_column(overflow="fold")
        for column, text in zip(columns, row, strict=True):
            block.add_row(Text(column.heading), Text(text, style=column.style(text)))
        blocks += [block, Text()]
    return blocks[:-1]


def _captured(console: Console, shown: Sequence[Table | Text]) -> str:
    # Captured and not printed by rich, which ends the process when a pipe is closed.
    with console.capture() as capture:
        for part in shown:
            console.print(part)
    return "".join(line.rstrip(" ") + "\n" for line in capture.get().splitlines())

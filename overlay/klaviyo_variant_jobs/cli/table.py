"""Tables that fit the terminal: first fewer columns, then shorter texts, then a block per row."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import attrs
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from .text import shortened

T = TypeVar("T")

_GAP = 2
_INDENT = "  "
"""Before rows that stand below a line of their own."""


@attrs.frozen
class Column(Generic[T]):
    """One column: its heading, and the text of its cells."""

    heading: str
    cell: Callable[[T], str]
    brief: Callable[[T], str] | None = attrs.field(default=None, kw_only=True)
    """The text on a terminal, if it is another."""
    optional: bool = attrs.field(default=False, kw_only=True)
    """Left out, the last one first, if the table is too wide."""
    least: int | None = attrs.field(default=None, kw_only=True)
    """The cells to which a terminal may shorten longer texts; None for never."""
    keeps_end: bool = attrs.field(default=True, kw_only=True)
    """Whether a shortened text keeps its end too."""
    above: bool = attrs.field(default=False, kw_only=True)
    """For a first column: whether a terminal shows it above the rows that have it in common."""
    right: bool = attrs.field(default=False, kw_only=True)
    """Whether it is aligned to the right, for numbers."""
    style: Callable[[str], str] = attrs.field(default=lambda text: "", kw_only=True)
    """The rich style of a cell, by its text."""


def render(columns: Sequence[Column[Any]], rows: Sequence[Sequence[str]]) -> tuple[str, list[str]]:
    """The rows as text for stdout, and the headings of what was left out or shortened.

    On a terminal the text fits its width. In a pipe it has every column, and nothing is shortened.
    """
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    wide = {
        n: max([cell_len(column.heading), *(cell_len(row[n]) for row in rows)])
        for n, column in enumerate(columns)
    }
    if not sys.stdout.isatty():
        return _captured(console, _table(columns, rows, wide)), []
    indent = len(_INDENT) if columns[0].above else 0
    room = _room(columns, wide, console.width - indent)
    if room is None:
        return _captured(console, _blocks(columns, rows)), []
    left_out = [c.heading for n, c in enumerate(columns) if n not in room and not c.above]
    shorter = [f"whole {columns[n].heading}" for n, width in room.items() if width < wide[n]]
    return _captured(console, _table(columns, rows, room)), left_out + shorter


def _room(
    columns: Sequence[Column[Any]], wide: Mapping[int, int], width: int
) -> dict[int, int] | None:
    """The width of each column that a terminal shows in a table; None if there is no room."""
    room = {n: wide[n] for n, column in enumerate(columns) if not column.above}
    least = {n: min(room[n], columns[n].least or room[n]) for n in room}
    for n in reversed(list(room)):
        if columns[n].optional and _total(least) > width:
            del room[n], least[n]
    if _total(least) > width:
        return None
    while _total(room) > width:
        widest = max((n for n in room if room[n] > least[n]), key=lambda n: room[n])
        room[widest] -= 1
    return room


def _total(room: Mapping[int, int]) -> int:
    return sum(room.values()) + _GAP * (len(room) - 1)


def _table(
    columns: Sequence[Column[Any]], rows: Iterable[Sequence[str]], room: Mapping[int, int]
) -> Iterator[Text]:
    shown = {n: columns[n] for n in room}
    indent = "" if 0 in shown else _INDENT
    heading = _line(shown, [column.heading for column in columns], room, indent)
    yield Text(heading.plain, "bold")
    above = None
    for row in rows:
        if indent and row[0] != above:
            above = row[0]
            yield Text(above)
        yield _line(shown, row, room, indent)


def _line(
    shown: Mapping[int, Column[Any]], row: Sequence[str], room: Mapping[int, int], indent: str
) -> Text:
    line = Text(indent)
    for n, column in shown.items():
        text = shortened(row[n], room[n], end=column.keeps_end)
        padding = " " * (room[n] - cell_len(text))
        line.append(padding * column.right)
        line.append(text, column.style(row[n]))
        line.append(padding * (not column.right) + " " * _GAP)
    line.rstrip()
    return line


def _blocks(columns: Sequence[Column[Any]], rows: Iterable[Sequence[str]]) -> Iterator[Text]:
    """One block of `heading value` lines for each row, a blank line between."""
    width = max(cell_len(column.heading) for column in columns) + _GAP
    for number, row in enumerate(rows):
        if number:
            yield Text()
        for column, text in zip(columns, row, strict=True):
            heading = f"{column.heading:<{width}}"
            yield Text.assemble((heading, "bold"), (text, column.style(text)))


def _captured(console: Console, lines: Iterable[Text]) -> str:
    # Captured and not printed by rich, which ends the process when a pipe is closed.
    console.width = max(console.width, 1)  # At 0 it would drop everything.
    with console.capture() as capture:
        for line in lines:
            console.print(line, soft_wrap=True)
    return capture.get()

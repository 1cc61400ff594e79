"""Rows on stdout: as a table, as JSON lines, as one JSON array, or as CSV."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import attrs

from .table import Column, render
from .text import json_line, visible

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

OUTPUTS = ("table", "ndjson", "json", "csv")


@attrs.frozen(kw_only=True)
class Layout(Generic[T]):
    """How items of one kind look in each output."""

    columns: Sequence[Column[T]]
    """The columns of a table."""
    header: Sequence[str]
    """The first row of a CSV file."""
    values: Callable[[T], Sequence[str]]
    """The cells of an item in a CSV file."""
    document: Callable[[T], Any] = lambda item: item
    """What JSON shows of an item."""


class Writer(Protocol[T_contra]):
    """Writes items one by one. `close` writes the end, also after a failure (`failed`)."""

    @property
    def shown(self) -> bool:
        """Whether the items written so far are on stdout in a readable form."""

    def write(self, item: T_contra) -> None: ...

    def close(self, *, failed: bool = False) -> None: ...


def open_writer(output: str, layout: Layout[T], note: Callable[[str], None]) -> Writer[T]:
    """A writer for one of `OUTPUTS`; `note` is called with remarks for stderr."""
    if output == "table":
        return _TableWriter(layout, note)
    if output == "csv":
        return _CsvWriter(layout)
    return _NdjsonWriter(layout) if output == "ndjson" else _JsonWriter(layout)


class _NdjsonWriter(Generic[T]):
    shown = True

    def __init__(self, layout: Layout[T]) -> None:
        self._document = layout.document

    def write(self, item: T) -> None:
        sys.stdout.write(json_line(self._document(item)) + "\n")
        sys.stdout.flush()

    def close(self, *, failed: bool = False) -> None:
        pass


class _JsonWriter(Generic[T]):
    """One array, written as it grows; closed even after a failure, so that it can be parsed."""

    def __init__(self, layout: Layout[T]) -> None:
        self._document = layout.document
        self._before = "[\n"
        self.shown = False

    def write(self, item: T) -> None:
        text = self._before + json_line(self._document(item))
        # Set first: a signal may interrupt the write after the text is out.
        self._before = ",\n"
        sys.stdout.write(text)
        sys.stdout.flush()

    def close(self, *, failed: bool = False) -> None:
        sys.stdout.write("[]\n" if self._before == "[\n" else "\n]\n")
        sys.stdout.flush()
        self.shown = True


class _CsvWriter(Generic[T]):
    shown = True

    def __init__(self, layout: Layout[T]) -> None:
        self._header: Sequence[str] | None = layout.header
        self._values = layout.values
        self._rows = csv.writer(sys.stdout, lineterminator="\n")
        # A file gets the raw data; a terminal would run its escape sequences.
        self._on_terminal = sys.stdout.isatty()

    def write(self, item: T) -> None:
        self._begin()
        values = self._values(item)
        self._rows.writerow(map(visible, values) if self._on_terminal else values)
        sys.stdout.flush()

    def close(self, *, failed: bool = False) -> None:
        self._begin()
        sys.stdout.flush()

    def _begin(self) -> None:
        header, self._header = self._header, None
        if header is not None:
            self._rows.writerow(header)


class _TableWriter(Generic[T]):
    """Keeps all cells until the end: column widths depend on the last row."""

    def __init__(self, layout: Layout[T], note: Callable[[str], None]) -> None:
        self._columns = layout.columns
        on_terminal = sys.stdout.isatty()
        self._cells = [(on_terminal and c.brief) or c.cell for c in layout.columns]
        self._note = note
        self._rows: list[list[str]] = []
        self.shown = False

    def write(self, item: T) -> None:
        self._rows.append([cell(item) for cell in self._cells])

    def close(self, *, failed: bool = False) -> None:
        if not self._rows and (failed or sys.stdout.isatty()):
            return  # A heading alone says nothing, and after a failure that there are no jobs.
        text, left_out = render(self._columns, self._rows)
        sys.stdout.write(text)
        sys.stdout.flush()
        self.shown = True
        if left_out:
            self._note(f"no room for: {', '.join(left_out)}; --output csv has them")

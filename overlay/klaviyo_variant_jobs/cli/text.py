"""Values as text: escaped for a terminal, plain for files."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from rich.cells import cell_len, set_cell_size

NOTHING = "-"


def visible(text: str) -> str:
    """The text with control characters and those that hide or reorder text escaped (`\\x1b`)."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, width: int, *, end: bool = True) -> str:
    """The text in `width` cells of a terminal: … for its middle, or for its end if not `end`."""
    if cell_len(text) <= width:
        return text
    tail = (width - 1) // 2 if end else 0
    head = set_cell_size(text, width - 1 - tail).rstrip(" ")
    return f"{head}…{set_cell_size(text[::-1], tail)[::-1]}"


def cell(value: object) -> str:
    """A value in a table; times in UTC to the second."""
    if value is None:
        return NOTHING
    if isinstance(value, datetime):
        return _moment(value)
    return visible(plain(value))


def _moment(moment: datetime) -> str:
    # A time whose year in UTC would be 0 or 10000 keeps its own offset.
    with contextlib.suppress(OverflowError):
        moment = moment.astimezone(UTC)
    return moment.isoformat(" ", "seconds").replace("+00:00", "Z")


def plain(value: object) -> str:
    """A value in a file: empty for None, JSON for lists and objects.

    A lone surrogate, which UTF-8 cannot encode, is written as an escape (`\\ud83d`).
    """
    value = builtin(value)
    if value is None:
        return ""
    return _encodable(value) if isinstance(value, str) else _json(value)


def json_line(document: object) -> str:
    """A document as JSON on one line, every field of a model included, times in ISO 8601.

    Characters that `visible` escapes are escaped in the JSON way, so parsing gives them back.
    """
    text = _json(document)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


# Integers too long for Python to convert are decoded as decimals.
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def _json(value: object) -> str:
    try:
        return _ENCODER.encode(value).decode()
    except ValueError:
        return _json_of_anything(builtin(value))


def _json_of_anything(value: Any) -> str:
    """JSON of values that msgspec refuses: lone surrogates, an `int` of more than 4,300 digits."""
    if isinstance(value, dict):
        members = (f"{_json_of_anything(k)}:{_json_of_anything(v)}" for k, v in value.items())
        return f"{{{','.join(members)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_json_of_anything, value))}]"
    if isinstance(value, str):
        return _encodable(json.dumps(value, ensure_ascii=False))
    if type(value) is int:
        value = Decimal(value)
    return _ENCODER.encode(value).decode()


def builtin(value: object) -> Any:
    """The value in the types that JSON has, and decimals."""
    return msgspec.to_builtins(value, builtin_types=(Decimal,))


def _encodable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()

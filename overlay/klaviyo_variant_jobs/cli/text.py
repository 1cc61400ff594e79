"""Values as text: safe to look at on a terminal, and plain for files."""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

NOTHING = "-"


def visible(text: str) -> str:
    """The text with everything that could steer a terminal written as an escape (`\\x1b`).

    Besides control characters that is what reorders or hides the text around it.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def cell(value: object) -> str:
    """A value in a table; times in UTC to the second."""
    if value is None:
        return NOTHING
    if isinstance(value, datetime):
        return _moment(value)
    return visible(plain(value))


def _moment(moment: datetime) -> str:
    # One whose year in UTC would be 0 or 10000 keeps its own offset.
    with contextlib.suppress(OverflowError):
        moment = moment.astimezone(UTC)
    return moment.isoformat(" ", "seconds").replace("+00:00", "Z")


def plain(value: object) -> str:
    """A value in a file; empty for nothing, JSON for what is more than one value.

    Half of a surrogate pair, which no file can hold, is written as an escape (`\\ud83d`).
    """
    value = msgspec.to_builtins(value)
    if value is None:
        return ""
    if isinstance(value, str):
        return _encodable(value)
    return _json(value)


def _encodable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def json_line(document: object) -> str:
    """A document as JSON on one line, every field of a model included, times in ISO 8601.

    What could steer a terminal is escaped as in `visible`, so that a reader gets it back exactly.
    """
    text = _json(document)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _json(value: object) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except ValueError:  # It has half a surrogate pair, or an integer of more than 4,300 digits.
        return _json_of_anything(msgspec.to_builtins(value))


def _json_of_anything(value: Any) -> str:
    digits = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        # What JSON has no number for becomes null, as it does in msgspec.
        value = json.loads(json.dumps(value), parse_constant=lambda name: None)
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    finally:
        sys.set_int_max_str_digits(digits)
    return _encodable(text)

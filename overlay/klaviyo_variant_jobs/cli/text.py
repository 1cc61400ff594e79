"""Values as text: safe to look at on a terminal, and plain for files."""

from __future__ import annotations

import re
from datetime import UTC, datetime

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
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    return visible(plain(value))


def plain(value: object) -> str:
    """A value in a file; empty for nothing, JSON for what is more than one value."""
    value = msgspec.to_builtins(value)
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


# JSON escapes what is below a space by itself. These are the C1 controls, which some terminals
# obey, and the marks that reorder or hide text or end a line.
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def json_line(document: object) -> str:
    """A document as JSON on one line, every field of a model included, times in ISO 8601."""
    text = msgspec.json.encode(document).decode()
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)

"""Makes text from untrusted documents safe to print.

Terminals run escape sequences, bidirectional characters can mislead readers, and GitHub Actions
takes a line that starts with `::` or contains `##[` for a command.
"""

from __future__ import annotations

import re
import sys

_COMMAND = re.compile(r"^(\s*):(?=:)|##(?=\[)")


def one_line(text: str, longest: int | None = None) -> str:
    """The text on one line, with invisible characters as escapes.

    Args:
        longest: the most characters; None for no limit.
    """
    line = _shown(" ".join(text.split()))
    return line if longest is None or len(line) <= longest else f"{line[: longest - 3]}..."


def lines(text: str) -> str:
    """The text with each line made safe, and its line breaks and indentation kept."""
    return "\n".join(map(_shown, text.split("\n")))


def say(text: str, *, error: bool = False) -> None:
    """Print a text made safe; characters that the encoding lacks become escapes."""
    stream = sys.stderr if error else sys.stdout
    encoding = stream.encoding or "utf-8"
    shown = lines(text).encode(encoding, "backslashreplace").decode(encoding)
    print(shown, file=stream)


def _shown(line: str) -> str:
    return _COMMAND.sub(_disarmed, "".join(map(_visible, line)))


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return (
        f"\\x{code:02x}"
        if code < 0x100
        else f"\\u{code:04x}"
        if code < 0x10000
        else f"\\U{code:08x}"
    )


def _disarmed(found: re.Match[str]) -> str:
    return f"{found[0]} "

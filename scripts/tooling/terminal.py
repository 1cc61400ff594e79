"""Text with words of a document in it, made safe to show.

A terminal obeys escape sequences, a reader is misled by characters that change the direction of
writing, and GitHub takes a line for a command that starts with `::` or holds `##[`.
"""

from __future__ import annotations

import re
import sys

_COMMAND = re.compile(r"^(\s*):(?=:)|##(?=\[)", re.MULTILINE)


def one_line(text: str) -> str:
    """The text on one line, with whatever cannot be seen spelled out."""
    return _COMMAND.sub(_disarmed, "".join(map(_visible, text)))


def lines(text: str) -> str:
    """The same for each line of a text whose line breaks are ours."""
    return "\n".join(map(one_line, text.split("\n")))


def say(text: str, *, error: bool = False) -> None:
    """Print a text; what the output's encoding cannot express is spelled out as well."""
    stream = sys.stderr if error else sys.stdout
    encoding = stream.encoding or "utf-8"
    shown = lines(text).encode(encoding, "backslashreplace").decode(encoding)
    print(shown, file=stream)


def is_visible(text: str) -> bool:
    """Whether all of a text can be seen as it is."""
    return text.isprintable()


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

"""Text with words of a document in it, made safe to show.

A terminal obeys escape sequences, a reader is misled by characters that change the direction of
writing, and GitHub takes a line for a command that starts with `::` or holds `##[`.
"""

from __future__ import annotations

import re
import sys

_COMMAND = re.compile(r"^(\s*):(?=:)|##(?=\[)")


def one_line(text: str, longest: int | None = None) -> str:
    """The words of a text on one line, with whatever else cannot be seen spelled out.

    Args:
        longest: how many characters to cut it to; by default it stays whole.
    """
    line = _shown(" ".join(text.split()))
    return line if longest is None or len(line) <= longest else f"{line[: longest - 3]}..."


def lines(text: str) -> str:
    """A text whose line breaks and indentation are ours, with each line made safe."""
    return "\n".join(map(_shown, text.split("\n")))


def say(text: str, *, error: bool = False) -> None:
    """Print a text; what the output's encoding cannot express is spelled out as well."""
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

"""Turns text of a document into Python source: literals, names, docstrings.

Documents come from the network. Their text gets into generated code only through this module: as a
literal or docstring that evaluates to that text, or as a name that matches a strict pattern.
Everything else is refused.
"""

from __future__ import annotations

import ast
import keyword
import re
import textwrap
from collections.abc import Sequence

from tooling.terminal import one_line

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}", re.ASCII)
# An attribute with such a name would hide the type from annotations in the class.
_TYPES = frozenset({"bool", "dict", "float", "int", "list", "str"})
_LINE = 98


class UnusableTextError(Exception):
    """A text that is refused in generated code; the message is one printable line."""


def name(text: str) -> str:
    """The text if it can name a class, an attribute or a member."""
    if not _NAME.fullmatch(text) or keyword.iskeyword(text):
        raise UnusableTextError(f"{one_line(ascii(text), 80)} cannot be a name in Python")
    return text


def attribute(text: str) -> str:
    """The Python name of a member: the same, with `_` added to keywords and type names."""
    if keyword.iskeyword(text) or text in _TYPES:
        return f"{text}_"
    return name(text)


def literal(value: str | float | tuple[str, ...] | None) -> str:
    """A literal of the value, in ASCII."""
    text = ascii(value)
    if ast.literal_eval(text) != value:
        raise UnusableTextError(f"{one_line(text, 80)} cannot be written as a literal")
    return text


def docstring(
    said: str, indent: int = 0, *, more: str = "", arguments: Sequence[tuple[str, str]] = ()
) -> str:
    """A docstring of the text, wrapped for an indentation of `indent` spaces.

    Args:
        more: a second paragraph.
        arguments: the name and description of each argument.
    """
    # Leave room for the quotes.
    width = _LINE - indent - 6
    lines = _wrapped(said, width)
    if more:
        lines += ["", *_wrapped(more, width)]
    if arguments:
        lines += ["", "Args:"]
        for argument, words in arguments:
            first, *rest = _wrapped(f"{name(argument)}: {words}", width - 4)
            lines += [f"    {first}", *(f"        {line}" for line in rest)]
    text = "\n".join(f"{' ' * indent}{line}".rstrip() for line in lines).lstrip()
    if "\n\n" in text:
        text += f"\n{' ' * indent}"
    body = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    if body.endswith('"'):
        body = f'{body[:-1]}\\"'
    source = f'"""{body}"""'
    if ast.literal_eval(source) != text:
        raise UnusableTextError(f"{one_line(ascii(said), 80)} cannot be written as a docstring")
    return source


def _wrapped(text: str, width: int) -> list[str]:
    line = one_line(text, 10_000)
    return textwrap.wrap(line, width, break_on_hyphens=False) or [""]

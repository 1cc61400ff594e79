"""Values as text, and how the descriptions in two documents differ."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from itertools import takewhile

from tooling.schema import Fact
from tooling.terminal import one_line
from tooling.wire import FILTER, Wire

_WORDS_AT_MOST = 90
_QUOTED_AT_MOST = 1000
_COLUMNS = 100
# Spaces that a fold must not replace: those in short code, and those before what Markdown would
# take for a heading, an item, a quote, a table or a fence at the start of a line.
_KEPT_SPACES = re.compile(r"`[^`]{1,60}`| (?=[-+*#>=~|:]|```|\d+[.)](?: |$))")
_KEPT = "\0"


def changed_words(old: Wire, new: Wire) -> Iterator[tuple[str, str]]:
    """Each place whose docs differ, and a sentence that says how."""
    for where, after in new.places.items():
        before = old.places.get(where)
        if before is None:
            continue
        changes = [
            _change(key, was, now)
            for key in unique([*before.docs, *after.docs])
            for was, now in [[_own(docs.get(key), old, new) for docs in (before.docs, after.docs)]]
            if was != now
        ]
        if where == FILTER and lists_filters(old) != lists_filters(new):
            changes.append(_filter_table(old, new))
        if changes:
            yield where, f"{where}: {'; '.join(changes)}."


def lists_filters(wire: Wire) -> bool:
    """Whether the document has a table of filters (x-klaviyo-filters)."""
    return any(place.parent == FILTER for place in wire.places.values())


def _filter_table(old: Wire, new: Wire) -> str:
    came = lists_filters(new)
    said = ", ".join(
        f"{where.removeprefix(f'{FILTER}.')} ({plain(place.facts['operators'])})"
        for where, place in (new if came else old).places.items()
        if place.parent == FILTER
    )
    return f"the table of what can be filtered {'is new' if came else 'is gone'}: {said}"


def _own(value: Fact, *wires: Wire) -> Fact:
    """The text with dates, limits and scopes of either document replaced by placeholders."""
    if not isinstance(value, str):
        return value
    for wire in wires:
        if wire.revision:
            value = value.replace(wire.revision, "<revision>")
        for where in ("rate limit", "scopes"):
            for fact, said in wire.places[where].facts.items():
                for one in said if isinstance(said, tuple) else (said,):
                    value = value.replace(f"`{one}`", f"<{fact}>")
    return value


def _change(key: str, was: Fact, now: Fact) -> str:
    if was is None:
        return f"{key} is new: {words(now)}"
    if now is None:
        return f"{key} is gone: {words(was)}"
    if isinstance(was, str) and isinstance(now, str):
        was, now = _less_common_start(was, now)
    return f"{key} was {words(was)}, is {words(now)}"


def _less_common_start(was: str, now: str) -> tuple[str, str]:
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(was, now, strict=False)))
    start = was.rfind(" ", 0, max(same - 20, 0))
    return (was, now) if start <= 0 else (f"...{was[start:]}", f"...{now[start:]}")


def words(value: Fact) -> str:
    """A value for a sentence: text is quoted, and long values are cut."""
    text = one_line(plain(value), _WORDS_AT_MOST)
    return f'"{text}"' if isinstance(value, str) else text


def in_full(value: Fact) -> str:
    """A text in quotes, on one line, cut to `_QUOTED_AT_MOST` characters."""
    return f'"{one_line(plain(value), _QUOTED_AT_MOST)}"'


def plain(value: Fact) -> str:
    """A value as text: items joined by commas, pairs by a space."""
    if isinstance(value, tuple):
        return ", ".join(
            " ".join(map(plain, one)) if isinstance(one, tuple) else plain(one) for one in value
        )
    return str(value).lower() if isinstance(value, bool) else str(value)


def unique(names: list[str]) -> list[str]:
    """The names, each once, in the order of their first appearance."""
    return list(dict.fromkeys(names))


def folded(text: str) -> str:
    """Markdown of headings, paragraphs and items with its lines folded.

    An item stands on one line, or goes on in lines that are indented.
    """
    items = re.sub(r"\n +", " ", text.strip())
    return "\n".join(map(_folded, items.split("\n")))


def _folded(line: str) -> str:
    whole = _KEPT_SPACES.sub(lambda found: found[0].replace(" ", _KEPT), line)
    lines = textwrap.wrap(
        whole,
        _COLUMNS,
        subsequent_indent="  " if line.startswith("- ") else "",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return line if line.startswith("#") else "\n".join(lines).replace(_KEPT, " ")

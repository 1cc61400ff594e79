"""Compares two wire models; each change is a row with a level.

Levels, by the effect on code that imports the client:

`breaking`: importing code or stored data may break. Something was removed, changed its type, or is
newly required of the caller.
`compatible`: something was added or loosened. A response field that may now be null or absent is
compatible too, since all generated models allow None for both. So is a new promise of the API.
`service`: limits, path, media type, scopes, lifecycle: what no model shows.
`docs`: descriptions, examples, names of operations; nothing on the wire.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

from attrs import evolve, frozen

from tooling.prose import changed_words, lists_filters, plain, unique, words
from tooling.schema import Fact
from tooling.wire import FILTER, Place, Wire

Level: TypeAlias = Literal["breaking", "service", "compatible", "docs"]
LEVELS: tuple[Level, ...] = ("breaking", "service", "compatible", "docs")

# Formats that change the Python type; others only describe a str or a number.
_TYPED_FORMATS = frozenset({"date", "date-time", "binary", "uuid"})


@frozen
class Row:
    """One change: its level, its place on the wire, and a sentence."""

    level: Level
    where: str
    what: str


@frozen
class Difference:
    """One fact that differs. `fact` is `present` if a whole subtree was added or removed."""

    where: str
    fact: str
    old: Fact
    new: Fact


def differences(old: Wire, new: Wire) -> Iterator[Difference]:
    """The facts that differ, without docs. A subtree added or removed is one difference."""
    for where in _merged(old.places, new.places):
        before, after = old.places.get(where), new.places.get(where)
        if before is None or after is None:
            place = before or after
            assert place is not None
            if _parent_in_both(place, old, new) and not _table_of_filters(where, old, new):
                yield Difference(where, "present", before is not None, after is not None)
        elif not _below_another_type(after, old, new):
            yield from _fact_differences(where, before, after)


def compare(old: Wire, new: Wire) -> tuple[Row, ...]:
    """All rows, sorted by level and then in the order of the documents."""
    names = renamed(old, new)
    rows = [row for found in differences(old, new) for row in _rows(found, old, new)]
    rows = [
        evolve(row, what=f"{row.what} Probably it is {names[row.where]} now.")
        if row.where in names
        else row
        for row in rows
    ]
    rows += _service_rows(old, new)
    rows += [Row("docs", where, what) for where, what in changed_words(old, new)]
    return tuple(sorted(rows, key=lambda row: LEVELS.index(row.level)))


def renamed(old: Wire, new: Wire) -> dict[str, str]:
    """Removed places and their likely new names: the only added place of the same type there."""
    found = [one for one in differences(old, new) if one.fact == "present"]
    gone = [one.where for one in found if one.old and not _is_filter(one.where)]
    came = [one.where for one in found if one.new and not _is_filter(one.where)]
    likely = {
        where: [at for at in came if _alike(where, old.places[where], at, new.places[at])]
        for where in gone
    }
    taken = [names[0] for names in likely.values() if len(names) == 1]
    return {
        where: _last_name(names[0])
        for where, names in likely.items()
        if len(names) == 1 and taken.count(names[0]) == 1
    }


def _is_filter(where: str) -> bool:
    return where.startswith(f"{FILTER}.")


def _alike(where: str, before: Place, at: str, after: Place) -> bool:
    known = [
        (place.kind, place.parent, place.facts.get("type"), place.facts.get("format"))
        for place in (before, after)
    ]
    same_place = where.removesuffix(_last_name(where)) == at.removesuffix(_last_name(at))
    return same_place and known[0] == known[1]


def _last_name(where: str) -> str:
    return where.rpartition(" ")[2] if is_request(where) else where.rpartition(".")[2]


def _merged(old: Mapping[str, Place], new: Mapping[str, Place]) -> list[str]:
    return [*new, *(where for where in old if where not in new)]


def _parent_in_both(place: Place, old: Wire, new: Wire) -> bool:
    parent = place.parent
    if parent is None:
        return True
    if parent not in old.places or parent not in new.places:
        return False
    return not _another_type(parent, old, new) and not _below_another_type(
        new.places[parent], old, new
    )


def _below_another_type(place: Place, old: Wire, new: Wire) -> bool:
    parent = place.parent
    while parent is not None:
        if _another_type(parent, old, new):
            return True
        parent = new.places[parent].parent if parent in new.places else None
    return False


def _another_type(where: str, old: Wire, new: Wire) -> bool:
    before, after = old.places.get(where), new.places.get(where)
    return (
        before is not None
        and after is not None
        and (
            before.facts.get("type") != after.facts.get("type")
            or before.facts.get("repeats") != after.facts.get("repeats")
        )
    )


def _table_of_filters(where: str, old: Wire, new: Wire) -> bool:
    # Before 2026-04-15 Klaviyo's document describes the filters in prose, since then in a table. If
    # only one document has the table, nothing changed on the wire.
    return where.startswith(f"{FILTER}.") and not (lists_filters(old) and lists_filters(new))


def _fact_differences(where: str, before: Place, after: Place) -> Iterator[Difference]:
    old, new = before.facts, after.facts
    another_type = old.get("type") != new.get("type")
    for fact in unique([*old, *new]):
        was, now = old.get(fact), new.get(fact)
        if was == now or (another_type and fact in ("format", "bounds", "repeats", "closed")):
            continue
        if fact == "closed" and None in (was, now):
            continue
        yield Difference(where, fact, was, now)


def _rows(found: Difference, old: Wire, new: Wire) -> Iterator[Row]:
    where = found.where
    place = new.places.get(where) or old.places[where]
    if found.fact == "present":
        yield _presence(where, place, came=bool(found.new))
    elif found.fact == "enum":
        yield from _enum_rows(found)
    elif place.kind == "service":
        return
    elif found.fact == "operators":
        yield from _listed(found, "operator")
    else:
        level, what = _fact_row(found, place)
        yield Row(level, where, what)


def _presence(where: str, place: Place, *, came: bool) -> Row:
    kind = describe(place)
    if place.kind != "request":
        if came:
            return Row("compatible", where, f"{where} is new: {kind}.")
        return Row("breaking", where, f"{where} is gone; it was {kind}.")
    if not came:
        return Row("breaking", where, f"{where} is no longer taken; it was {kind}.")
    if place.facts.get("required"):
        return Row("breaking", where, f"{where} is new and must be sent: {kind}.")
    return Row("compatible", where, f"{where} is new and optional: {kind}.")


def describe(place: Place) -> str:
    """The place's type in words: `a string (date-time)`."""
    kind = str(place.facts.get("type", "part of the request"))
    article = "" if kind in ("any", "nothing") else "an " if kind[0] in "aeio" else "a "
    form = place.facts.get("format")
    kind = "any value" if kind == "any" else kind
    return f"{article}{kind}{f' ({form})' if form else ''}"


def _enum_rows(found: Difference) -> Iterator[Row]:
    where, was, now = found.where, found.old, found.new
    if was is None:
        listed = plain(now)
        level: Level = "breaking" if is_request(where) else "compatible"
        yield Row(level, where, f"{where} took any value before and is now one of {listed}.")
    elif now is None:
        yield Row("compatible", where, f"{where} was one of {plain(was)} and may now be any value.")
    else:
        yield from _listed(found, "value")


def _listed(found: Difference, noun: str) -> Iterator[Row]:
    was = found.old if isinstance(found.old, tuple) else ()
    now = found.new if isinstance(found.new, tuple) else ()
    sides: tuple[tuple[Level, str, list[Fact]], ...] = (
        ("breaking", "loses", [value for value in was if value not in now]),
        ("compatible", "gains", [value for value in now if value not in was]),
    )
    for level, verb, values in sides:
        if values:
            change = f"{verb} the {noun}{'s' if len(values) > 1 else ''} {plain(tuple(values))}"
            what = f"{found.where} {change}; it was {plain(was)}, it is {plain(now)}."
            yield Row(level, found.where, what)


def is_request(where: str) -> bool:
    """Whether the place is part of the request."""
    return where.split(" ", 1)[0] in ("query", "header", "cookie", "path", "request")


def _fact_row(found: Difference, place: Place) -> tuple[Level, str]:
    where, was, now = found.where, found.old, found.new
    sends = place.kind == "request"
    match found.fact:
        case "required":
            if sends:
                if now:
                    return "breaking", f"{where} was optional and must now be sent."
                return "compatible", f"{where} had to be sent and is now optional."
            promise = ("was always there", "may now be missing")
            before, after = promise if was else ("could be missing", "is now always there")
            return "compatible", f"{where} {before} and {after}."
        case "nullable":
            before, after = ("could be null", "no longer may be")
            if now:
                return "compatible", f"{where} was never null and may now be."
            return "breaking" if sends else "compatible", f"{where} {before} and {after}."
        case "closed":
            values = ("none but the listed values", "others as well")
            before, after = values if was else values[::-1]
            return "compatible", f"{where} had {before} and now has {after}."
        case "type":
            return "breaking", f"{where} was {_type(was)} and is now {_type(now)}."
        case "format":
            return _format_level(was, now, sends=sends), _from_to(where, "format", was, now)
        case "bounds":
            level: Level = "breaking" if sends and now else "compatible"
            return level, _from_to(where, "bounds", was, now)
        case "default":
            return "docs" if was is None else "breaking", _from_to(where, "default", was, now)
    return "breaking", _from_to(where, found.fact, was, now)


def _type(said: Fact) -> str:
    return describe(Place("answer", {"type": said}))


def _format_level(was: Fact, now: Fact, *, sends: bool) -> Level:
    if was in _TYPED_FORMATS or now in _TYPED_FORMATS:
        return "breaking"
    return "breaking" if sends and now is not None else "compatible"


def _from_to(where: str, fact: str, was: Fact, now: Fact) -> str:
    if was in (None, ()):
        return f"{where} now has the {fact} {words(now)}; it had none."
    if now in (None, ()):
        return f"{where} no longer has the {fact} {words(was)}."
    return f"{where} changes its {fact} from {words(was)} to {words(now)}."


def _service_rows(old: Wire, new: Wire) -> Iterator[Row]:
    for where, before in old.places.items():
        after = new.places.get(where)
        if before.kind == "service" and after is not None:
            was, now = before.facts, after.facts
            changed = [fact for fact in unique([*was, *now]) if was.get(fact) != now.get(fact)]
            if where == "media type":
                # Media types of added and removed responses have no row of their own.
                changed = [fact for fact in changed if fact in was and fact in now]
            if where == "rate limit":
                for fact in [fact for fact in changed if fact not in ("burst", "steady")]:
                    changed.remove(fact)
                    values = [_terms([facts.get(fact)]) for facts in (was, now)]
                    what = f"The {fact} limit was {values[0]} and is now {values[1]}."
                    yield Row("service", where, what)
            if changed:
                yield _service_row(where, changed, was, now)


def _service_row(
    where: str, changed: list[str], was: Mapping[str, Fact], now: Mapping[str, Fact]
) -> Row:
    verbs = ("were", "are") if where == "scopes" else ("was", "is")
    values = [_terms([facts.get(fact) for fact in changed]) for facts in (was, now)]
    name = f"{where} of {', '.join(changed)}" if where == "media type" else where
    if where == "lifecycle":
        name = f"{where} ({' and '.join(changed)})"
    what = f"The {name} {verbs[0]} {values[0]} and {verbs[1]} now {values[1]}."
    return Row("service", where, what)


def _terms(values: list[Fact]) -> str:
    said = [plain(value) for value in values if value not in (None, ())]
    return " and ".join(unique(said)) or "not stated"

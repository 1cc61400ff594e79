"""A fragment's deliberate differences from upstream, as its `x-deviations` declare them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from tooling.compare import Row, compare
from tooling.prose import words
from tooling.schema import Document, DocumentError, Fact, freeze
from tooling.terminal import one_line
from tooling.wire import Place, Wire, read_wire

FACTS = ("present", "required", "nullable", "type", "format", "enum", "closed", "repeats")
# Facts of the place `rate limit`.
LIMITS = ("burst", "steady")
_KEYS = {"fact", "upstream", "where", "reason"}


@frozen
class Deviation:
    """One fact of one place that differs from upstream, where it is `upstream`."""

    where: str
    fact: str
    upstream: Fact


@frozen
class Agreement:
    """Undeclared differences and unneeded declarations; both are empty on agreement."""

    undeclared: tuple[Row, ...]
    unneeded: tuple[str, ...]

    def lines(self) -> list[str]:
        """One line per finding."""
        return [f"{row.level:10}  {one_line(row.what)}" for row in self.undeclared] + [
            f"{'unneeded':10}  {one_line(line)}" for line in self.unneeded
        ]


def declared(fragment: Document) -> tuple[Deviation, ...]:
    """Every deviation the fragment declares, one per place.

    Raises:
        DocumentError: an entry lacks something, or a place is declared twice for one fact.
    """
    found: dict[tuple[str, str], Deviation] = {}
    entries = fragment.get("x-deviations", [])
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise DocumentError("x-deviations: expected a list")
    for number, entry in enumerate(entries, 1):
        for deviation in _entry(entry, f"x-deviations, entry {number}"):
            key = (deviation.where, deviation.fact)
            if key in found:
                raise DocumentError(f"x-deviations: {key[1]} of {key[0]} is declared twice")
            found[key] = deviation
    return tuple(found.values())


def _entry(entry: Any, name: str) -> list[Deviation]:
    if not isinstance(entry, Mapping) or set(entry) != _KEYS:
        raise DocumentError(f"{name}: expected exactly the keys {', '.join(sorted(_KEYS))}")
    if entry["fact"] not in (*FACTS, *LIMITS):
        known = ", ".join((*FACTS, *LIMITS))
        raise DocumentError(f"{name}: fact {entry['fact']!r} is none of {known}")
    if not str(entry["reason"] or "").strip():
        raise DocumentError(f"{name}: a deviation needs its reason")
    if not isinstance(entry["where"], list) or not entry["where"]:
        raise DocumentError(f"{name}: where must list at least one place")
    upstream = freeze(entry["upstream"])
    if isinstance(upstream, tuple):
        upstream = tuple(sorted(upstream, key=repr))
    return [Deviation(str(where), entry["fact"], upstream) for where in entry["where"]]


def upstream_side(fragment: Document) -> Wire:
    """The upstream document, rebuilt from the fragment and its deviations."""
    return rebuilt(read_wire(fragment), declared(fragment))


def rebuilt(ours: Wire, deviations: Iterable[Deviation]) -> Wire:
    """The upstream side, rebuilt from our side and the deviations."""
    places = dict(ours.places)
    for deviation in deviations:
        if deviation.where not in places:
            continue
        if deviation.fact == "present":
            places = _without(places, deviation.where)
        else:
            place = places[deviation.where]
            facts = {**place.facts, deviation.fact: deviation.upstream}
            places[deviation.where] = evolve(place, facts=facts)
    return evolve(ours, places=places)


def _without(places: Mapping[str, Place], root: str) -> dict[str, Place]:
    gone = {root}
    for where, place in places.items():
        if place.parent in gone:
            gone.add(where)
    return {where: place for where, place in places.items() if where not in gone}


def agreement(fragment: Document, upstream: Wire) -> Agreement:
    """Differences that are not declared, and declarations that are not needed.

    Descriptions are not compared: those of the fragment are our own.
    """
    ours, deviations = read_wire(fragment), declared(fragment)
    theirs = without_left_out(upstream, deviations)
    rows = compare(rebuilt(ours, deviations), theirs)
    unneeded = [_unneeded(deviation, ours, upstream) for deviation in deviations]
    return Agreement(
        undeclared=tuple(row for row in rows if row.level != "docs"),
        unneeded=tuple(line for line in unneeded if line),
    )


def without_left_out(upstream: Wire, deviations: Iterable[Deviation]) -> Wire:
    """Upstream without what the fragment leaves out on purpose (`present`, upstream true)."""
    places: Mapping[str, Place] = upstream.places
    for deviation in deviations:
        if deviation.fact == "present" and deviation.upstream:
            places = _without(places, deviation.where)
    return evolve(upstream, places=places)


def _unneeded(deviation: Deviation, ours: Wire, upstream: Wire) -> str | None:
    where, fact = deviation.where, deviation.fact
    name = f"x-deviations: {fact} of {where}"
    if fact == "present":
        in_ours, in_theirs = where in ours.places, where in upstream.places
        if in_theirs != deviation.upstream or in_ours == in_theirs:
            has = {True: "has it", False: "does not have it"}
            return f"{name}: the fragment {has[in_ours]} and upstream {has[in_theirs]}."
        return None
    if where not in ours.places or where not in upstream.places:
        side = "upstream" if where in ours.places else "the fragment"
        return f"{name}: {side} has no such place."
    mine, said = ours.places[where].facts.get(fact), upstream.places[where].facts.get(fact)
    if said != deviation.upstream:
        return f"{name}: upstream says {words(said)}, not {words(deviation.upstream)}."
    if mine == said:
        return f"{name}: the fragment says {words(mine)} as well."
    return None

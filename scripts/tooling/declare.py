"""Updates x-deviations so that it states exactly how a fragment differs from upstream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from tooling.carry_answers import CarryError
from tooling.compare import differences
from tooling.deviations import FACTS, LIMITS, Deviation, declared, rebuilt, without_left_out
from tooling.round_trip import RoundTrip, flow, quoted
from tooling.schema import Fact
from tooling.wire import Wire, read_wire

_REASONS = {
    "present": "No attribute of a Python object can have such a name, so the models leave it out.",
    "required": "Sparse fieldsets leave out every attribute that was not asked for.",
    "nullable": "Read like every other field; null means the same as absent.",
    "enum": "A value that is not listed must not cost the page.",
    "closed": "New enum values are announced as compatible changes.",
    **dict.fromkeys(
        LIMITS, "The limiter starts from a figure; this is the last one it could read."
    ),
}
_OTHER_REASON = "The models stay as they are until a person has looked at it."


def declare(fragment: RoundTrip, upstream: Wire) -> None:
    """Remove entries that are no longer needed, correct changed ones, and add new ones.

    Raises:
        CarryError: a difference cannot be declared.
    """
    needed = _departures(read_wire(fragment.data), upstream)
    for one in needed:
        if one.fact not in (LIMITS if one.where == "rate limit" else FACTS):
            raise CarryError(f"no rule for {one.fact} of {one.where}; carry it over by hand")
    said = {(one.where, one.fact): one for one in declared(fragment.data)}
    values = {(one.where, one.fact): one for one in needed}
    reasons = _take_out(fragment.data, {key for key, one in said.items() if values.get(key) != one})
    places = [*read_wire(fragment.data).places, *upstream.places]
    order = {where: number for number, where in reversed(list(enumerate(places)))}
    facts = (*FACTS, *LIMITS)
    for one in sorted(needed, key=lambda one: (order[one.where], facts.index(one.fact))):
        if said.get((one.where, one.fact)) != one:
            reason = reasons.get((one.where, one.fact)) or _reason(fragment.data, one)
            _put_in(fragment, one, reason)


def _departures(ours: Wire, upstream: Wire) -> set[Deviation]:
    found = set[Deviation]()
    while True:
        sides = rebuilt(ours, found), without_left_out(upstream, found)
        more = {Deviation(one.where, one.fact, one.new) for one in differences(*sides)}
        if more <= found:
            return found
        # Differences below a type that differs appear only once that type is declared.
        found |= more


def _take_out(document: CommentedMap, doomed: set[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Remove entries; returns their reasons."""
    reasons = {}
    entries = document.get("x-deviations") or []
    for entry in list(entries):
        gone = [where for where in entry["where"] if (where, entry["fact"]) in doomed]
        for where in gone:
            reasons[where, entry["fact"]] = entry["reason"]
            entry["where"].remove(where)
        if not entry["where"]:
            entries.remove(entry)
    if "x-deviations" in document and not entries:
        del document["x-deviations"]
    return reasons


def _reason(document: CommentedMap, one: Deviation) -> Any:
    """The reason given for the same difference in another response, else a general one."""
    rest = one.where.partition(".")[2]
    for entry in _alike(document, one):
        if rest and any(str(where).partition(".")[2] == rest for where in entry["where"]):
            return entry["reason"]
    if " header " in one.where:
        return "The models describe bodies."
    return _REASONS.get(one.fact, _OTHER_REASON)


def _put_in(fragment: RoundTrip, one: Deviation, reason: Any) -> None:
    entry = next((e for e in _alike(fragment.data, one) if e["reason"] == reason), None)
    if entry is not None:
        entry["where"].append(quoted(one.where))
        return
    upstream = flow(one.upstream) if isinstance(one.upstream, tuple) else quoted(one.upstream)
    entry = CommentedMap(
        fact=one.fact, upstream=upstream, where=CommentedSeq([quoted(one.where)]), reason=reason
    )
    if "x-deviations" in fragment.data:
        fragment.data["x-deviations"].append(entry)
    else:
        fragment.insert(fragment.data, "x-deviations", CommentedSeq([entry]), after="security")


def _alike(document: CommentedMap, one: Deviation) -> Iterable[CommentedMap]:
    for entry in document.get("x-deviations") or []:
        upstream: Fact = entry["upstream"]
        if isinstance(upstream, list):
            upstream = tuple(sorted(upstream, key=repr))
        if entry["fact"] == one.fact and upstream == one.upstream:
            yield entry

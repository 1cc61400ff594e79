"""Applies upstream's changes of the parameters to a fragment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ruamel.yaml.comments import CommentedMap

from tooling.carry_answers import CarryError, set_or_remove, update_list
from tooling.compare import Difference
from tooling.new_schema import SchemaWriter
from tooling.round_trip import RoundTrip, flow, quoted
from tooling.sites import operation_in, parameter_in, schema_body
from tooling.wire import FILTER, Wire, read_wire


def carry(
    fragment: RoundTrip, upstream: Wire, found: Sequence[Difference], writer: SchemaWriter
) -> None:
    """Add, remove and change parameters. `carry_terms` handles the filters."""
    changed: dict[str, set[str]] = defaultdict(set)
    renamed = _rename(fragment, upstream, found)
    for one in found:
        if one.where in renamed:
            continue
        place = upstream.places.get(one.where)
        if one.where.startswith(f"{FILTER}."):
            continue
        if place is None:
            _remove(fragment, one.where)
        elif place.kind == "request" and one.fact == "present" and place.parent is None:
            _add(fragment, upstream, one.where, writer)
        elif place.kind == "request":
            changed[_root(upstream, one.where)].add(one.fact)
    for where, facts in changed.items():
        number = parameter_in(fragment.data, where)
        if number is not None:
            _change(fragment, upstream, where, number, facts, writer)


def _rename(fragment: RoundTrip, upstream: Wire, found: Sequence[Difference]) -> set[str]:
    """Rename parameters that only have a new name upstream; their schemas stay as they are."""
    ours = read_wire(fragment.data).places
    gone = [one.where for one in found if one.fact == "present" and one.old]
    came = [one.where for one in found if one.fact == "present" and one.new]
    done = set[str]()
    for where in gone:
        number = parameter_in(fragment.data, where) if " " in where else None
        place, name = where.partition(" ")[0], ""
        for at in came if number is not None else ():
            if at.startswith(f"{place} ") and upstream.places[at].facts == ours[where].facts:
                name = at
        if name and name not in done:
            operation_in(fragment.data)["parameters"][number]["name"] = quoted(
                name.partition(" ")[2]
            )
            done |= {where, name}
    return done


def _remove(fragment: RoundTrip, where: str) -> None:
    if where.partition(" ")[0] in ("query", "header", "path", "cookie"):
        number = parameter_in(fragment.data, where)
        if number is not None:
            del operation_in(fragment.data)["parameters"][number]


def _add(fragment: RoundTrip, upstream: Wire, where: str, writer: SchemaWriter) -> None:
    if where == "request body":
        raise CarryError("the operation takes a body now; the client can send none")
    names = [
        at for at, one in upstream.places.items() if one.kind == "request" and one.parent is None
    ]
    before = reversed(names[: names.index(where)])
    numbers = [parameter_in(fragment.data, name) for name in before]
    after = next((number for number in numbers if number is not None), -1)
    operation_in(fragment.data)["parameters"].insert(after + 1, writer.request(where))


def _root(upstream: Wire, where: str) -> str:
    parent = upstream.places[where].parent
    return where if parent is None else _root(upstream, parent)


def _change(
    fragment: RoundTrip,
    upstream: Wire,
    where: str,
    number: int,
    facts: set[str],
    writer: SchemaWriter,
) -> None:
    parameters = operation_in(fragment.data)["parameters"]
    theirs = upstream.places[where].facts
    if "required" in facts:
        set_or_remove(parameters[number], "required", True if theirs["required"] else None)
    if "enum" in facts:
        _change_enum(_items_body(fragment, parameters[number]["schema"]), theirs["enum"])
    if facts - {"required", "enum"}:
        description = parameters[number]["schema"].get("description")
        parameters[number] = writer.request(where)
        if description:
            parameters[number]["schema"]["description"] = description


def _items_body(fragment: RoundTrip, schema: CommentedMap) -> CommentedMap:
    body = schema_body(fragment.data, schema)[0]
    return schema_body(fragment.data, body["items"])[0] if "items" in body else body


def _change_enum(body: CommentedMap, theirs: object) -> None:
    # If upstream drops the enum, the fragment keeps it: the client uses it. It is then declared.
    if isinstance(theirs, tuple):
        if "enum" in body:
            update_list(body["enum"], theirs)
        else:
            body["enum"] = flow(theirs)

"""Applies upstream's changes of the responses to a fragment."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from tooling.compare import Difference
from tooling.new_schema import SchemaWriter, is_attribute_name
from tooling.round_trip import RoundTrip, flow, quoted, spelled
from tooling.schema import BOUNDS, DocumentError, Fact
from tooling.sites import Site, Sites, find_sites, operation_in, reference_in, sharing
from tooling.wire import Wire

# The overlay relies on these being present.
FIRM = frozenset({"200", "200.data", "200.data[]", "200.data[].attributes"})
# With sparse fieldsets any attribute may be absent, so none is required.
_SPARSE = "200.data[].attributes"
_SPLIT_NAMES = {"200": "Page", "4XX": "Client", "5XX": "Server"}


class CarryError(DocumentError):
    """A change that no rule covers; the message names it and says what to do."""


def carry(
    fragment: RoundTrip, upstream: Wire, found: Sequence[Difference], writer: SchemaWriter
) -> None:
    """Apply additions, removals and changes in place."""
    _remove(fragment, found)
    for one in found:
        place = upstream.places.get(one.where)
        if one.fact == "present" and one.new and place is not None and place.kind == "answer":
            _add(fragment, upstream, one.where, writer)
    for one in found:
        if one.fact == "present" or one.where not in upstream.places or one.where in FIRM:
            continue
        sites = find_sites(fragment.data)
        if one.fact == "required":
            _change_required(one, sites)
        elif one.where in sites:
            _change(one, sites[one.where], upstream, writer)


# Components used twice --------------------------------------------------------------------------


def split_components(
    fragment: RoundTrip, upstream: Wire, found: Callable[[], list[Difference]]
) -> None:
    """Copy a shared component for a place if upstream changes it there and not elsewhere."""
    while True:
        sites = find_sites(fragment.data)
        where = _place_that_differs_from_its_twins(found(), upstream, sites)
        if where is None:
            return
        _split(fragment, where, sites)


def _place_that_differs_from_its_twins(
    found: Iterable[Difference], upstream: Wire, sites: Sites
) -> str | None:
    schemas: dict[int, CommentedMap] = {}
    changes: dict[int, dict[tuple[str, str, Fact], set[str]]] = defaultdict(
        lambda: defaultdict(set)
    )
    for one in found:
        schema, name = _changed_schema(one, upstream, sites)
        if schema is not None:
            schemas[id(schema)] = schema
            changes[id(schema)][one.fact, name, one.new].add(one.where)
    for key, by_change in changes.items():
        twins = sharing(sites, schemas[key])
        for (_, name, _), places in by_change.items():
            owners = {where.removesuffix(name) for where in places}
            if len(owners) < len(twins) and not owners & FIRM:
                return min(owners, key=list(sites).index)
    return None


def _changed_schema(
    one: Difference, upstream: Wire, sites: Sites
) -> tuple[CommentedMap | None, str]:
    """The schema that holds the difference, and the rest of the place's name below it."""
    if one.fact == "present" and one.new:
        parent = upstream.places[one.where].parent
        if parent in sites:
            return sites[parent].body, one.where.removeprefix(parent)
        return None, ""
    if one.where not in sites or one.fact == "closed":
        return None, ""
    if one.fact == "required":
        owner = one.where.rpartition(".")[0]
        return (sites[owner].body if owner in sites else None), one.where.removeprefix(owner)
    return sites[one.where].body if one.fact == "enum" else sites[one.where].slot, ""


def _split(fragment: RoundTrip, where: str, sites: Sites) -> None:
    chain = [at for at in sites if where == at or where.startswith((f"{at}.", f"{at}["))]
    for at in chain:
        site = sites[at]
        reference = reference_in(site.slot)
        alone = len(sharing(sites, site.slot)) == 1
        if reference is not None and alone and len(sharing(sites, site.body)) > 1:
            _copy(fragment, site, reference, _SPLIT_NAMES.get(where.split(".")[0], "Other"))
            return
    raise CarryError(
        f"{where} changes, and what describes it in the fragment describes other places as "
        "well; give it a component of its own by hand and run this again"
    )


def _copy(fragment: RoundTrip, site: Site, reference: CommentedMap, prefix: str) -> None:
    schemas = fragment.data["components"]["schemas"]
    name = f"{prefix}{site.component}"
    while name in schemas:
        name += "2"
    fragment.insert(schemas, name, copy.deepcopy(site.body), after=site.component)
    reference["$ref"] = quoted(f"#/components/schemas/{name}")


# Additions and removals -------------------------------------------------------------------------


def _remove(fragment: RoundTrip, found: Iterable[Difference]) -> None:
    sites = find_sites(fragment.data)
    responses = operation_in(fragment.data)["responses"]
    for one in found:
        if one.fact != "present" or one.new:
            continue
        if one.where in responses:
            del responses[one.where]
        elif one.where in sites:
            _remove_property(sites[one.where], sites.get(one.where.rpartition(".")[0]))


def _remove_property(site: Site, owner: Site | None) -> None:
    site.parent.pop(site.key, None)  # A place with the same component may have removed it.
    if owner is None or site.key == "items":
        return
    required = owner.body.get("required") or []
    if site.key in required:
        required.remove(site.key)
    for key in ("required", "properties"):
        if key in owner.body and not owner.body[key]:
            del owner.body[key]


def _add(fragment: RoundTrip, upstream: Wire, where: str, writer: SchemaWriter) -> None:
    sites = find_sites(fragment.data)
    parent = upstream.places[where].parent
    if parent is None:
        _add_response(fragment, upstream, where, writer)
        return
    name = where.removeprefix(parent).removeprefix(".")
    if where in sites or parent not in sites or not is_attribute_name(name):
        return
    owner = sites[parent]
    schema = writer.answer(where, owner.component)
    if "properties" not in owner.body:
        # A shared component for any object: it cannot get a member for this place only.
        own = {"anyOf": [{"type": "object", "properties": {name: schema}}, {"type": "null"}]}
        owner.parent[owner.key] = spelled(own)
        return
    before = _neighbour(upstream, where, parent)
    fragment.insert(owner.body["properties"], name, schema, after=before)
    if upstream.places[where].facts["required"] and parent != _SPARSE:
        _require(owner.body, name)


def _neighbour(upstream: Wire, where: str, parent: str) -> str | None:
    """The property just before this one in the upstream document."""
    siblings = [at for at, one in upstream.places.items() if one.parent == parent]
    before = siblings[: siblings.index(where)]
    return before[-1].removeprefix(f"{parent}.") if before else None


def _add_response(fragment: RoundTrip, upstream: Wire, status: str, writer: SchemaWriter) -> None:
    response: dict[str, Any] = {"description": writer.description}
    media_types = upstream.places["media type"].facts.get(status)
    if isinstance(media_types, tuple) and media_types:
        sites = find_sites(fragment.data)
        same = next((at for at in sites if _is_alike(upstream, at, status)), None)
        schema = copy.deepcopy(sites[same].slot) if same else writer.answer(status, None)
        response["content"] = {str(name): {"schema": schema} for name in media_types}
    fragment.insert(operation_in(fragment.data)["responses"], status, spelled(response))


def _is_alike(upstream: Wire, status: str, other: str) -> bool:
    """Whether upstream describes both responses in the same way."""
    return "." not in status and _below(upstream, status) == _below(upstream, other)


def _below(upstream: Wire, status: str) -> dict[str, object]:
    return {
        where.removeprefix(status): {
            name: fact.removeprefix(status) if name == "repeats" and isinstance(fact, str) else fact
            for name, fact in place.facts.items()
        }
        for where, place in upstream.places.items()
        if where == status or where.startswith((f"{status}.", f"{status}["))
    }


# Changes in place -------------------------------------------------------------------------------


def _change_required(one: Difference, sites: Sites) -> None:
    owner, _, name = one.where.rpartition(".")
    if owner == _SPARSE or owner not in sites:
        return
    body = sites[owner].body
    required = body.get("required") or []
    if one.new and name in body.get("properties", ()) and name not in required:
        _require(body, name)
    elif not one.new and name in required:
        required.remove(name)
        if not required:
            del body["required"]


def _require(body: CommentedMap, name: str) -> None:
    if "required" in body:
        body["required"].append(quoted(name))
    else:
        body.insert(list(body).index("properties"), "required", flow([name]))


def _change_nullable(slot: CommentedMap, nullable: bool) -> None:
    null = {"type": quoted("null")}
    if "anyOf" in slot:
        slot["anyOf"] = CommentedSeq(one for one in slot["anyOf"] if one.get("type") != "null")
        if nullable:
            slot["anyOf"].append(CommentedMap(null))
        elif len(slot["anyOf"]) == 1 and "$ref" in slot["anyOf"][0]:
            slot["$ref"] = slot.pop("anyOf")[0]["$ref"]
    elif "$ref" in slot and nullable:
        slot["anyOf"] = spelled([{"$ref": slot.pop("$ref")}, null])
    elif "type" in slot:
        kinds = [slot["type"]] if isinstance(slot["type"], str) else slot["type"]
        kinds = [kind for kind in kinds if kind != "null"] + (["null"] if nullable else [])
        slot["type"] = kinds[0] if len(kinds) == 1 else flow(kinds)


def _change(one: Difference, site: Site, upstream: Wire, writer: SchemaWriter) -> None:
    facts = upstream.places[one.where].facts
    if facts["type"] == "nothing":
        raise CarryError(f"{one.where} has no body any more upstream; describe it by hand")
    if one.fact in ("type", "repeats"):
        description = site.slot.get("description")
        schema = writer.answer(one.where, site.component)
        if description:
            schema["description"] = description
        site.parent[site.key] = schema
    elif one.fact == "nullable":
        _change_nullable(site.slot, bool(one.new))
    elif one.fact == "format":
        set_or_remove(site.body, "format", facts["format"])
    elif one.fact == "enum" and "enum" in site.body:
        if isinstance(one.new, tuple):
            update_list(site.body["enum"], one.new)
    elif one.fact == "bounds":
        bounds = one.new if isinstance(one.new, tuple) else ()
        theirs = {str(pair[0]): pair[1] for pair in bounds if isinstance(pair, tuple)}
        for key in BOUNDS:
            set_or_remove(site.body, key, theirs.get(key))


def update_list(ours: list[Any], theirs: Sequence[Any]) -> None:
    """Make the list hold exactly `theirs`; items that stay keep their position."""
    came = [quoted(value) for value in theirs if value not in ours]
    for value in [value for value in ours if value not in theirs]:
        ours.remove(value)
    ours.extend(came)


def set_or_remove(schema: CommentedMap, key: str, value: Any) -> None:
    """Set a key, or remove it if the value is None."""
    if value is None:
        schema.pop(key, None)
    else:
        schema[key] = spelled(value)

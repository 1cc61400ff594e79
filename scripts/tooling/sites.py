"""Finds where the places of the wire are written in a fragment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from attrs import frozen
from ruamel.yaml.comments import CommentedMap


@frozen
class Site:
    """Where the schema of one place is written.

    Attributes:
        parent, key: the mapping and the key that hold its schema.
        body: the schema itself, behind `$ref` and a choice with null.
        component: name of the component that holds `body`; None if it is in none.
    """

    parent: CommentedMap
    key: str
    body: CommentedMap
    component: str | None

    @property
    def slot(self) -> CommentedMap:
        """The schema in its parent, before `$ref` is followed."""
        slot: CommentedMap = self.parent[self.key]
        return slot


Sites: TypeAlias = dict[str, Site]


def operation_in(document: CommentedMap) -> CommentedMap:
    """The fragment's one operation."""
    operation: CommentedMap = next(iter(document["paths"].values()))["get"]
    return operation


def parameter_in(document: CommentedMap, where: str) -> int | None:
    """The index of the parameter `where` in the operation; None if it has none."""
    position, name = where.split(" ", 1)
    for number, parameter in enumerate(operation_in(document).get("parameters") or []):
        if (parameter["in"], parameter["name"]) == (position, name):
            return number
    return None


def find_sites(document: CommentedMap) -> Sites:
    """The sites of all places in the fragment's responses."""
    sites: Sites = {}
    for status, raw in operation_in(document)["responses"].items():
        content = followed(document, raw)[0].get("content")
        if content:
            _walk(document, str(status), content[next(iter(content))], "schema", None, sites, ())
    return sites


def _walk(
    document: CommentedMap,
    where: str,
    parent: CommentedMap,
    key: str,
    component: str | None,
    sites: Sites,
    entered: tuple[int, ...],
) -> None:
    body, name = schema_body(document, parent[key])
    component = name or component
    sites[where] = Site(parent, key, body, component)
    if id(body) in entered:
        return
    entered = (*entered, id(body))
    properties = body.get("properties") or CommentedMap()
    for child in properties:
        _walk(document, f"{where}.{child}", properties, child, component, sites, entered)
    if "items" in body:
        _walk(document, f"{where}[]", body, "items", component, sites, entered)


def sharing(sites: Sites, schema: CommentedMap) -> set[str]:
    """The places written at `schema`; several if its component is shared."""
    return {where for where, at in sites.items() if schema is at.body or schema is at.slot}


def schema_body(document: CommentedMap, schema: CommentedMap) -> tuple[CommentedMap, str | None]:
    """The schema behind `$ref` and a choice with null, and the name of the last component."""
    schema, name = followed(document, schema)
    real = [one for one in schema.get("anyOf") or [] if one.get("type") != "null"]
    if not real:
        return schema, name
    body, inner = schema_body(document, real[0])
    return body, inner or name


def reference_in(slot: CommentedMap) -> CommentedMap | None:
    """The mapping with the `$ref` of `slot`, at its top or in anyOf; None if there is none."""
    return next((one for one in (slot, *(slot.get("anyOf") or [])) if "$ref" in one), None)


def followed(document: CommentedMap, part: CommentedMap) -> tuple[CommentedMap, str | None]:
    """The final target of `part` and its name; `part` and None if it is not a reference."""
    name = None
    while "$ref" in part:
        *way, name = part["$ref"].removeprefix("#/").split("/")
        found: Any = document
        for step in (*way, name):
            found = found[step]
        part = found
    return part, name


def remove_unused_components(document: CommentedMap, kept: Iterable[str]) -> None:
    """Remove schemas and responses that neither the operation nor `kept` refers to."""
    components = document["components"]
    rest = {key: value for key, value in document.items() if key != "components"}
    used, waiting = set[str](), [*(f"schemas/{name}" for name in kept), *references(rest)]
    while waiting:
        name = waiting.pop()
        kind, _, component = name.partition("/")
        if name not in used and component in components.get(kind, ()):
            used.add(name)
            waiting += references(components[kind][component])
    for kind in ("responses", "schemas"):
        for component in list(components.get(kind) or ()):
            if f"{kind}/{component}" not in used:
                del components[kind][component]
        if kind in components and not components[kind]:
            del components[kind]


def references(value: Any) -> Iterator[str]:
    """The components that `value` refers to, as `schemas/Job`."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].removeprefix("#/components/")
        for child in value.values():
            yield from references(child)
    elif isinstance(value, list):
        for child in value:
            yield from references(child)

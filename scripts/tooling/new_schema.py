"""Writes schemas for what upstream adds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ruamel.yaml.comments import CommentedMap

from tooling.naming import component_name
from tooling.python_text import UnusableTextError, attribute
from tooling.round_trip import RoundTrip, flow, spelled
from tooling.schema import Fact
from tooling.wire import Place, Wire

OPEN_OBJECT = "JsonObject"
_OPEN = f"#/components/schemas/{OPEN_OBJECT}"
_OPEN_OBJECT_SCHEMA = {
    "description": "An object whose members nobody has promised; kept as it came.",
    "type": "object",
}
# Start of generated descriptions. The report lists them until a person rewrites them.
UNDESCRIBED = "Upstream had this by "
# An attribute with such a name would hide it from later annotations in the class.
_IN_ANNOTATIONS = frozenset({"Any", "Timestamp"})


class SchemaWriter:
    """Makes schemas for places of the upstream document, and adds components to a fragment."""

    def __init__(self, fragment: RoundTrip, upstream: Wire, date: str) -> None:
        self._fragment = fragment
        self._upstream = upstream
        self.description = f"{UNDESCRIBED}{date}; not described here yet."

    def answer(self, where: str, after: str | None) -> CommentedMap:
        """The schema of a place in a response.

        Components for objects inside are inserted behind the component `after`.
        """
        schema = self._answer(where, self._upstream.places[where], after)
        said = any(one.get("$ref", _OPEN) != _OPEN for one in (schema, *schema.get("anyOf", ())))
        # A component of its own has the description itself.
        return _written(schema if said else {"description": self.description, **schema})

    def _answer(self, where: str, place: Place, after: str | None) -> dict[str, Any]:
        facts = place.facts
        kind = str(facts["type"])
        kinds = [kind] if kind not in ("any", "null", "nothing") else []
        if " | " in kind:
            # A union with an array or an object gets no type: the decoder tells only scalars apart.
            kinds = [] if {"array", "object"} & set(kind.split(" | ")) else kind.split(" | ")
        if kinds == ["object"] or facts.get("repeats"):
            reference = {"$ref": f"#/components/schemas/{self._object(where, after)}"}
            return {"anyOf": [reference, {"type": "null"}]} if facts["nullable"] else reference
        schema: dict[str, Any] = {}
        if kinds:
            kinds = [*kinds, "null"] if facts["nullable"] else kinds
            schema["type"] = kinds[0] if len(kinds) == 1 else kinds
            if facts.get("format"):
                schema["format"] = facts["format"]
            if facts["enum"] is not None and facts["closed"]:
                schema["enum"] = [*_tuple(facts["enum"]), *([None] if facts["nullable"] else [])]
        schema |= _bounds(facts["bounds"])
        if kind == "array":
            item = f"{where}[]"
            inside = self._upstream.places.get(item)
            schema["items"] = self._answer(item, inside, after) if inside else {}
        return schema

    def _object(self, where: str, after: str | None) -> str:
        inside = list(self._children(where))
        schemas = self._fragment.data["components"]["schemas"]
        if not inside:
            if OPEN_OBJECT not in schemas:
                self._fragment.insert(schemas, OPEN_OBJECT, _written(_OPEN_OBJECT_SCHEMA))
            return OPEN_OBJECT
        name = component_name(where, schemas)
        schema = CommentedMap(description=self.description, type="object")
        self._fragment.insert(schemas, name, schema, after=after)
        places = self._upstream.places
        required = [child for child in inside if places[f"{where}.{child}"].facts["required"]]
        if required:
            schema["required"] = flow(required)
        schema["properties"] = CommentedMap()
        for child in inside:
            schema["properties"][child] = self.answer(f"{where}.{child}", name)
        return name

    def _children(self, where: str) -> Iterator[str]:
        for child, place in self._upstream.places.items():
            name = child.removeprefix(f"{where}.")
            if place.parent == where and name != child and is_attribute_name(name):
                yield name

    def request(self, where: str) -> CommentedMap:
        """A parameter exactly as upstream has it, since requests must match."""
        facts = self._upstream.places[where].facts
        kind = str(facts["type"])
        kinds = kind.removeprefix("array of ").split(" | ")
        item: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else kinds}
        if kinds == ["any"]:
            del item["type"]
        if facts["nullable"] and not kind.startswith("array of ") and kinds != ["any"]:
            item["type"] = [*kinds, "null"]
        if facts["format"]:
            item["format"] = facts["format"]
        if isinstance(facts["enum"], tuple):
            item["enum"] = facts["enum"]
        limits = _bounds(facts["bounds"])
        schema: dict[str, Any] = {"description": self.description}
        if kind.startswith("array of "):
            of_list = {key: value for key, value in limits.items() if key.endswith("Items")}
            item |= {key: value for key, value in limits.items() if key not in of_list}
            schema |= {"type": "array", "items": item, **of_list}
        else:
            schema |= {**item, **limits}
        if facts["default"] is not None:
            schema["default"] = facts["default"]
        position, name = where.split(" ", 1)
        return _written(
            {
                "name": name,
                "in": position,
                **({"required": True} if facts["required"] else {}),
                **({"style": facts["style"]} if facts["style"] not in ("form", "simple") else {}),
                **({"explode": facts["explode"]} if facts["explode"] is False else {}),
                "schema": schema,
            }
        )


def is_attribute_name(name: str) -> bool:
    """Whether a member of a JSON object can be an attribute of a model, maybe as `name_`."""
    try:
        return bool(attribute(name)) and name not in _IN_ANNOTATIONS
    except UnusableTextError:
        return False


def _bounds(facts: Fact) -> dict[str, Fact]:
    return {str(one[0]): one[1] for one in _tuple(facts) if isinstance(one, tuple)}


def _tuple(value: Fact) -> tuple[Fact, ...]:
    return value if isinstance(value, tuple) else ()


def _written(schema: dict[str, Any]) -> CommentedMap:
    written: CommentedMap = spelled(schema)
    return written

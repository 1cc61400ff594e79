"""Schemas for what upstream adds, written as tolerantly as the rest of a fragment."""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from typing import Any

from tooling.naming import component_name
from tooling.wire import Place, Wire
from tooling.yaml_text import YamlText, flow, quoted

OPEN_OBJECT = "JsonObject"
_OPEN_OBJECT_SCHEMA = {
    "description": "An object whose members nobody has promised; kept as it came.",
    "type": "object",
}


class SchemaWriter:
    """Writes schemas of upstream's places, and the components they need, into a fragment."""

    def __init__(self, fragment: YamlText, upstream: Wire, date: str) -> None:
        self._fragment = fragment
        self._upstream = upstream
        self.description = f"Upstream has this since {date}; not described here yet."

    def answer(self, where: str, after: str | None) -> dict[str, Any]:
        """Schema of something we receive: it may be null, and any text may stand for an enum.

        Components for objects inside go behind the component `after`.
        """
        schema = self._answer(where, self._upstream.places[where], after)
        own = "anyOf" in schema and not schema["anyOf"][0]["$ref"].endswith(f"/{OPEN_OBJECT}")
        # What a component of its own is for is said there.
        return schema if own else {"description": self.description, **schema}

    def _answer(self, where: str, place: Place, after: str | None) -> dict[str, Any]:
        kind = str(place.facts["type"])
        kinds = [kind] if kind not in ("any", "null") else []
        if " | " in kind:
            # The decoder tells scalars apart by their JSON type, but no two containers.
            kinds = [] if {"array", "object"} & set(kind.split(" | ")) else kind.split(" | ")
        if kinds == ["object"] or place.facts.get("repeats"):
            return _or_null(f"#/components/schemas/{self._object(where, after)}")
        schema: dict[str, Any] = {"type": flow([*kinds, "null"])} if kinds else {}
        if kinds and place.facts.get("format"):
            schema["format"] = place.facts["format"]
        if kinds == ["array"]:
            schema["items"] = self._item(f"{where}[]", after)
        return schema

    def _item(self, where: str, after: str | None) -> dict[str, Any]:
        place = self._upstream.places.get(where)
        if place is None:
            return {}
        schema = self._answer(where, place, after)
        if "anyOf" in schema:
            reference: dict[str, Any] = schema["anyOf"][0]
            return reference
        if "type" in schema and not place.facts["nullable"]:
            kinds = [kind for kind in schema["type"] if kind != "null"]
            schema["type"] = kinds[0] if len(kinds) == 1 else flow(kinds)
        return schema

    def _object(self, where: str, after: str | None) -> str:
        inside = list(self._children(where))
        schemas = ("components", "schemas")
        taken = self._fragment.get(schemas)
        if not inside:
            if OPEN_OBJECT not in taken:
                self._fragment.insert(schemas, OPEN_OBJECT, _OPEN_OBJECT_SCHEMA, blank=True)
            return OPEN_OBJECT
        name = component_name(where, taken)
        head = {"description": self.description, "type": "object", "properties": {"_": {}}}
        self._fragment.insert(schemas, name, head, after=after, blank=True)
        properties = {child: self.answer(f"{where}.{child}", name) for child in inside}
        self._fragment.set((*schemas, name, "properties"), properties)
        return name

    def _children(self, where: str) -> Iterator[str]:
        for child, place in self._upstream.places.items():
            name = child.removeprefix(f"{where}.")
            if place.parent == where and name != child and is_attribute_name(name):
                yield name

    def request(self, where: str) -> dict[str, Any]:
        """A parameter as upstream has it, to the letter: what is sent must fit."""
        place = self._upstream.places[where]
        facts = place.facts
        kind = str(facts["type"])
        item: dict[str, Any] = {"type": kind.removeprefix("array of ")}
        if facts["format"]:
            item["format"] = facts["format"]
        if isinstance(facts["enum"], tuple):
            item["enum"] = [quoted(value) for value in facts["enum"]]
        if isinstance(facts["bounds"], tuple):
            item.update({str(one[0]): one[1] for one in facts["bounds"] if isinstance(one, tuple)})
        if " | " in item["type"]:
            item["type"] = flow(item["type"].split(" | "))
        if item["type"] == "any":
            del item["type"]
        schema = {"type": "array", "items": item} if kind.startswith("array of ") else item
        if facts["default"] is not None:
            schema["default"] = quoted(facts["default"])
        position, name = where.split(" ", 1)
        return {
            "name": quoted(name) if name[0] in "#0123456789" else name,
            "in": position,
            **({"required": True} if facts["required"] else {}),
            **({"style": facts["style"]} if facts["style"] not in ("form", "simple") else {}),
            **({"explode": facts["explode"]} if facts["explode"] is False else {}),
            "schema": {"description": self.description, **schema},
        }


def is_attribute_name(name: str) -> bool:
    """Whether a JSON name can be a Python attribute, as the decoder wants it."""
    return name.isidentifier() and not keyword.iskeyword(name)


def _or_null(reference: str) -> dict[str, Any]:
    return {"anyOf": [{"$ref": quoted(reference)}, {"type": quoted("null")}]}

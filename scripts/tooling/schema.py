"""Resolves JSON schemas of OpenAPI 3.0 and 3.1 into what they say about the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from attrs import evolve, frozen

from tooling.terminal import one_line

Fact: TypeAlias = "str | bool | int | float | tuple[Fact, ...] | None"
Document: TypeAlias = Mapping[str, Any]

BOUNDS = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
)
_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
DOCS = ("title", "description", "example", "examples", "default")


class DocumentError(Exception):
    """A document that cannot be read as OpenAPI; the message is one line with the place."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class Unfolded(dict[str, Any]):
    """A document with a limit on the schemas it may resolve to.

    With nested references a small document can expand to more schemas than fit into memory.
    """

    _AT_MOST = 20_000
    _count = 0

    def count(self, where: str) -> None:
        """Called once for each schema."""
        self._count += 1
        if self._count > self._AT_MOST:
            raise DocumentError(f"{where}: unfolds into more than {self._AT_MOST} schemas")


@frozen
class Schema:
    """One schema with all references resolved.

    `type` is the JSON type: several are joined by ` | `, and `any` means that none is given. `enum`
    is None if every value is allowed; `closed` means that only values of `enum` are. `source` is
    the reference that led here. A schema that contains itself is resolved once; inside, `repeats`
    is its reference.
    """

    type: str = "any"
    format: str | None = None
    nullable: bool = False
    enum: tuple[Fact, ...] | None = None
    closed: bool = True
    bounds: tuple[Fact, ...] = ()
    properties: Mapping[str, Schema] = {}
    required: frozenset[str] = frozenset()
    items: Schema | None = None
    values: Schema | None = None
    source: str | None = None
    repeats: str | None = None
    docs: Mapping[str, Fact] = {}


def dereference(document: Document, part: Any, where: str) -> dict[str, Any]:
    """`part`, or what its `$ref` points to; keys beside the `$ref` take precedence.

    Raises:
        DocumentError: the reference leads nowhere, in a circle, or out of the document.
    """
    seen: list[str] = []
    beside: dict[str, Any] = {}
    while isinstance(part, Mapping) and "$ref" in part:
        reference = part["$ref"]
        if reference in seen:
            raise DocumentError(f"{where}: $ref {reference} leads back to itself")
        seen.append(reference)
        beside = {**{key: part[key] for key in part if key != "$ref"}, **beside}
        part = lookup(document, reference, where)
    if not isinstance(part, Mapping):
        raise DocumentError(f"{where}: expected an object, found {_short(part)}")
    return {**part, **beside}


def lookup(document: Document, reference: Any, where: str) -> Any:
    """The target of a local reference such as `#/components/schemas/Job`."""
    if not isinstance(reference, str) or not reference.startswith("#/"):
        raise DocumentError(f"{where}: $ref {reference!r} does not lead into this document")
    found: Any = document
    for step in reference[2:].split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or key not in found:
            raise DocumentError(f"{where}: $ref {reference} leads nowhere")
        found = found[key]
    return found


def resolve(document: Document, raw: Any, where: str, path: tuple[str, ...] = ()) -> Schema:
    """The schema `raw`, resolved.

    Args:
        where: place of the schema, for error messages.
        path: the references being resolved, to find cycles.
    """
    if isinstance(document, Unfolded):
        document.count(where)
    if isinstance(raw, bool):
        return Schema()
    if not isinstance(raw, Mapping):
        raise DocumentError(f"{where}: expected a schema, found {_short(raw)}")
    own = _own(document, {key: raw[key] for key in raw if key != "$ref"}, where, path)
    parts = [resolve(document, one, where, path) for one in list_in(raw, "allOf", where)]
    if "$ref" in raw:
        parts.insert(0, _follow(document, raw["$ref"], where, path))
    whole = own
    for part in reversed(parts):
        whole = _both(part, whole)
    for keyword in ("anyOf", "oneOf"):
        choices = [resolve(document, one, where, path) for one in list_in(raw, keyword, where)]
        if choices:
            whole = _both(_either(choices), whole)
    return whole


def _follow(document: Document, reference: Any, where: str, path: tuple[str, ...]) -> Schema:
    target = lookup(document, reference, where)
    if reference in path:
        kind = target.get("type") if isinstance(target, Mapping) else None
        return Schema(type=kind if isinstance(kind, str) else "object", repeats=reference)
    return evolve(resolve(document, target, where, (*path, reference)), source=reference)


def _own(document: Document, raw: Document, where: str, path: tuple[str, ...]) -> Schema:
    properties = object_in(raw, "properties", where)
    types, nullable = _types(raw, where)
    enum = _enum(raw, where)
    if enum is not None and None in enum:
        nullable, enum = True, tuple(value for value in enum if value is not None)
    additional = raw.get("additionalProperties")
    return Schema(
        type=types,
        format=text_in(raw, "format", where),
        nullable=nullable,
        enum=enum,
        bounds=tuple((key, freeze(raw[key])) for key in sorted(BOUNDS) if key in raw),
        properties={
            name: resolve(document, part, f"{where}.{name}", path)
            for name, part in properties.items()
        },
        required=frozenset(map(str, list_in(raw, "required", where))),
        items=resolve(document, raw["items"], f"{where}[]", path) if "items" in raw else None,
        # False and {} are ignored: the API may add unknown fields at any time.
        values=(
            resolve(document, additional, f"{where}.*", path)
            if isinstance(additional, Mapping) and additional
            else None
        ),
        docs={key: freeze(raw[key]) for key in DOCS if key in raw},
    )


def _types(raw: Document, where: str) -> tuple[str, bool]:
    said = raw.get("type", ())
    types = [said] if isinstance(said, str) else said
    if not isinstance(types, Sequence) or not all(isinstance(one, str) for one in types):
        raise DocumentError(f"{where}: type {_short(said)} is neither a name nor a list of names")
    unknown = [one for one in types if one not in _TYPES]
    if unknown:
        raise DocumentError(
            f"{where}: type {_short(unknown[0])} is none of {', '.join(sorted(_TYPES))}"
        )
    nullable = bool(raw.get("nullable")) or "null" in types
    names = sorted({*types} - {"null"})
    if not names:
        names = ["null"] if "null" in types else [_implied_type(raw)]
    return " | ".join(names), nullable


def _implied_type(raw: Document) -> str:
    if "properties" in raw or "required" in raw:
        return "object"
    if "items" in raw:
        return "array"
    values = [*(raw.get("enum") or ()), *([raw["const"]] if "const" in raw else ())]
    if values and all(isinstance(value, str) for value in values):
        return "string"
    return "any"


def _enum(raw: Document, where: str) -> tuple[Fact, ...] | None:
    if "const" in raw:
        return (freeze(raw["const"]),)
    if raw.get("enum") is None:
        return None
    return tuple(sorted({freeze(value) for value in list_in(raw, "enum", where)}, key=repr))


def _both(part: Schema, outer: Schema) -> Schema:
    """allOf: `part` and `outer` both hold; where they differ, `outer` takes precedence."""
    return Schema(
        type=part.type if outer.type == "any" else outer.type,
        format=outer.format or part.format,
        nullable=outer.nullable or part.nullable,
        enum=part.enum if outer.enum is None else outer.enum,
        closed=part.closed and outer.closed,
        bounds=tuple(sorted({**dict(_pairs(part.bounds)), **dict(_pairs(outer.bounds))}.items())),
        properties={
            **part.properties,
            **{
                name: _both(part.properties[name], schema) if name in part.properties else schema
                for name, schema in outer.properties.items()
            },
        },
        required=part.required | outer.required,
        items=outer.items or part.items,
        values=outer.values or part.values,
        source=outer.source or part.source,
        repeats=outer.repeats or part.repeats,
        docs={**part.docs, **outer.docs},
    )


def _either(choices: Sequence[Schema]) -> Schema:
    """anyOf, oneOf: a schema that all choices satisfy."""
    nullable = any(choice.nullable or choice.type == "null" for choice in choices)
    real = [choice for choice in choices if choice.type != "null"]
    if len(real) == 1:
        return evolve(real[0], nullable=nullable)
    if not real:
        return Schema(type="null", nullable=True)
    enums = [choice.enum for choice in real if choice.enum is not None]
    names = {name for choice in real for name in choice.properties}
    items = [choice.items for choice in real if choice.items is not None]
    values = [choice.values for choice in real if choice.values is not None]
    types = {kind for choice in real for kind in choice.type.split(" | ")}
    formats = {choice.format for choice in real}
    return Schema(
        type="any" if "any" in types else " | ".join(sorted(types)),
        format=formats.pop() if len(formats) == 1 else None,
        nullable=nullable,
        enum=tuple(sorted({one for enum in enums for one in enum}, key=repr)) if enums else None,
        # An enum beside a choice without one is open: it lists known values and excludes none.
        closed=len(enums) == len(real) and all(choice.closed for choice in real),
        properties={
            name: _one_or_either([c.properties[name] for c in real if name in c.properties])
            for name in sorted(names)
        },
        required=frozenset.intersection(*(choice.required for choice in real)),
        items=_one_or_either(items) if items else None,
        values=_one_or_either(values) if values else None,
        docs=_shared_docs(real),
    )


def _shared_docs(choices: Sequence[Schema]) -> dict[str, Fact]:
    """The docs that are equal in all choices."""
    first, *others = choices
    return {
        key: said
        for key, said in first.docs.items()
        if all(key in choice.docs and choice.docs[key] == said for choice in others)
    }


def _one_or_either(choices: Sequence[Schema]) -> Schema:
    return choices[0] if len(choices) == 1 else _either(choices)


def freeze(value: Any) -> Fact:
    """A JSON or YAML value as a hashable value."""
    if isinstance(value, Mapping):
        return tuple((str(key), freeze(value[key])) for key in sorted(value, key=str))
    if isinstance(value, list | tuple):
        return tuple(freeze(one) for one in value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)


def _pairs(bounds: tuple[Fact, ...]) -> list[tuple[str, Fact]]:
    return [(str(pair[0]), pair[1]) for pair in bounds if isinstance(pair, tuple)]


def list_in(raw: Document, key: str, where: str) -> list[Any]:
    """The list at `key`; empty if there is none."""
    value = raw.get(key)
    if value is not None and not isinstance(value, list):
        raise DocumentError(f"{where}: {key} is {_short(value)}, expected a list")
    return value or []


def object_in(raw: Document, key: str, where: str) -> Document:
    """The object at `key`; empty if there is none."""
    value = raw.get(key)
    if value is not None and not isinstance(value, Mapping):
        raise DocumentError(f"{where}: {key} is {_short(value)}, expected an object")
    return value or {}


def text_in(raw: Document, key: str, where: str) -> str | None:
    """The text at `key`; None if there is none."""
    value = raw.get(key)
    if value is not None and not isinstance(value, str):
        raise DocumentError(f"{where}: {key} is {_short(value)}, expected text")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."

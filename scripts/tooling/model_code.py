"""Turns the generator's models into the data of the model templates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen
from openapi_python_client.parser.openapi import GeneratorData
from openapi_python_client.parser.properties import (
    AnyProperty,
    EnumProperty,
    LiteralEnumProperty,
    ModelProperty,
)
from openapi_python_client.parser.properties.boolean import BooleanProperty
from openapi_python_client.parser.properties.datetime import DateTimeProperty
from openapi_python_client.parser.properties.float import FloatProperty
from openapi_python_client.parser.properties.int import IntProperty
from openapi_python_client.parser.properties.list_property import ListProperty
from openapi_python_client.parser.properties.none import NoneProperty
from openapi_python_client.parser.properties.protocol import PropertyProtocol
from openapi_python_client.parser.properties.union import UnionProperty
from openapi_python_client.schema import UntrustedString

from tooling.python_text import attribute, literal, name

# A missing id must be reported. Other required text that is missing becomes empty.
_NEVER_MISSING = "id"


@frozen
class Member:
    """An attribute of a model; `default` is source code, empty if the member is required."""

    name: str
    annotation: str
    default: str
    words: str


@frozen
class ModelClass:
    """An object of the API; without members it stands for any JSON object."""

    name: str
    words: str
    members: tuple[Member, ...]


@frozen
class EnumClass:
    """An enum; `values` are pairs of source: name and literal. An open one accepts other texts."""

    name: str
    words: str
    values: tuple[tuple[str, str], ...]
    is_open: bool


@frozen
class Types:
    """Writes the generator's properties as Python types."""

    models: Mapping[str, ModelProperty]

    def parts(self, prop: PropertyProtocol) -> Iterator[PropertyProtocol]:
        """The property itself, or the members of a union."""
        if isinstance(prop, UnionProperty):
            for part in prop.inner_properties:
                yield from self.parts(part)
        else:
            yield prop

    def kind(self, prop: PropertyProtocol) -> str:
        """The kind of JSON value, as far as msgspec distinguishes them."""
        match prop:
            case NoneProperty():
                return "None"
            case BooleanProperty():
                return "bool"
            case IntProperty():
                return "int"
            case FloatProperty():
                return "float"
            case DateTimeProperty():
                return "Timestamp"
            case ListProperty():
                return "list"
            case ModelProperty():
                return "object"
            case EnumProperty() if is_listed(prop):
                return "enum"
            case EnumProperty() if prop.value_type is int:
                return "int"
            case AnyProperty():
                return "Any"
        return "str"

    def one(self, prop: PropertyProtocol) -> str:
        """The annotation of one member of a union."""
        match prop:
            case ListProperty():
                inner = self.annotation(prop.inner_property, optional=False)
                return f"list[{inner}]"
            case ModelProperty():
                return name(prop.class_info.name)
            case EnumProperty() if is_listed(prop):
                return f"Any{name(prop.class_info.name)}"
        return self.kind(prop)

    def annotation(self, prop: PropertyProtocol, *, optional: bool) -> str:
        """The annotation of a property."""
        found: dict[str, list[str]] = {}
        for part in self.parts(prop):
            found.setdefault(self.kind(part), []).append(self.one(part))
        optional = found.pop("None", None) is not None or optional
        # An inline enum occurs once per member of the union. Enums are open: the first accepts all.
        del found.get("enum", [])[1:]
        texts = [kind for kind in ("enum", "Timestamp", "str") if kind in found]
        if texts == ["enum", "str"]:
            del found["str"]
        elif len(texts) > 1:
            found = {kind: types for kind, types in found.items() if kind not in texts}
            found["str"] = ["str"]
        types = [dict.fromkeys(types) for types in found.values()]
        if not types or "Any" in found or any(len(one) > 1 for one in types):
            return "Any"
        return " | ".join([*(next(iter(one)) for one in types), *(["None"] if optional else [])])

    def member(self, prop: PropertyProtocol) -> Member:
        """An attribute. Required text, lists and objects may be empty; all others may be None."""
        kinds = [self.kind(part) for part in self.parts(prop)]
        optional = not prop.required or len(kinds) > 1 or kinds[0] not in ("str", "list", "object")
        wire = raw(prop.name)
        default = "None" if optional else self._empty(prop, wire)
        python = attribute(wire)
        if python != wire or (default and "lambda" in default):
            given = [f"name={literal(wire)}"] if python != wire else []
            key = "default_factory" if default and "lambda" in default else "default"
            given += [f"{key}={default}"] if default else []
            default = f"msgspec.field({', '.join(given)})"
        return Member(
            name=python,
            annotation=self.annotation(prop, optional=optional),
            default=f" = {default}" if default else "",
            words=raw(prop.description),
        )

    def _empty(self, prop: PropertyProtocol, wire: str) -> str:
        """The default for a missing member; empty if its absence must be reported."""
        match prop:
            case ModelProperty() if self._may_be_empty(prop):
                # A lambda: the class may be defined further down.
                return f"lambda: {self.one(prop)}()"
            case EnumProperty():
                (constant,) = (value for _, value in members(prop))
                return constant
            case ListProperty() | ModelProperty():
                return ""
        return "" if wire == _NEVER_MISSING else '""'

    def _may_be_empty(self, prop: ModelProperty) -> bool:
        model = self.models[prop.class_info.name]
        given = properties(model)
        return bool(given) and all(self.member(one).default for one in given)


def classes(openapi: GeneratorData) -> tuple[list[EnumClass], list[ModelClass]]:
    """All classes of a revision, each kind in the order of the document."""
    types = Types({model.class_info.name: model for model in openapi.models})
    received = {
        part.class_info.name
        for model in openapi.models
        for prop in properties(model)
        for part in _leaves(types, prop)
        if isinstance(part, EnumProperty)
    }
    enums = [
        EnumClass(
            name=name(enum.class_info.name),
            words=raw(enum.description) or enum.class_info.name,
            values=tuple(members(enum)),
            is_open=enum.class_info.name in received,
        )
        for enum in openapi.enums
        if isinstance(enum, EnumProperty) and is_listed(enum)
    ]
    models = [
        ModelClass(
            name=name(model.class_info.name),
            words=raw(model.description) or model.class_info.name,
            members=tuple(types.member(prop) for prop in properties(model)),
        )
        for model in openapi.models
    ]
    return enums, models


def properties(model: ModelProperty) -> Sequence[PropertyProtocol]:
    """A model's properties, in the order of the document."""
    order = [str(raw(key)) for key in model.data.properties or ()]
    found = [*(model.required_properties or ()), *(model.optional_properties or ())]
    # Properties from allOf come last.
    last = len(order)
    place = {key: number for number, key in enumerate(order)}
    return sorted(found, key=lambda prop: place.get(raw(prop.name), last))


def _leaves(types: Types, prop: PropertyProtocol) -> Iterator[PropertyProtocol]:
    for part in types.parts(prop):
        if isinstance(part, ListProperty):
            yield from _leaves(types, part.inner_property)
        else:
            yield part


def is_listed(enum: EnumProperty | LiteralEnumProperty) -> bool:
    """Whether the enum gets a class: it has texts, and more than one."""
    return enum.value_type is str and len(enum.values) > 1


def members(enum: EnumProperty) -> Iterator[tuple[str, str]]:
    """Name and literal of each value. The generator gives values escaped as in JSON."""
    for key, value in enum.values.items():
        yield name(key), literal(json.loads(f'"{value}"'))


def raw(said: UntrustedString | str | None) -> str:
    """The text without the generator's escaping."""
    return said.get_untrusted_value() if isinstance(said, UntrustedString) else said or ""

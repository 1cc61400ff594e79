"""The generator's models as classes to write down: names, annotations, defaults, words."""

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

# An identifier that is missing is worth telling; other text that must be there reads as empty.
_NEVER_MISSING = "id"


@frozen
class Member:
    """An attribute of a model; `default` is source, empty where the member must be there."""

    name: str
    annotation: str
    default: str
    words: str


@frozen
class ModelClass:
    """An object of the API; one without members is any JSON object."""

    name: str
    words: str
    members: tuple[Member, ...]


@frozen
class EnumClass:
    """Listed texts, as pairs of source: a name and a literal. An open one takes others as well."""

    name: str
    words: str
    values: tuple[tuple[str, str], ...]
    is_open: bool


@frozen
class Types:
    """How the generator's properties are written down."""

    models: Mapping[str, ModelProperty]

    def parts(self, prop: PropertyProtocol) -> Iterator[PropertyProtocol]:
        """The property, or what it is a choice of."""
        if isinstance(prop, UnionProperty):
            for part in prop.inner_properties:
                yield from self.parts(part)
        else:
            yield prop

    def kind(self, prop: PropertyProtocol) -> str:
        """How JSON writes it, and what msgspec tells apart."""
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
        """The type of one choice."""
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
        """The type of a property."""
        found: dict[str, list[str]] = {}
        for part in self.parts(prop):
            found.setdefault(self.kind(part), []).append(self.one(part))
        optional = found.pop("None", None) is not None or optional
        # Written in place, an enum comes once per choice; it is open, so that one stands for all.
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
        """An attribute. Only text, lists and objects can be empty; all else may be None."""
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
        """What stands for a member that is missing; nothing where that is worth telling."""
        match prop:
            case ModelProperty() if self._may_be_empty(prop):
                # Called late: the class may stand further down.
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
    # What is taken over from elsewhere (allOf) stands behind.
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
    """Whether it is worth a class: texts, and more than one."""
    return enum.value_type is str and len(enum.values) > 1


def members(enum: EnumProperty) -> Iterator[tuple[str, str]]:
    """Name and literal of each value, which the generator hands out escaped."""
    for key, value in enum.values.items():
        yield name(key), literal(json.loads(f'"{value}"'))


def raw(said: UntrustedString | str | None) -> str:
    """The text, untouched."""
    return said.get_untrusted_value() if isinstance(said, UntrustedString) else said or ""

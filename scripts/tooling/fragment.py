"""Reads a fragment into what the registry of revisions needs."""

from __future__ import annotations

import builtins
import copy
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen
from ruamel.yaml import YAML

from tooling.python_text import UnusableTextError, attribute, literal, name
from tooling.round_trip import NO_YAML, yaml_fault
from tooling.schema import BOUNDS, DOCS, DocumentError, Schema, dereference, resolve
from tooling.terminal import one_line
from tooling.wire import read_wire

OPERATION = "get_create_variants_jobs"
TAG = "Catalogs"
LIFECYCLE = ("queued", "processing", "complete", "cancelled")

_FILE_NAME = re.compile(r"\d{4}-\d\d-\d\d\.yaml", re.ASCII)
# Values that get into requests and generated code must match a pattern: documents are untrusted.
_VERSION = re.compile(r"3\.1\.\d", re.ASCII)
_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,99}){1,20}/?", re.ASCII)
_MEDIA_TYPE = re.compile(r"[a-z]{1,40}/[A-Za-z0-9.+-]{1,100}", re.ASCII)
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}", re.ASCII)
_PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}(\[[A-Za-z0-9_.-]{1,100}\])?", re.ASCII)
_LOCAL = frozenset({"client", "headers", "kwargs", "params"})
_TYPES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
_LIMITS = {"burst": re.compile(r"[1-9]\d{0,8}/s"), "steady": re.compile(r"[1-9]\d{0,8}/m")}
_SCHEMA_KEYS = frozenset(
    {
        *("$ref", "type", "format", "enum", "const", "properties", "required", "items"),
        *("additionalProperties", "allOf", "anyOf", "oneOf"),
        *(*BOUNDS, *DOCS),
    }
)


class FragmentError(Exception):
    """A fragment that no code can be generated from; the message names the file and the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message, 300))


@frozen
class Parameter:
    """A parameter of the operation, on the wire and in Python."""

    place: Literal["query", "header"]
    wire: str
    keyword: str
    annotation: str
    is_list: bool
    joined: bool
    """Whether a list is sent as one text, joined by commas."""
    is_required: bool
    default: str | float | None
    words: str

    @property
    def is_optional(self) -> bool:
        """Whether a call may leave it out, so that nothing is sent."""
        return not self.is_required and self.default is None

    @property
    def default_source(self) -> str:
        """Its default in a signature, as source; empty if a value is required."""
        if self.is_required and self.default is None:
            return ""
        return f" = {literal(self.default)}"


@frozen
class Fragment:
    """The data of a fragment for the generated registry."""

    file: Path
    date: str
    path: str
    media_type: str
    burst: int
    steady: int
    fields: tuple[str, ...]
    statuses: tuple[str, ...]
    id_in_attributes: bool
    parameters: tuple[Parameter, ...]
    document: dict[str, Any] = field(repr=False, eq=False)

    @property
    def query(self) -> tuple[str, ...]:
        """The query parameters, by their names on the wire."""
        return tuple(one.wire for one in self.parameters if one.place == "query")

    @property
    def package(self) -> str:
        """Name of the revision's package inside the generated package."""
        return f"r{self.date.replace('-', '_')}"


def fragments(spec_dir: Path) -> list[Fragment]:
    """All fragments of a folder, oldest first.

    Raises:
        FragmentError: there is none, or one of them lacks what the registry needs.
    """
    return [read(spec_dir / f"{date}.yaml") for date in kept_dates(spec_dir)]


def kept_dates(spec_dir: Path) -> list[str]:
    """The dates of all fragments of a folder, oldest first.

    Raises:
        FragmentError: there is none.
    """
    dates = sorted(one.stem for one in spec_dir.iterdir() if _FILE_NAME.fullmatch(one.name))
    if not dates:
        raise FragmentError(f"{spec_dir} holds no fragment; expected files such as 2026-07-15.yaml")
    return dates


def load(file: Path) -> dict[str, Any]:
    """The document of a fragment, without its comments."""
    try:
        document = copy.deepcopy(_parsed(file.read_bytes()))
    except RecursionError as error:
        raise FragmentError(f"{file.name} is nested too deeply") from error
    except NO_YAML as error:
        raise FragmentError(f"{file.name} is no YAML: {yaml_fault(error)}") from error
    if not isinstance(document, dict):
        raise FragmentError(f"{file.name} is no mapping")
    return document


@lru_cache(maxsize=8)
def _parsed(content: bytes) -> Any:
    return YAML(typ="safe").load(content)


def read(file: Path) -> Fragment:
    """One fragment."""
    return from_document(file, load(file))


def from_document(file: Path, document: dict[str, Any]) -> Fragment:
    """The fragment `document`, as if read from `file`."""
    try:
        return _fragment(file, document)
    except (DocumentError, UnusableTextError) as error:
        raise FragmentError(f"{file.name}: {error}") from error
    except RecursionError as error:
        raise FragmentError(f"{file.name} is nested too deeply") from error
    except (KeyError, StopIteration) as error:
        raise FragmentError(
            f"{file.name} lacks {error}, which the registry is made from; "
            "compare it with another fragment"
        ) from error
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise FragmentError(
            f"{file.name} has something of a kind that the registry cannot be made from "
            f"({error}); compare it with another fragment"
        ) from error


def _fragment(file: Path, document: dict[str, Any]) -> Fragment:
    date = document["info"]["version"]
    if date != file.stem:
        raise FragmentError(
            f"{file.name} says info.version: {date}; file name and version must agree"
        )
    _fitting(file, "version of OpenAPI", document["openapi"], _VERSION)
    read_wire(document)  # Raises if the change report could not read it.
    path, item = next(iter(document["paths"].items()))
    operation = item["get"]
    if operation["operationId"] != OPERATION or operation["tags"] != [TAG]:
        raise FragmentError(
            f"{file.name}: operationId must be {OPERATION} and tags [{TAG}] in every revision, "
            "whatever upstream calls them"
        )
    schemas = document["components"]["schemas"]
    _check_schema_keys(file, document)
    _check_names(file, schemas)
    limits = operation["x-klaviyo-ratelimit"]
    media_type = next(iter(operation["responses"]["200"]["content"]))
    return Fragment(
        file=file,
        date=date,
        path=_fitting(file, "path", path, _PATH),
        media_type=_fitting(file, "media type", media_type, _MEDIA_TYPE),
        burst=_limit(file, limits, "burst"),
        steady=_limit(file, limits, "steady"),
        fields=_words(file, "field", schemas["JobField"]["enum"]),
        statuses=in_lifecycle_order(_words(file, "status", schemas["JobStatus"]["enum"])),
        id_in_attributes="id" not in schemas["Job"]["properties"],
        parameters=_parameters(
            file, document, [*item.get("parameters", ()), *operation["parameters"]]
        ),
        document=document,
    )


def _fitting(file: Path, what: str, text: Any, pattern: re.Pattern[str]) -> str:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise FragmentError(f"{file.name}: {one_line(ascii(text), 80)} is no {what} we would use")
    return text


def _words(file: Path, what: str, listed: list[Any]) -> tuple[str, ...]:
    return tuple(_fitting(file, what, text, _WORD) for text in listed)


def _parameters(file: Path, document: dict[str, Any], listed: list[Any]) -> tuple[Parameter, ...]:
    found: list[Parameter] = []
    for one in listed:
        said = dereference(document, one, "parameters")
        wire = _fitting(file, "parameter", said["name"], _PARAMETER)
        if said["in"] not in ("query", "header"):
            raise FragmentError(
                f"{file.name}: {wire} is sent in {said['in']!r}; the client knows query and header"
            )
        keyword = _keyword(wire, [one.keyword for one in found])
        found.append(_parameter(said, wire, keyword, resolve(document, said["schema"], wire)))
    if {"revision": document["info"]["version"]}.items() - {
        (one.wire, one.default) for one in found if one.place == "header"
    }:
        raise FragmentError(f"{file.name}: the header revision must default to the fragment's date")
    keywords = [one.keyword for one in found]
    for keyword in keywords:
        if keywords.count(keyword) > 1:
            raise FragmentError(f"{file.name}: two parameters would be called {keyword} in Python")
    return tuple(found)


def _parameter(said: dict[str, Any], wire: str, keyword: str, schema: Schema) -> Parameter:
    one = schema.items or schema
    kind = _TYPES.get(one.type)
    if kind is None or (one is schema and schema.type == "array"):
        raise DocumentError(f"{wire} is of type {one.type}, which the client cannot send")
    required = bool(said.get("required"))
    default = schema.docs.get("default")
    if not isinstance(default, str | int | float) or not (required or said["in"] == "header"):
        default = None  # The server applies it; the client sends nothing.
    return Parameter(
        place=said["in"],
        wire=wire,
        keyword=keyword,
        annotation=f"list[{kind}] | tuple[{kind}, ...]" if schema.items else kind,
        is_list=schema.items is not None,
        joined=not said.get("explode", said["in"] == "query"),
        is_required=required,
        default=default,
        words=str(said.get("description") or schema.docs.get("description") or ""),
    )


def _keyword(wire: str, taken: list[str]) -> str:
    """The Python name: the first `fields[...]` is `fields`, `page[cursor]` is `page_cursor`."""
    if wire.startswith("fields[") and "fields" not in taken:
        return "fields"
    text = re.sub(r"[^a-z0-9]+", "_", wire.lower()).strip("_")
    if hasattr(builtins, text) or text in _LOCAL:
        text += "_"
    return attribute(text)


def _check_schema_keys(file: Path, document: dict[str, Any]) -> None:
    """Refuse schema keys that nothing reads, such as misspelled ones."""
    for schema in _schemas_in(document):
        for key in schema:
            if key not in _SCHEMA_KEYS and not str(key).startswith("x-"):
                known = ", ".join(sorted(_SCHEMA_KEYS))
                raise FragmentError(
                    f"{file.name}: no schema has {key!r}; is it a misspelling? Known are {known}"
                )


def _schemas_in(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        for key, child in part.items():
            if key == "schema":
                yield from _with_inner(child)
            elif key == "schemas":
                for schema in child.values():
                    yield from _with_inner(schema)
            else:
                yield from _schemas_in(child)
    elif isinstance(part, list):
        for child in part:
            yield from _schemas_in(child)


def _with_inner(schema: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(schema, dict):
        return
    yield schema
    choices = [one for key in ("allOf", "anyOf", "oneOf") for one in schema.get(key, [])]
    lone = [schema.get("items"), schema.get("additionalProperties")]
    for inner in (*schema.get("properties", {}).values(), *choices, *lone):
        yield from _with_inner(inner)


def _check_names(file: Path, schemas: dict[str, Any]) -> None:
    for component, schema in schemas.items():
        name(component)
        for member in schema.get("properties", {}):
            try:
                attribute(member)
            except UnusableTextError as error:
                raise FragmentError(
                    f"{file.name}: {component}.{one_line(member, 80)} cannot be a Python "
                    f"attribute; describe {component} as a JsonObject, or leave the property out "
                    "and declare that"
                ) from error


def _limit(file: Path, limits: dict[str, Any], key: str) -> int:
    if not is_limit(key, limits[key]):
        form = {"burst": "75/s", "steady": "750/m"}[key]
        raise FragmentError(
            f"{file.name}: x-klaviyo-ratelimit says {limits[key]!r}; expected a form like {form}"
        )
    return int(str(limits[key]).partition("/")[0])


def is_limit(key: str, value: object) -> bool:
    """Whether a limit has the right form: `75/s` for `burst`, `750/m` for `steady`."""
    return bool(_LIMITS[key].fullmatch(str(value)))


def in_lifecycle_order(statuses: Sequence[str]) -> tuple[str, ...]:
    """The statuses in lifecycle order; unknown ones come last."""
    known = [status for status in LIFECYCLE if status in statuses]
    return (*known, *(status for status in statuses if status not in LIFECYCLE))

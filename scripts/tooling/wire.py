"""The wire model of an OpenAPI operation: a flat mapping from places to facts.

Names of places are such as `200.data[].attributes.job_id`, `query filter`, `rate limit`. The names,
structure and order of components do not matter, so documents by different authors can be compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

from attrs import frozen

from tooling.schema import (
    Document,
    DocumentError,
    Fact,
    Schema,
    Unfolded,
    dereference,
    freeze,
    list_in,
    object_in,
    resolve,
    text_in,
)

PATH = "/api/catalog-variant-bulk-create-jobs"
# Klaviyo has renamed the operation and keeps the older names as aliases.
OPERATION_NAMES = frozenset(
    {
        "get_create_variants_jobs",
        "get_bulk_create_variants_jobs",
        "get_catalog_variant_bulk_create_jobs",
    }
)
_TOP = "the document"  # The place of errors outside all parts.
_PLACES_AT_MOST = 5_000
_POSITIONS = ("query", "header", "path", "cookie")
FILTER = "query filter"
REVISION = "header revision"

Kind: TypeAlias = Literal["answer", "request", "service", "operation"]


@frozen
class Place:
    """One place.

    Attributes:
        kind: `answer` for responses, `request` for requests, `service` for limits, path, scopes
            and the like, `operation` for docs of the operation.
        parent: the place that contains it, if any.
        facts: what code can notice, by name.
        docs: what only readers notice, by name.
    """

    kind: Kind
    facts: Mapping[str, Fact]
    docs: Mapping[str, Fact] = {}
    parent: str | None = None


@frozen
class Wire:
    """One operation. `revision` is the one that the document states, or an empty string."""

    revision: str
    places: Mapping[str, Place]


def read_wire(document: Document) -> Wire:
    """The wire model of our operation in the document.

    Raises:
        DocumentError: the document is not OpenAPI, lacks the operation, or is inconsistent.
    """
    path, item = find_operation(document)
    document = Unfolded(document)
    operation = dereference(document, item["get"], f"paths.{path}.get")
    places: dict[str, Place] = {}
    for owner in (item, operation):
        for raw in list_in(owner, "parameters", path):
            places.update(_parameter(document, raw))
    if "requestBody" in operation:
        places.update(_request_body(document, operation["requestBody"]))
    if FILTER in places:
        places.update(_filters(document, object_in(operation, "x-klaviyo-filters", path)))
    media_types = {}
    responses = operation.get("responses")
    if not isinstance(responses, Mapping) or not responses:
        raise DocumentError(f"{path}: the operation describes no responses")
    for status, raw in responses.items():
        response = dereference(document, raw, f"responses.{status}")
        content = object_in(response, "content", f"responses.{status}")
        if content:
            media_types[str(status)] = tuple(sorted(content))
        places.update(_response(document, str(status), response))
    places.update(_service(document, path, operation, media_types))
    if len(places) > _PLACES_AT_MOST:
        raise DocumentError(f"{path}: describes {len(places)} things, more than {_PLACES_AT_MOST}")
    places["operation"] = Place("operation", {}, _operation_docs(operation))
    return Wire(_revision(document), places)


def find_operation(document: Document) -> tuple[str, dict[str, Any]]:
    """The path and path item, found by the path, else by the names of the operation."""
    paths = document.get("paths") if isinstance(document, Mapping) else None
    if not isinstance(paths, Mapping) or "openapi" not in document:
        raise DocumentError("this is no OpenAPI document: it lacks openapi or paths")
    for path, item in paths.items():
        if str(path).rstrip("/") == PATH and isinstance(item, Mapping) and "get" in item:
            return str(path), dict(item)
    for path, item in paths.items():
        operation = item.get("get") if isinstance(item, Mapping) else None
        if isinstance(operation, Mapping) and _names(operation) & OPERATION_NAMES:
            return str(path), dict(item)
    raise DocumentError(f"the document has no GET {PATH} among its {len(paths)} paths")


def _names(operation: Mapping[str, Any]) -> set[str]:
    aliases = list_in(operation, "x-klaviyo-operation-aliases", "the operation")
    return {str(operation.get("operationId")), *map(str, aliases)}


def _parameter(document: Document, raw: Any) -> Iterator[tuple[str, Place]]:
    parameter = dereference(document, raw, "parameters")
    position, name = (text_in(parameter, key, "a parameter") for key in ("in", "name"))
    if position not in _POSITIONS or not name:
        raise DocumentError(
            f"a parameter lacks its name or one of {', '.join(_POSITIONS)} for where it is sent: "
            f"in {position}, name {name}"
        )
    where = f"{position} {name}"
    schema = resolve(document, parameter.get("schema", {}), where)
    usual = "form" if position in ("query", "cookie") else "simple"
    style = text_in(parameter, "style", where) or usual
    one = schema.items or schema
    compound = one is not schema or bool(schema.properties)
    facts: dict[str, Fact] = {
        "required": bool(parameter.get("required", False)),
        "type": f"array of {one.type}" if schema.items else schema.type,
        "format": one.format,
        "nullable": schema.nullable,
        "enum": one.enum,
        "bounds": schema.bounds if one is schema else (*schema.bounds, *one.bounds),
        "style": style,
        # It has no effect on a single value.
        "explode": bool(parameter.get("explode", style == "form")) if compound else None,
        # The default of the revision header is the document's date, so it always differs.
        "default": None if where == REVISION else schema.docs.get("default"),
    }
    yield where, Place("request", facts, _docs(schema, parameter, without="default"))
    for name, child in schema.properties.items():
        yield from _body(f"{where}.{name}", child, name in schema.required, where, "request", {})


def _request_body(document: Document, raw: Any) -> Iterator[tuple[str, Place]]:
    body = dereference(document, raw, "request body")
    content = object_in(body, "content", "request body")
    facts: dict[str, Fact] = {
        "required": bool(body.get("required", False)),
        "media types": tuple(sorted(content)),
    }
    yield "request body", Place("request", facts)


def _response(document: Document, status: str, raw: dict[str, Any]) -> Iterator[tuple[str, Place]]:
    content = object_in(raw, "content", status)
    media_type = next((name for name in content if "json" in name), next(iter(content), None))
    if media_type is None:
        yield status, Place("answer", {"type": "nothing"})
    else:
        described = dereference(document, content[media_type], f"{status} {media_type}")
        body = resolve(document, described.get("schema", {}), status)
        yield from _body(status, body, None, None, "answer", {})
    for name, header in object_in(raw, "headers", status).items():
        where = f"{status} header {name}"
        schema = resolve(document, dereference(document, header, where).get("schema", {}), where)
        yield from _body(where, schema, None, status, "answer", {})


def _body(
    where: str,
    schema: Schema,
    required: bool | None,
    parent: str | None,
    kind: Kind,
    entered: Mapping[str, str],
) -> Iterator[tuple[str, Place]]:
    facts: dict[str, Fact] = {
        "type": schema.type,
        "format": schema.format,
        "nullable": schema.nullable and schema.type != "any",
        "required": required,
        "enum": schema.enum,
        "closed": None if schema.enum is None else schema.closed,
        "bounds": schema.bounds,
        "repeats": None if schema.repeats is None else entered.get(schema.repeats, "itself"),
    }
    yield where, Place(kind, facts, _docs(schema), parent)
    if schema.source:
        entered = {**entered, schema.source: where}
    for name, child in schema.properties.items():
        inside = name in schema.required
        yield from _body(f"{where}.{name}", child, inside, where, kind, entered)
    if schema.items:
        yield from _body(f"{where}[]", schema.items, None, where, kind, entered)
    if schema.values:
        yield from _body(f"{where}.*", schema.values, None, where, kind, entered)


def _docs(
    schema: Schema, beside: Mapping[str, Any] | None = None, without: str = ""
) -> dict[str, Fact]:
    docs = {key: value for key, value in schema.docs.items() if key != without}
    for key in ("description", "example"):
        if beside and beside.get(key):
            docs[key] = freeze(beside[key])
    return {key: value for key, value in docs.items() if value not in ("", None)}


def _service(
    document: Document,
    path: str,
    operation: Mapping[str, Any],
    media_types: Mapping[str, tuple[str, ...]],
) -> Iterator[tuple[str, Place]]:
    limits = object_in(operation, "x-klaviyo-ratelimit", path)
    servers = [dereference(document, one, "servers") for one in list_in(document, "servers", _TOP)]
    yield "path", Place("service", {"path": path})
    yield "media type", Place("service", media_types)
    yield "rate limit", Place("service", {str(key): freeze(one) for key, one in limits.items()})
    yield "scopes", Place("service", {"scopes": _words(operation, "x-klaviyo-scopes")})
    yield "server", Place("service", {"url": freeze([one.get("url") for one in servers])})
    yield "authentication", Place("service", {"schemes": _schemes(document, operation)})
    lifecycle = {
        "deprecated": bool(operation.get("deprecated", False)),
        "pre-release": _stage(operation.get("x-klaviyo-pre-release")),
    }
    yield "lifecycle", Place("service", lifecycle)


def _filters(document: Document, table: Document) -> Iterator[tuple[str, Place]]:
    for field in table:
        where = f"{FILTER}.{field}"
        rule = dereference(document, table[field], where)
        operators, value = (object_in(rule, key, where) for key in ("operators", "value"))
        listed = [one for kind in operators for one in list_in(operators, kind, where)]
        enum = list_in(value, "enum", where)
        facts: dict[str, Fact] = {
            "operators": _sorted(listed),
            "type": text_in(value, "type", where) or "any",
            "enum": _sorted(enum) if enum else None,
        }
        yield where, Place("request", facts, parent=FILTER)


def _sorted(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(sorted({str(value) for value in values}))


def _schemes(document: Document, operation: Mapping[str, Any]) -> Fact:
    asked = list_in(operation if "security" in operation else document, "security", _TOP)
    known = object_in(object_in(document, "components", _TOP), "securitySchemes", "components")
    names = {name for choice in asked for name in dereference(document, choice, "security")}
    return _sorted(
        " ".join(str(scheme.get(key, "")) for key in ("type", "in", "name")).strip()
        for name in names
        for scheme in [dereference(document, known.get(name, {}), f"securitySchemes.{name}")]
    )


def _stage(said: Any) -> Fact:
    return None if said in (None, "None", "") else str(said)


def _words(operation: Mapping[str, Any], key: str) -> tuple[str, ...]:
    said = operation.get(key)
    return _sorted([said] if isinstance(said, str) else list_in(operation, key, "the operation"))


def _operation_docs(operation: Mapping[str, Any]) -> dict[str, Fact]:
    docs: dict[str, Fact] = {
        key: freeze(operation[key])
        for key in ("operationId", "summary", "description", "tags")
        if operation.get(key)
    }
    for key in ("x-klaviyo-operation-aliases", "x-klaviyo-subtag"):
        if operation.get(key):
            docs[key.removeprefix("x-klaviyo-")] = freeze(operation[key])
    return docs


def _revision(document: Document) -> str:
    info = document.get("info")
    version = str(info.get("version", "")) if isinstance(info, Mapping) else ""
    return version if re.fullmatch(r"\d{4}-\d\d-\d\d(\.\w+)?", version) else ""

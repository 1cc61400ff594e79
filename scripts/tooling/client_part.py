"""The part of a fragment that code is generated from: the operation, its 200 and their components.

Error documents are left out: real ones have any shape, and the overlay reads them itself.
"""

from __future__ import annotations

import re
from typing import Any

from tooling.fragment import Fragment, FragmentError
from tooling.terminal import one_line

# Text for people, which may hold any characters: it becomes docstrings or is dropped.
_WORDS = frozenset({"description", "example", "summary", "title"})
# Left out: the generator would take names of classes and members from these.
_NAMES_OF_THEIRS = frozenset({"title", "x-enum-varnames"})
# Components that the registry needs, with their types.
_NEEDED = {"Job": "object", "JobField": "string", "JobPage": "object", "JobStatus": "string"}
_PARTS_AT_MOST = 100_000
_REFERENCE = re.compile(r"#/components/(\w+)/(.+)", re.ASCII)


def client_part(fragment: Fragment) -> dict[str, Any]:
    """The document for the generator, made of plain values and printable text.

    Raises:
        FragmentError: a name or value is not printable, the document is too large, or a value has
            the wrong type.
    """
    name = fragment.file.name
    try:
        return _client_part(name, fragment.document)
    except RecursionError as error:
        raise FragmentError(f"{name} is nested too deeply") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise FragmentError(
            f"{name} has something of a kind that the client cannot be made from ({error})"
        ) from error


def _client_part(name: str, document: dict[str, Any]) -> dict[str, Any]:
    path, item = next(iter(document["paths"].items()))
    operation = item["get"]
    paths = {
        path: {
            "parameters": item.get("parameters", []),
            "get": {**operation, "responses": {"200": operation["responses"]["200"]}},
        }
    }
    part = {
        "openapi": document["openapi"],
        "paths": paths,
        "components": _reached(document, paths),
    }
    schemas = part["components"]["schemas"]
    for component, kind in _NEEDED.items():
        if component not in schemas or schemas[component].get("type") != kind:
            raise FragmentError(f"{name}: the operation leads to no {component} of type {kind}")
    plain: dict[str, Any] = _Plain(name).copy(part)
    info = document["info"]
    words = {"title": "A client", "description": str(info.get("description", ""))}
    return {**plain, "info": {**words, "version": info["version"]}}


def _reached(document: dict[str, Any], start: Any) -> dict[str, dict[str, Any]]:
    """The components that `start` refers to, also indirectly, in the order of the document."""
    components = document["components"]
    reached: set[tuple[str, str]] = set()
    waiting = [start]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += part.values()
            found = _REFERENCE.fullmatch(str(part.get("$ref", "")))
            if found and found.groups() not in reached:
                kind, name = found.groups()
                reached.add((kind, name))
                waiting.append((components.get(kind) or {}).get(name))
        elif isinstance(part, list):
            waiting += part
    return {
        kind: {name: part for name, part in parts.items() if (kind, name) in reached}
        for kind, parts in components.items()
        if any(one == kind for one, _ in reached)
    }


class _Plain:
    def __init__(self, file_name: str) -> None:
        self._file_name = file_name
        self._left = _PARTS_AT_MOST

    def copy(self, part: Any) -> Any:
        """A copy as dicts, lists and scalars, without `_NAMES_OF_THEIRS`."""
        self._left -= 1
        if self._left < 0:
            raise FragmentError(f"{self._file_name} has more than {_PARTS_AT_MOST} parts")
        if isinstance(part, dict):
            return {
                self.copy(key): one_line(value, 10_000)
                if key in _WORDS and isinstance(value, str)
                else self.copy(value)
                for key, value in part.items()
                if not (key in _NAMES_OF_THEIRS and isinstance(value, str | list))
            }
        if isinstance(part, list):
            return [self.copy(one) for one in part]
        if isinstance(part, str) and not part.isprintable():
            raise FragmentError(f"{self._file_name}: {one_line(ascii(part), 80)} cannot be printed")
        return part

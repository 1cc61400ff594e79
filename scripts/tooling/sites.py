"""Where in a fragment's YAML the places of the wire are written down."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from attrs import field, frozen

from tooling.yaml_text import Path, YamlText

SCHEMAS: Path = ("components", "schemas")


@frozen
class Sites:
    """What is written where.

    Attributes:
        slots: by place, the path of its schema as it stands in its parent.
        bodies: by place, the path of the schema that this leads to through `$ref` and choices.
    """

    slots: dict[str, Path] = field(factory=dict)
    bodies: dict[str, Path] = field(factory=dict)

    def sharing(self, path: Path) -> set[str]:
        """The places whose slot or body is at `path`; several when a component is used twice."""
        return {
            where for kind in (self.slots, self.bodies) for where, at in kind.items() if at == path
        }


def operation_path(fragment: YamlText) -> Path:
    """Path of the fragment's one operation."""
    return ("paths", next(iter(fragment.get(("paths",)))), "get")


def find_sites(fragment: YamlText) -> Sites:
    """Sites of every place of the fragment's answers."""
    sites = Sites()
    responses = (*operation_path(fragment), "responses")
    for status in fragment.get(responses):
        content = (*_followed(fragment, (*responses, status)), "content")
        media_types = fragment.get(content)
        if media_types:
            path = (*content, next(iter(media_types)), "schema")
            _walk(fragment, str(status), path, sites, ())
    return sites


def _walk(
    fragment: YamlText, where: str, slot: Path, sites: Sites, entered: tuple[Path, ...]
) -> None:
    body = schema_body(fragment, slot)
    sites.slots[where], sites.bodies[where] = slot, body
    if body in entered:
        return
    entered = (*entered, body)
    for name in fragment.get((*body, "properties")) or {}:
        _walk(fragment, f"{where}.{name}", (*body, "properties", name), sites, entered)
    if fragment.get((*body, "items")) is not None:
        _walk(fragment, f"{where}[]", (*body, "items"), sites, entered)


def schema_body(fragment: YamlText, path: Path) -> Path:
    """Where the schema at `path` says what it is, behind `$ref` and the choice of null."""
    path = _followed(fragment, path)
    choices = fragment.get((*path, "anyOf")) or []
    real = [number for number, one in enumerate(choices) if one.get("type") != "null"]
    return schema_body(fragment, (*path, "anyOf", real[0])) if real else path


def reference_path(fragment: YamlText, slot: Path) -> Path | None:
    """The `$ref` through which `slot` leads to a component; None when its schema is inline."""
    if fragment.get((*slot, "$ref")) is not None:
        return (*slot, "$ref")
    choices = fragment.get((*slot, "anyOf")) or []
    return next(
        ((*slot, "anyOf", number, "$ref") for number, one in enumerate(choices) if "$ref" in one),
        None,
    )


def _followed(fragment: YamlText, path: Path) -> Path:
    reference = fragment.get((*path, "$ref"))
    while reference is not None:
        path = tuple(str(reference).removeprefix("#/").split("/"))
        reference = fragment.get((*path, "$ref"))
    return path


def unused_components(fragment: YamlText, kept: Iterable[str]) -> list[Path]:
    """Schemas that neither the operation nor those in `kept` lead to."""
    schemas = fragment.get(SCHEMAS)
    used: set[str] = set()
    waiting = [
        *kept,
        *references({key: value for key, value in fragment.data.items() if key != "components"}),
        *references({k: v for k, v in fragment.data["components"].items() if k != "schemas"}),
    ]
    while waiting:
        name = waiting.pop()
        if name not in used and name in schemas:
            used.add(name)
            waiting += references(schemas[name])
    return [(*SCHEMAS, name) for name in schemas if name not in used]


def references(value: Any) -> Iterator[str]:
    """Names of the components that `value` refers to."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].rpartition("/")[2]
        for child in value.values():
            yield from references(child)
    elif isinstance(value, list):
        for child in value:
            yield from references(child)

"""Reads a fragment, and what the registry of revisions needs to know of it."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Any

from attrs import frozen
from ruamel.yaml import YAML

from tooling.yaml_text import NO_YAML, yaml_fault

OPERATION = "get_create_variants_jobs"
TAG = "Catalogs"
LIFECYCLE = ("queued", "processing", "complete", "cancelled")

_FILE_NAME = re.compile(r"\d{4}-\d\d-\d\d\.yaml")


class FragmentError(Exception):
    """A fragment that cannot be generated from; the message names the file and the way out."""


@frozen
class Fragment:
    """What a revision's fragment says, in the terms of the generated registry."""

    file: Path
    date: str
    path: str
    media_type: str
    burst: int
    steady: int
    fields: tuple[str, ...]
    statuses: tuple[str, ...]
    id_in_attributes: bool

    @property
    def package(self) -> str:
        """Name of the revision's package inside the generated one."""
        return f"r{self.date.replace('-', '_')}"


def fragments(spec_dir: Path) -> list[Fragment]:
    """All fragments of a folder, oldest first.

    Raises:
        FragmentError: there is none, or one of them lacks what the registry needs.
    """
    files = sorted(file for file in spec_dir.iterdir() if _FILE_NAME.fullmatch(file.name))
    if not files:
        raise FragmentError(f"{spec_dir} holds no fragment; expected files such as 2026-07-15.yaml")
    return [read(file) for file in files]


def load(file: Path) -> dict[str, Any]:
    """The document of a fragment, without its comments."""
    try:
        document = YAML(typ="safe").load(file)
    except NO_YAML as error:
        raise FragmentError(f"{file.name} is no YAML: {yaml_fault(error)}") from error
    if not isinstance(document, dict):
        raise FragmentError(f"{file.name} is no mapping")
    return document


def read(file: Path) -> Fragment:
    """One fragment."""
    document = load(file)
    try:
        return _fragment(file, document)
    except (KeyError, StopIteration) as error:
        raise FragmentError(
            f"{file.name} lacks {error}, which the registry is made from; "
            "compare it with another fragment"
        ) from error
    except (AttributeError, TypeError, ValueError) as error:
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
    path, item = next(iter(document["paths"].items()))
    operation = item["get"]
    if operation["operationId"] != OPERATION or operation["tags"] != [TAG]:
        raise FragmentError(
            f"{file.name}: operationId must be {OPERATION} and tags [{TAG}] in every revision, "
            "whatever the owner calls them"
        )
    schemas = document["components"]["schemas"]
    _check_names(file, schemas)
    limits = operation["x-klaviyo-ratelimit"]
    return Fragment(
        file=file,
        date=date,
        path=path,
        media_type=next(iter(operation["responses"]["200"]["content"])),
        burst=_limit(file, limits["burst"], "s"),
        steady=_limit(file, limits["steady"], "m"),
        fields=tuple(schemas["JobField"]["enum"]),
        statuses=_in_lifecycle_order(schemas["JobStatus"]["enum"]),
        id_in_attributes="id" not in schemas["Job"]["properties"],
    )


def _check_names(file: Path, schemas: dict[str, Any]) -> None:
    # msgspec fills attributes by their JSON name and knows no other, so each must be one.
    for component, schema in schemas.items():
        for name in schema.get("properties", {}):
            if not name.isidentifier() or keyword.iskeyword(name):
                raise FragmentError(
                    f"{file.name}: {component}.{name} cannot be a Python attribute; describe "
                    f"{component} as a JsonObject, or leave the property out and declare that"
                )


def _limit(file: Path, text: str, unit: str) -> int:
    number, _, per = str(text).partition("/")
    if not number.isdecimal() or per != unit:
        raise FragmentError(
            f"{file.name}: x-klaviyo-ratelimit says {text!r}; expected a form like 75/{unit}"
        )
    return int(number)


def _in_lifecycle_order(statuses: list[str]) -> tuple[str, ...]:
    known = [status for status in LIFECYCLE if status in statuses]
    return (*known, *(status for status in statuses if status not in LIFECYCLE))

"""Reads Klaviyo's OpenAPI documents from a file or a URL."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tooling.prose import plain
from tooling.round_trip import NO_YAML, yaml_fault
from tooling.schema import DocumentError
from tooling.wire import Wire, find_operation, read_wire

_TIMEOUT_SECONDS = 30.0
_TOO_DEEP = "is nested too deeply"
# Klaviyo's whole document has some 5 MB. The limit for YAML is lower, since reading it is slow.
_BYTES_AT_MOST = 32 * 1024 * 1024
_YAML_AT_MOST = 4 * 1024 * 1024
_VALUES_AT_MOST = 1_000_000


def published(revision: str) -> str:
    """The URL of a revision's document; Klaviyo keeps one branch per revision."""
    return f"https://raw.githubusercontent.com/klaviyo/openapi/{revision}/openapi/stable.json"


def load(source: str) -> dict[str, Any]:
    """The document at a path or http(s) URL, reduced to our operation.

    Raises:
        DocumentError: it cannot be read, or is not an OpenAPI document with the operation.
    """
    content = _fetched(source) if source.startswith(("http://", "https://")) else _read(source)
    document = _parsed(content, source)
    with whatever_its_shape(source):
        try:
            json.dumps(document, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(error.object[error.start]):x}"
            raise DocumentError(f"{source}: has half a character in it, {half}") from None
        try:
            path, item = find_operation(document)
            document = {**document, "paths": {path: item}}
            _refuse_invisible(read_wire(document))
        except DocumentError as error:
            raise DocumentError(f"{source}: {error}") from None
    return document


def _refuse_invisible(wire: Wire) -> None:
    """Refuse invisible characters: people review the text that gets into fragments."""
    for where, place in wire.places.items():
        for said in (where, *map(plain, place.facts.values())):
            if not said.isprintable():
                raise DocumentError(f"{where}: has characters that cannot be seen: {said[:100]}")


@contextmanager
def whatever_its_shape(source: str) -> Iterator[None]:
    """Turn exceptions about the shape of an untrusted document into a `DocumentError`."""
    try:
        yield
    except RecursionError:
        raise DocumentError(f"{source}: {_TOO_DEEP}") from None
    except (AttributeError, LookupError, TypeError, ValueError, YAMLError) as error:
        told = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise DocumentError(f"{source}: is not in the shape of OpenAPI: {told}") from error


def _read(source: str) -> bytes:
    try:
        with Path(source).open("rb") as stream:
            content = stream.read(_BYTES_AT_MOST + 1)
    except (OSError, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) else error
        raise DocumentError(f"{source}: cannot be read: {told}") from error
    if len(content) > _BYTES_AT_MOST:
        raise DocumentError(f"{source}: is larger than {_BYTES_AT_MOST} bytes")
    return content


def _fetched(address: str) -> bytes:
    try:
        with httpx.stream("GET", address, timeout=_TIMEOUT_SECONDS) as response:
            if response.status_code != httpx.codes.OK:
                raise DocumentError(
                    f"{address}: answered {response.status_code}; does that revision exist?"
                )
            content = bytearray()
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > _BYTES_AT_MOST:
                    raise DocumentError(f"{address}: is larger than {_BYTES_AT_MOST} bytes")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DocumentError(
            f"{address}: cannot be fetched: {error or type(error).__name__}; "
            "download it where there is a network and pass the file"
        ) from error
    return bytes(content)


def _parsed(content: bytes, source: str) -> dict[str, Any]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DocumentError(f"{source}: is no text") from None
    try:
        document = json.loads(text)
    except RecursionError:
        raise DocumentError(f"{source}: {_TOO_DEEP}") from None
    except ValueError as error:
        if text.lstrip().startswith(("{", "[")) or not text.strip():
            raise DocumentError(f"{source}: is no JSON: {error}") from None
        document = _yaml(text, source)
    if not isinstance(document, dict):
        raise DocumentError(f"{source}: is no OpenAPI document, but {type(document).__name__}")
    return document


def _yaml(text: str, source: str) -> Any:
    if len(text) > _YAML_AT_MOST:
        raise DocumentError(f"{source}: is no JSON, and too large to be read as YAML")
    try:
        document = YAML(typ="safe").load(io.StringIO(text))
        if _size(document, {}) > _VALUES_AT_MOST:
            raise DocumentError(f"{source}: its aliases make more than {_VALUES_AT_MOST} values")
        # Through JSON: dates become text, aliases are expanded, cycles are refused.
        return json.loads(json.dumps(document, default=str))
    except NO_YAML as error:
        raise DocumentError(f"{source}: is neither JSON nor YAML: {yaml_fault(error)}") from None


def _size(value: Any, known: dict[int, int]) -> int:
    """The number of values with all aliases expanded."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = 0  # Ends the recursion in a cycle; json.dumps refuses it later.
        inside = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_size(one, known) for one in inside)
    return known[id(value)]

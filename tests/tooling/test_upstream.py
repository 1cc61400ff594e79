"""A document that cannot be used is refused in one line that says what is wrong and where."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

from small_document import PATH, small_document
from tooling import upstream
from tooling.schema import DocumentError


def written(tmp_path: Path, content: str) -> str:
    file = tmp_path / "upstream.json"
    file.write_text(content, encoding="utf-8")
    return str(file)


def refusal(source: str) -> str:
    with pytest.raises(DocumentError) as caught:
        upstream.load(source)
    message = str(caught.value)
    assert message.startswith(source)
    assert "\n" not in message
    return message


def test_json_and_yaml_are_read_alike(tmp_path: Path) -> None:
    out = io.StringIO()
    YAML(typ="safe").dump(small_document(), out)
    from_yaml = upstream.load(written(tmp_path, out.getvalue()))
    assert from_yaml == upstream.load(written(tmp_path, json.dumps(small_document())))


def test_a_whole_document_is_cut_to_the_operation(tmp_path: Path) -> None:
    document = small_document()
    document["paths"] = {"/api/profiles": {"get": {}}, **document["paths"]}
    assert list(upstream.load(written(tmp_path, json.dumps(document)))["paths"]) == [PATH]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"openapi": "3.0.2", "paths": {', "is no JSON"),
        ("", "is no JSON"),
        ("a: 1\nb: c: d", "neither JSON nor YAML: line 2: mapping values are not allowed"),
        ("[]", "is no OpenAPI document"),
        ("<html></html>", "is no OpenAPI document"),
        ("a: 2026-13-45", "neither JSON nor YAML: ValueError: month must be in 1..12"),
        ("a: !!int x", "neither JSON nor YAML: ValueError: invalid literal for int()"),
        ("a: !!bool x", "neither JSON nor YAML: KeyError: 'x'"),
        ("a: &a [*a]", "neither JSON nor YAML: ValueError: Circular reference"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"a":' * 100_000, "is nested too deeply"),
        ("a: " + "[" * 10_000, "it is nested too deeply"),
        ('{"message": "Not Found"}', "lacks openapi or paths"),
        ('{"openapi": "3.0.2", "paths": {"/api/profiles": {"get": {}}}}', f"no GET {PATH}"),
    ],
)
def test_a_text_that_is_no_such_document_is_refused(
    tmp_path: Path, content: str, told: str
) -> None:
    assert told in refusal(written(tmp_path, content))


def dangling(document: dict[str, Any]) -> None:
    del document["components"]["schemas"]["Links"]


def circular(document: dict[str, Any]) -> None:
    document["components"]["responses"]["Refused"] = {"$ref": "#/components/responses/Refused"}


def foreign(document: dict[str, Any]) -> None:
    document["components"]["schemas"]["Collection"] = {"$ref": "other.json#/Collection"}


def wrong_type(document: dict[str, Any]) -> None:
    document["components"]["schemas"]["Links"]["type"] = {"not": "a type"}


def empty_type(document: dict[str, Any]) -> None:
    document["components"]["schemas"]["Links"]["type"] = ["object", ""]


def wrong_format(document: dict[str, Any]) -> None:
    document["components"]["schemas"]["Links"]["properties"]["next"]["format"] = {"uri": True}


def half_a_character(document: dict[str, Any]) -> None:
    document["components"]["schemas"]["Links"]["description"] = "\ud83d"


def endless(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for number in range(1000):
        inside = {"$ref": f"#/components/schemas/Deep{number + 1}"}
        schemas[f"Deep{number}"] = {"type": "object", "properties": {"in": inside}}
    schemas["Deep1000"] = {"type": "string"}
    schemas["Links"] = {"$ref": "#/components/schemas/Deep0"}


def wrong_shape(document: dict[str, Any]) -> None:
    document["paths"][PATH]["get"]["parameters"] = 7


def no_responses(document: dict[str, Any]) -> None:
    del document["paths"][PATH]["get"]["responses"]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (dangling, "#/components/schemas/Links leads nowhere"),
        (circular, "leads back to itself"),
        (foreign, "does not lead into this document"),
        (wrong_type, "200.links: type"),
        (empty_type, "200.links: type '' is none of array, boolean,"),
        (wrong_format, "200.links.next: format is {'uri': True}, expected text"),
        (half_a_character, r"half a character in it, \ud83d"),
        (endless, "is nested too deeply"),
        (wrong_shape, "jobs: parameters is 7, expected a list"),
        (no_responses, "describes no responses"),
    ],
)
def test_a_broken_document_is_refused_with_the_place(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], None], told: str
) -> None:
    document = small_document()
    spoil(document)
    assert told in refusal(written(tmp_path, json.dumps(document)))


def test_what_cannot_be_seen_is_not_carried_over(tmp_path: Path) -> None:
    document = small_document()
    document["paths"][PATH]["get"]["x-klaviyo-scopes"] = ["catalogs:read\u202e"]
    told = refusal(written(tmp_path, json.dumps(document)))
    assert r"scopes: has characters that cannot be seen: catalogs:read\u202e" in told


def test_a_document_of_any_size_is_refused_in_a_line(tmp_path: Path) -> None:
    file = tmp_path / "upstream.json"
    with file.open("wb") as stream:
        stream.truncate(100 * 1024 * 1024)
    assert "is larger than 33554432 bytes" in refusal(str(file))
    assert "too large to be read as YAML" in refusal(written(tmp_path, "a: b\n" * 1_000_000))


def test_aliases_that_make_too_much_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    told = refusal(written(tmp_path, "\n".join(lines)))
    assert "its aliases make more than 1000000 values" in told


def references_unfold(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for number in range(20):
        inside = {"$ref": f"#/components/schemas/Wide{number + 1}"}
        names = [f"p{n}" for n in range(10)]
        schemas[f"Wide{number}"] = {"type": "object", "properties": dict.fromkeys(names, inside)}
    schemas["Wide20"] = {"type": "string"}
    schemas["Links"] = {"$ref": "#/components/schemas/Wide0"}


def a_great_many_properties(document: dict[str, Any]) -> None:
    schema = {"type": "string"}
    properties = {f"p{n}": schema for n in range(10_000)}
    document["components"]["schemas"]["Links"] = {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (references_unfold, "unfolds into more than 20000 schemas"),
        (a_great_many_properties, "things, more than 5000"),
    ],
)
def test_a_document_that_describes_too_much_is_refused(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], None], told: str
) -> None:
    document = small_document()
    spoil(document)
    assert told in refusal(written(tmp_path, json.dumps(document)))


def test_yaml_makes_plain_data_only(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    text = f"openapi: !!python/object/apply:os.system ['touch {mark}']"
    assert "neither JSON nor YAML" in refusal(written(tmp_path, text))
    assert not mark.exists()


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    assert "No such file" in refusal(str(tmp_path / "missing.json"))


def test_a_revision_the_owner_does_not_publish_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(404))
    monkeypatch.setattr(upstream.httpx, "stream", httpx.Client(transport=transport).stream)
    assert "answered 404" in refusal(upstream.published("2030-01-15"))


def test_a_network_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route to host")

    client = httpx.Client(transport=httpx.MockTransport(unreachable))
    monkeypatch.setattr(upstream.httpx, "stream", client.stream)
    assert "no route to host" in refusal(upstream.published("2030-01-15"))

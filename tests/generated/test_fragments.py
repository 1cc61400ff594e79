"""The fragments are OpenAPI, tell their departures, and admit what the API really sends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import validate

from tooling.fragment import load, read

SPEC = Path(__file__).resolve().parents[2] / "spec"
FILES = sorted(SPEC.glob("*.yaml"))

pytestmark = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def page_schema(file: Path) -> dict[str, Any]:
    return {
        "$ref": "#/components/schemas/JobPage",
        "components": load(file)["components"],
    }


def test_a_fragment_is_valid_openapi(file: Path) -> None:
    validate(load(file))


def test_every_departure_from_the_owner_names_its_places_and_its_reason(file: Path) -> None:
    seen = set()
    for deviation in load(file)["x-deviations"]:
        assert set(deviation) == {"fact", "upstream", "where", "reason"}
        assert deviation["reason"].strip()
        for where in deviation["where"]:
            assert (deviation["fact"], where) not in seen
            seen.add((deviation["fact"], where))
    assert seen


def test_only_the_list_of_jobs_is_required(file: Path) -> None:
    required = {
        (name, member)
        for name, schema in load(file)["components"]["schemas"].items()
        for member in schema.get("required", [])
    }
    assert required == {("JobPage", "data")}


def test_the_id_is_where_the_revision_has_it(file: Path) -> None:
    fragment = read(file)
    assert fragment.id_in_attributes == (fragment.date < "2023-12-15")
    assert ("job_id" in fragment.fields) == fragment.id_in_attributes


@pytest.mark.parametrize(
    "page",
    [
        {"data": []},
        {"data": [{}], "links": None},
        {"data": [{"attributes": {"status": "paused"}, "unheard_of": 1}]},
        {
            "data": [
                {"attributes": {"status": None, "errors": [{"detail": "no", "meta": {"a": 1}}]}}
            ]
        },
        {"data": [], "links": {"self": "https://a.klaviyo.com/", "next": None, "prev": None}},
    ],
)
def test_the_page_schema_admits_what_the_api_really_sends(file: Path, page: Any) -> None:
    jsonschema_rs.validator_for(page_schema(file)).validate(page)


@pytest.mark.parametrize("page", [{}, {"data": {}}, {"data": [{"attributes": {"status": 3}}]}])
def test_the_page_schema_refuses_what_is_no_page(file: Path, page: Any) -> None:
    assert not jsonschema_rs.validator_for(page_schema(file)).is_valid(page)

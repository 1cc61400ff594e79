"""The fragments are OpenAPI, tell their departures, and admit what the API really sends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import validate

from tooling.fragment import Fragment, load, read

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


def test_the_id_is_where_the_revision_has_it(file: Path) -> None:
    fragment = read(file)
    assert fragment.id_in_attributes == (fragment.date < "2023-12-15")
    assert ("job_id" in fragment.fields) == fragment.id_in_attributes


def job(fragment: Fragment, **attributes: Any) -> dict[str, Any]:
    """A job as an answer has it, with these attributes."""
    return {
        "type": "catalog-variant-bulk-create-job",
        **({} if fragment.id_in_attributes else {"id": "01M"}),
        "attributes": attributes,
        "links": {"self": "https://a.klaviyo.com/"},
    }


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"status": "paused", "unheard_of": 1},
        {"completed_at": None, "errors": [{"detail": "no", "meta": {"a": 1}}]},
    ],
)
def test_the_page_schema_admits_what_the_api_really_sends(file: Path, attributes: Any) -> None:
    links = {"self": "https://a.klaviyo.com/", "next": None, "prev": None}
    page = {"data": [job(read(file), **attributes)], "links": links}
    jsonschema_rs.validator_for(page_schema(file)).validate(page)


@pytest.mark.parametrize("page", [{}, {"data": {}}, {"data": [{"attributes": {"status": 3}}]}])
def test_the_page_schema_refuses_what_is_no_page(file: Path, page: Any) -> None:
    assert not jsonschema_rs.validator_for(page_schema(file)).is_valid(page)

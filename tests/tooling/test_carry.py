"""What upstream changes is carried into a fragment; whatever else stands there stays as it is."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate
from ruamel.yaml import YAML

from tooling import fragment, upstream
from tooling.carry import carry
from tooling.carry_answers import CarryError
from tooling.deviations import agreement
from tooling.fragment import Fragment
from tooling.round_trip import RoundTrip
from tooling.schema import dereference
from tooling.wire import read_wire

ROOT = Path(__file__).resolve().parents[2]
KEPT = fragment.fragments(ROOT / "spec")
NEWEST = KEPT[-1]
TEXT = NEWEST.file.read_text(encoding="utf-8")
OURS = fragment.load(NEWEST.file)
Document = dict[str, Any]


def document_of(kept: Fragment) -> Path:
    """Where the owner's document of a revision is, if it is at hand."""
    return ROOT.parent / "shared" / "upstream" / f"{kept.date}.json"


def schema(document: Document, component: str) -> Document:
    found: Document = document["components"]["schemas"][component]["properties"]
    return found


def operation(document: Document) -> Document:
    found: Document = document["paths"][NEWEST.path]["get"]
    return found


def carried(edit: Callable[[Document], None]) -> RoundTrip:
    """The newest fragment after it took over `edit`."""
    theirs = copy.deepcopy(OURS)
    edit(theirs)
    text = carry(without_deviations(), old=NEWEST.date, new=NEWEST.date, upstream=theirs)
    plain = YAML(typ="safe").load(text)
    validate(plain)
    assert agreement(plain, read_wire(theirs)).lines() == []
    return RoundTrip.of(text)


def without_deviations() -> str:
    """The newest fragment as if upstream agreed with all of it, so that a test edits one thing."""
    fragment = RoundTrip.of(TEXT)
    del fragment.data["x-deviations"]
    return fragment.text


def attribute_comes(document: Document) -> None:
    schema(document, "JobAttributes")["priority"] = {"type": "string", "enum": ["low", "high"]}
    document["components"]["schemas"]["JobAttributes"]["required"] = ["priority"]


def object_comes(document: Document) -> None:
    done = {"type": "integer"}
    progress = {"type": "object", "properties": {"done": done, "links": {"type": "object"}}}
    schema(document, "JobAttributes")["progress"] = progress


def tree_comes(document: Document) -> None:
    children = {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}
    document["components"]["schemas"]["Tree"] = {
        "type": "object",
        "properties": {"children": children},
    }
    schema(document, "JobAttributes")["tree"] = {"$ref": "#/components/schemas/Tree"}


def null_comes(document: Document) -> None:
    schema(document, "JobAttributes")["always_null"] = {"type": "null"}


def unions_come(document: Document) -> None:
    choices = [{"type": "integer"}, {"type": "object", "properties": {"a": {"type": "string"}}}]
    schema(document, "JobAttributes")["either"] = {"oneOf": choices}
    schema(document, "JobAttributes")["scalar"] = {"type": ["integer", "string"]}


def odd_name_comes(document: Document) -> None:
    schema(document, "JobAttributes")["x-odd"] = {"type": "string"}


def nested_lists_come(document: Document) -> None:
    item = {"type": "object", "properties": {"x": {"type": "string"}}}
    matrix = {"type": "array", "items": {"type": "array", "items": item}}
    schema(document, "JobAttributes")["matrix"] = matrix


def attribute_goes(document: Document) -> None:
    del schema(document, "JobAttributes")["expires_at"]


def link_goes(document: Document) -> None:
    del schema(document, "PageLinks")["next"]


def object_goes(document: Document) -> None:
    del schema(document, "Job")["relationships"]


def type_changes(document: Document) -> None:
    schema(document, "JobAttributes")["total_count"] = {"type": "string", "format": "date-time"}


def statuses_change(document: Document) -> None:
    statuses = document["components"]["schemas"]["JobStatus"]["enum"]
    statuses.remove("cancelled")
    statuses.append("failed")


def fields_change(document: Document) -> None:
    fields = document["components"]["schemas"]["JobField"]["enum"]
    fields.remove("errors")
    fields.append("priority")


def one_error_changes(document: Document) -> None:
    document["components"]["schemas"]["Other"] = copy.deepcopy(
        document["components"]["schemas"]["ErrorDocument"]
    )
    detail = copy.deepcopy(document["components"]["schemas"]["ErrorDetail"])
    detail["properties"]["hint"] = {"type": "string"}
    schema(document, "Other")["errors"]["items"] = detail
    content = document["components"]["responses"]["ClientError"]["content"]
    next(iter(content.values()))["schema"] = {"$ref": "#/components/schemas/Other"}


def parameters_change(document: Document) -> None:
    parameters = operation(document)["parameters"]
    size = {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
    parameters.insert(2, {"name": "page[size]", "in": "query", "schema": size})
    parameters[1]["required"] = True
    parameters[3]["schema"]["maxLength"] = 200


def fields_parameter_goes(document: Document) -> None:
    del operation(document)["parameters"][0]


def terms_change(document: Document) -> None:
    operation(document)["x-klaviyo-ratelimit"] = {"burst": "10/s", "steady": "150/m"}
    operation(document)["x-klaviyo-scopes"] = ["catalogs:read", "profiles:read"]
    operation(document)["x-klaviyo-filters"]["created_at"] = {"operators": {"single": ["equals"]}}
    operation(document)["deprecated"] = True
    document["paths"] = {"/api/variant-jobs": document["paths"][NEWEST.path]}


def media_type_changes(document: Document) -> None:
    content = operation(document)["responses"]["200"]["content"]
    content["application/json"] = content.pop(NEWEST.media_type)


def answer_comes(document: Document) -> None:
    operation(document)["responses"]["202"] = {"description": "Later"}


@pytest.mark.parametrize(
    "edit",
    [
        attribute_comes,
        object_comes,
        tree_comes,
        null_comes,
        unions_come,
        odd_name_comes,
        nested_lists_come,
        attribute_goes,
        link_goes,
        object_goes,
        type_changes,
        statuses_change,
        fields_change,
        one_error_changes,
        parameters_change,
        fields_parameter_goes,
        terms_change,
        media_type_changes,
        answer_comes,
    ],
)
def test_a_carried_fragment_agrees_with_upstream(edit: Callable[[Document], None]) -> None:
    carried(edit)


def test_an_answer_that_loses_its_body_is_left_to_a_person() -> None:
    def body_goes(document: Document) -> None:
        del document["components"]["responses"]["ServerError"]["content"]

    with pytest.raises(CarryError, match="5XX has no body any more"):
        carried(body_goes)


published = pytest.mark.parametrize(
    "kept", [one for one in KEPT if document_of(one).exists()], ids=lambda kept: kept.date
)


@published
def test_nothing_changes_when_upstream_has_not(kept: Fragment) -> None:
    text = kept.file.read_text(encoding="utf-8")
    theirs = upstream.load(str(document_of(kept)))
    assert carry(text, old=kept.date, new=kept.date, upstream=theirs) == text


def test_a_new_attribute_is_as_upstream_says_but_may_be_missing() -> None:
    document = carried(attribute_comes)
    attributes = document.data["components"]["schemas"]["JobAttributes"]
    new = attributes["properties"]["priority"]
    assert (new["type"], new["enum"]) == ("string", ["high", "low"])
    assert "required" not in attributes
    (declared,) = document.data["x-deviations"]
    assert declared["fact"] == "required"
    assert declared["reason"].startswith("Sparse fieldsets")


def promises_come(document: Document) -> None:
    document["components"]["schemas"]["PageLinks"]["required"] = ["next"]
    schema(document, "PageLinks")["next"]["type"] = "string"
    schema(document, "Job")["links"] = {"$ref": "#/components/schemas/JobLinks"}


def promises_go(document: Document) -> None:
    document["components"]["schemas"]["PageLinks"].pop("required", None)
    schema(document, "PageLinks")["next"]["type"] = ["string", "null"]
    reference = {"$ref": "#/components/schemas/JobLinks"}
    schema(document, "Job")["links"] = {"anyOf": [reference, {"type": "null"}]}


def test_what_is_always_there_and_never_null_is_as_upstream_says() -> None:
    wires = [read_wire(carried(edit).data).places for edit in (promises_come, promises_go)]
    for firm, wire in zip((True, False), wires, strict=True):
        assert wire["200.links.next"].facts["required"] == firm
        assert wire["200.links.next"].facts["nullable"] != firm
        assert wire["200.data[].links"].facts["nullable"] != firm


@published
def test_a_declaration_goes_when_upstream_has_caught_up(kept: Fragment) -> None:
    text = kept.file.read_text(encoding="utf-8")
    theirs = upstream.load(str(document_of(kept)))
    content = next(iter(theirs["paths"].values()))["get"]["responses"]["200"]["content"]
    page = content[kept.media_type]["schema"]["$ref"].rpartition("/")[2]
    links = dereference(theirs, schema(theirs, page)["links"], "links")
    links["properties"]["next"]["nullable"] = True
    carried_over = carry(text, old=kept.date, new=kept.date, upstream=theirs)
    gone = Counter(text.splitlines()) - Counter(carried_over.splitlines())
    assert [line.strip(' -"') for line in gone] == ["200.links.next"]


def test_what_nothing_refers_to_any_more_goes_with_its_comments() -> None:
    document = carried(object_goes)
    schemas = document.data["components"]["schemas"]
    assert not {"JobRelationships", "VariantRelationship"} & set(schemas)
    assert "JobStatus" in schemas


def test_a_change_of_one_error_leaves_the_other_alone() -> None:
    document = carried(one_error_changes)
    wire = read_wire(document.data)
    assert "4XX.errors[].hint" in wire.places
    assert "5XX.errors[].hint" not in wire.places


def test_comments_and_order_stay() -> None:
    document = carried(attribute_goes)
    kept = [line for line in without_deviations().splitlines() if line in document.text]
    assert [line for line in kept if line.lstrip().startswith("#")]
    assert [line for line in document.text.splitlines() if line not in kept] == []


def test_a_new_date_is_written_where_the_old_one_stood() -> None:
    text = carry(without_deviations(), old=NEWEST.date, new="2099-01-15", upstream=OURS)
    document = RoundTrip.of(text).data
    assert document["info"]["version"] == "2099-01-15"
    assert NEWEST.date not in text.partition("openapi:")[0]
    revision = [one for one in operation(document)["parameters"] if one["name"] == "revision"]
    assert revision[0]["schema"]["default"] == "2099-01-15"

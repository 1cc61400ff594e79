"""Each edit of a document is found at its place, with the level it has for those who import us."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from small_document import MEDIA_TYPE, PATH, small_document
from tooling.compare import Row, compare
from tooling.wire import read_wire

ATTRIBUTES = "200.data[].attributes"
FIELDS = "query fields[catalog-variant-bulk-create-job]"
Document = dict[str, Any]
EDITS: list[tuple[Callable[[Document], None], set[tuple[str, str]]]] = []


def edit(*expected: tuple[str, str]) -> Callable[[Callable[[Document], None]], None]:
    """Adds an edit to the table, with the level and place of every row it is to give."""

    def add(change: Callable[[Document], None]) -> None:
        EDITS.append((change, set(expected)))

    return add


def operation(document: Document) -> Document:
    found: Document = document["paths"][PATH]["get"]
    return found


def schemas(document: Document) -> Document:
    found: Document = document["components"]["schemas"]
    return found


def attributes(document: Document) -> Document:
    found: Document = schemas(document)["Attributes"]["properties"]
    return found


def rows(change: Callable[[Document], None]) -> tuple[Row, ...]:
    edited = small_document()
    change(edited)
    return compare(read_wire(small_document()), read_wire(edited))


@edit(("breaking", "200.links.next"))
def a_link_goes(document: Document) -> None:
    del schemas(document)["Links"]["properties"]["next"]


@edit(("breaking", "200.links"))
def a_whole_object_goes(document: Document) -> None:
    del schemas(document)["Collection"]["properties"]["links"]


@edit(("breaking", f"{ATTRIBUTES}.total_count"))
def a_type_changes(document: Document) -> None:
    attributes(document)["total_count"]["type"] = "string"


@edit(("breaking", f"{ATTRIBUTES}.total_count"))
def a_scalar_becomes_an_object(document: Document) -> None:
    attributes(document)["total_count"] = {
        "type": "object",
        "properties": {"exact": {"type": "integer"}},
    }


@edit(("breaking", f"{ATTRIBUTES}.created_at"))
def a_timestamp_becomes_text(document: Document) -> None:
    del attributes(document)["created_at"]["format"]


@edit(("compatible", "200.links.next"))
def a_format_that_no_type_stands_for_goes(document: Document) -> None:
    del schemas(document)["Links"]["properties"]["next"]["format"]


@edit(("compatible", f"{ATTRIBUTES}.status"))
def a_status_comes(document: Document) -> None:
    attributes(document)["status"]["enum"].append("cancelled")


@edit(("breaking", f"{ATTRIBUTES}.status"))
def a_status_goes(document: Document) -> None:
    attributes(document)["status"]["enum"].remove("complete")


@edit(("breaking", f"{ATTRIBUTES}.status"), ("compatible", f"{ATTRIBUTES}.status"))
def a_status_is_renamed(document: Document) -> None:
    attributes(document)["status"]["enum"] = ["queued", "done"]


@edit(("compatible", f"{ATTRIBUTES}.status"))
def a_status_may_be_any_text(document: Document) -> None:
    del attributes(document)["status"]["enum"]


@edit(("compatible", f"{ATTRIBUTES}.failed_count"))
def an_attribute_comes(document: Document) -> None:
    attributes(document)["failed_count"] = {"type": "integer"}


@edit(("compatible", f"{ATTRIBUTES}.failed_count"))
def an_attribute_comes_that_is_always_there(document: Document) -> None:
    attributes(document)["failed_count"] = {"type": "integer"}
    schemas(document)["Attributes"]["required"].append("failed_count")


@edit(("breaking", f"{ATTRIBUTES}.total_count"))
def an_attribute_goes(document: Document) -> None:
    del attributes(document)["total_count"]


@edit(("compatible", "200.meta"))
def a_nested_object_comes_as_one_row(document: Document) -> None:
    hints = {"type": "array", "items": {"type": "string"}}
    meta = {"type": "object", "properties": {"hints": hints}}
    schemas(document)["Collection"]["properties"]["meta"] = meta


@edit(("compatible", f"{ATTRIBUTES}.status"))
def an_attribute_may_be_missing(document: Document) -> None:
    schemas(document)["Attributes"]["required"] = []


@edit(("compatible", f"{ATTRIBUTES}.total_count"))
def an_attribute_may_be_null(document: Document) -> None:
    attributes(document)["total_count"]["nullable"] = True


@edit(("compatible", f"{ATTRIBUTES}.completed_at"))
def an_attribute_is_never_null_again(document: Document) -> None:
    attributes(document)["completed_at"]["nullable"] = False


@edit(("compatible", "query sort"))
def an_optional_parameter_comes(document: Document) -> None:
    operation(document)["parameters"].append(
        {"name": "sort", "in": "query", "schema": {"type": "string"}}
    )


@edit(("breaking", "query company"))
def a_required_parameter_comes(document: Document) -> None:
    operation(document)["parameters"].append(
        {"name": "company", "in": "query", "required": True, "schema": {"type": "string"}}
    )


@edit(("breaking", "query page[cursor]"))
def a_parameter_goes(document: Document) -> None:
    del operation(document)["parameters"][2]


@edit(("breaking", "query filter"))
def a_parameter_becomes_required(document: Document) -> None:
    operation(document)["parameters"][1]["required"] = True


@edit(("compatible", "header revision"))
def a_parameter_becomes_optional(document: Document) -> None:
    operation(document)["parameters"][3]["required"] = False


@edit(("breaking", "query page[cursor]"))
def a_parameter_changes_its_type(document: Document) -> None:
    operation(document)["parameters"][2]["schema"]["type"] = "integer"


@edit(("breaking", FIELDS))
def a_parameter_is_written_otherwise(document: Document) -> None:
    operation(document)["parameters"][0]["explode"] = True


@edit(("compatible", FIELDS))
def a_field_can_be_asked_for(document: Document) -> None:
    operation(document)["parameters"][0]["schema"]["items"]["enum"].append("id")


@edit(("breaking", FIELDS))
def a_field_can_no_longer_be_asked_for(document: Document) -> None:
    operation(document)["parameters"][0]["schema"]["items"]["enum"].remove("status")


@edit(("breaking", "query filter.status"), ("compatible", "query filter.status"))
def a_filter_takes_another_operator(document: Document) -> None:
    operation(document)["x-klaviyo-filters"]["status"]["operators"] = {"multi": ["any"]}


@edit(("compatible", "query filter.created_at"))
def another_field_can_be_filtered(document: Document) -> None:
    operation(document)["x-klaviyo-filters"]["created_at"] = {"operators": {"single": ["equals"]}}


@edit(("docs", "query filter"))
def what_can_be_filtered_is_told_elsewhere(document: Document) -> None:
    del operation(document)["x-klaviyo-filters"]


@edit(("service", "rate limit"))
def the_limits_change(document: Document) -> None:
    operation(document)["x-klaviyo-ratelimit"] = {"burst": "10/s", "steady": "150/m"}
    operation(document)["description"] = "Burst: `10/s`, steady: `150/m`, scope `catalogs:read`."


@edit(("service", "path"))
def the_path_gains_a_slash(document: Document) -> None:
    document["paths"] = {f"{PATH}/": document["paths"][PATH]}


@edit(("service", "path"))
def the_operation_moves(document: Document) -> None:
    document["paths"] = {"/api/variant-jobs": document["paths"][PATH]}


@edit(("service", "media type"))
def the_media_type_changes(document: Document) -> None:
    content = operation(document)["responses"]["200"]["content"]
    content["application/json"] = content.pop(MEDIA_TYPE)


@edit(("service", "scopes"))
def the_scopes_change(document: Document) -> None:
    operation(document)["x-klaviyo-scopes"] = ["catalogs:read", "profiles:read"]


@edit(("service", "lifecycle"))
def the_operation_is_deprecated(document: Document) -> None:
    operation(document)["deprecated"] = True


@edit(("service", "server"))
def the_server_moves(document: Document) -> None:
    document["servers"][0]["url"] = "https://b.klaviyo.com"


@edit(("service", "authentication"))
def the_key_goes_elsewhere(document: Document) -> None:
    document["components"]["securitySchemes"]["Key"]["name"] = "X-Key"


@edit(("docs", f"{ATTRIBUTES}.status"), ("docs", "operation"))
def the_words_change(document: Document) -> None:
    attributes(document)["status"]["description"] = "Other words."
    operation(document)["description"] = "Other words."


@edit(("docs", f"{ATTRIBUTES}.total_count"))
def an_example_and_a_default_come(document: Document) -> None:
    attributes(document)["total_count"].update(example=3, default=0)


@edit(("docs", "operation"))
def the_operation_is_renamed(document: Document) -> None:
    operation(document)["operationId"] = "get_bulk_create_variants_jobs"
    operation(document)["x-klaviyo-operation-aliases"] = ["get_create_variants_jobs"]


@edit(("breaking", "4XX"))
def errors_are_no_longer_described(document: Document) -> None:
    del operation(document)["responses"]["4XX"]


@edit()
def the_default_revision_changes(document: Document) -> None:
    document["info"]["version"] = "2030-04-15"
    operation(document)["parameters"][3]["schema"]["default"] = "2030-04-15"


@edit()
def components_are_renamed(document: Document) -> None:
    found = schemas(document)
    found["ResponseObjectResource"] = found.pop("Resource")
    found["Collection"]["properties"]["data"]["items"]["$ref"] = (
        "#/components/schemas/ResponseObjectResource"
    )


@edit()
def a_component_is_written_inline(document: Document) -> None:
    found = schemas(document)
    found["Collection"]["properties"]["links"] = found.pop("Links")


@edit()
def a_component_is_put_together_with_all_of(document: Document) -> None:
    found = schemas(document)["Attributes"]
    status = found["properties"].pop("status")
    found["required"] = []
    part = {"type": "object", "required": ["status"], "properties": {"status": status}}
    schemas(document)["Resource"]["properties"]["attributes"] = {
        "allOf": [{"$ref": "#/components/schemas/Attributes"}, part]
    }


@edit()
def null_is_spelled_as_in_openapi_3_1(document: Document) -> None:
    completed = attributes(document)["completed_at"]
    del completed["nullable"]
    completed["type"] = ["string", "null"]


@edit()
def null_is_one_choice_of_two(document: Document) -> None:
    attributes(document)["completed_at"] = {
        "anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]
    }


@edit()
def things_stand_in_another_order(document: Document) -> None:
    operation(document)["parameters"].reverse()
    attributes(document)["status"]["enum"].reverse()
    schemas(document)["Collection"]["required"].reverse()


@pytest.mark.parametrize(
    ("change", "expected"), EDITS, ids=[change.__name__ for change, _ in EDITS]
)
def test_an_edit_is_found_with_its_level(
    change: Callable[[Document], None], expected: set[tuple[str, str]]
) -> None:
    found = rows(change)
    assert {(row.level, row.where) for row in found} == expected
    assert len(found) == len(expected)


def test_a_row_names_the_old_and_the_new_value() -> None:
    def change(document: Document) -> None:
        operation(document)["x-klaviyo-ratelimit"]["burst"] = "10/s"

    assert rows(change)[0].what == "The rate limit was 75/s and is now 10/s."


def test_the_gravest_finding_comes_first() -> None:
    def change(document: Document) -> None:
        attributes(document)["status"]["description"] = "Other words."
        attributes(document)["failed_count"] = {"type": "integer"}
        operation(document)["x-klaviyo-scopes"] = []
        del attributes(document)["total_count"]

    assert [row.level for row in rows(change)] == ["breaking", "service", "compatible", "docs"]


def test_a_schema_that_contains_itself_is_read_and_compared() -> None:
    def recursive(name: str) -> Document:
        document = small_document()
        children = {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}
        schemas(document)[name] = {"type": "object", "properties": {"children": children}}
        attributes(document)["tree"] = {"$ref": f"#/components/schemas/{name}"}
        return document

    old, new = read_wire(recursive("Tree")), read_wire(recursive("Node"))
    assert old.places[f"{ATTRIBUTES}.tree.children[]"].facts["repeats"] == f"{ATTRIBUTES}.tree"
    assert compare(old, new) == ()

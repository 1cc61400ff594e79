"""What the owner may change next is carried over, and whoever must decide something is asked."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate
from ruamel.yaml import YAML

from tooling import changes, fragment
from tooling.carry import carry
from tooling.decisions import to_decide
from tooling.deviations import agreement
from tooling.round_trip import RoundTrip
from tooling.users import users_of
from tooling.wire import read_wire

ROOT = Path(__file__).resolve().parents[2]
NEWEST = fragment.fragments(ROOT / "spec")[-1]
FIELDS = "query fields[catalog-variant-bulk-create-job]"
ATTRIBUTES = "200.data[].attributes"
Document = dict[str, Any]
Edit = Callable[[Document], None]


def plain_fragment() -> str:
    """The newest fragment as if upstream agreed with all of it."""
    made = RoundTrip.of(NEWEST.file.read_text(encoding="utf-8"))
    del made.data["x-deviations"]
    return made.text


TEXT = plain_fragment()
OURS: Document = YAML(typ="safe").load(TEXT)
CHANGES: list[tuple[Edit, tuple[str, ...]]] = []


def asks(*places: str) -> Callable[[Edit], Edit]:
    """Adds a change to the table, with the places that questions are about."""

    def add(edit: Edit) -> Edit:
        CHANGES.append((edit, places))
        return edit

    return add


def operation(document: Document) -> Document:
    found: Document = document["paths"][NEWEST.path]["get"]
    return found


def component(document: Document, name: str) -> Document:
    found: Document = document["components"]["schemas"][name]
    return found


def attributes(document: Document) -> Document:
    found: Document = component(document, "JobAttributes")["properties"]
    return found


def parameter(document: Document, name: str, schema: Document, **more: Any) -> None:
    operation(document)["parameters"].append(
        {"name": name, "in": "query", "schema": schema, **more}
    )


@asks("query sort")
def sort_comes(document: Document) -> None:
    order = ["created_at", "-created_at"]
    parameter(document, "sort", {"type": "string", "enum": order, "default": "-created_at"})


@asks("query page[size]")
def page_size_comes(document: Document) -> None:
    size = {"type": "integer", "default": 20, "minimum": 1, "maximum": 100}
    parameter(document, "page[size]", size)


@asks("query include")
def include_comes(document: Document) -> None:
    kinds = {"type": "array", "items": {"type": "string", "enum": ["variants"]}}
    parameter(document, "include", kinds, explode=False)
    variant = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}
    component(document, "JobPage")["properties"]["included"] = {"type": "array", "items": variant}


@asks("query fields[catalog-variant]")
def other_fields_come(document: Document) -> None:
    kinds = {"type": "array", "items": {"type": "string", "enum": ["sku", "title"]}}
    parameter(document, "fields[catalog-variant]", kinds, explode=False)


@asks("query company_id")
def a_parameter_is_demanded(document: Document) -> None:
    parameter(document, "company_id", {"type": "string"}, required=True)


@asks("query filter.created_at")
def a_filter_comes(document: Document) -> None:
    row = {"operators": {"single": ["greater-than"]}, "value": {"type": "datetime"}}
    operation(document)["x-klaviyo-filters"]["created_at"] = row


@asks()
def bounds_come(document: Document) -> None:
    attributes(document)["progress"] = {"type": "integer", "minimum": 0, "maximum": 100}
    attributes(document)["total_count"]["minimum"] = 0


@asks(f"{ATTRIBUTES}.x-y", f"{ATTRIBUTES}._z")
def odd_names_come(document: Document) -> None:
    for name in ("class", "list", "x-y", "_z", "print", "property", "self"):
        attributes(document)[name] = {"type": "string"}


@asks("206")
def an_answer_like_another_comes(document: Document) -> None:
    operation(document)["responses"]["206"] = copy.deepcopy(operation(document)["responses"]["200"])


@asks("rate limit")
def the_limits_go(document: Document) -> None:
    del operation(document)["x-klaviyo-ratelimit"]


@asks("rate limit")
def the_limits_are_told_otherwise(document: Document) -> None:
    operation(document)["x-klaviyo-ratelimit"] = {"burst": "75 per second", "steady": "9000/h"}


@asks("rate limit")
def a_daily_limit_comes(document: Document) -> None:
    operation(document)["x-klaviyo-ratelimit"]["daily"] = "225/d"


@asks()
def the_limits_change(document: Document) -> None:
    operation(document)["x-klaviyo-ratelimit"] = {"burst": "10/s", "steady": "150/m"}


@asks(FIELDS, "query fields[catalog-variant-create-job]")
def the_resource_type_is_renamed(document: Document) -> None:
    operation(document)["parameters"][0]["name"] = "fields[catalog-variant-create-job]"
    kind = component(document, "Job")["properties"]["type"]
    kind |= {"type": "string", "enum": ["catalog-variant-create-job"]}


@asks("4XX.errors", "5XX.errors")
def errors_are_told_otherwise(document: Document) -> None:
    document["components"]["schemas"]["ErrorDocument"] = {
        "type": "object",
        "properties": {"title": {"type": "string"}, "status": {"type": "integer"}},
    }


@asks("200.links.next")
def the_next_link_becomes_an_object(document: Document) -> None:
    address = {"type": "object", "properties": {"href": {"type": "string"}}}
    component(document, "PageLinks")["properties"]["next"] = address


@asks(f"{ATTRIBUTES}.created_at")
def an_attribute_is_renamed(document: Document) -> None:
    attributes(document)["accepted_at"] = attributes(document).pop("created_at")


@asks(f"{ATTRIBUTES}.failed_count")
def a_count_goes(document: Document) -> None:
    del attributes(document)["failed_count"]


@asks(f"{ATTRIBUTES}.status")
def a_status_comes(document: Document) -> None:
    component(document, "JobStatus")["enum"].append("failed")


@asks(FIELDS)
def fields_are_no_longer_listed(document: Document) -> None:
    operation(document)["parameters"][0]["schema"]["items"] = {"type": "string"}


@asks()
def a_second_media_type_comes(document: Document) -> None:
    content = operation(document)["responses"]["200"]["content"]
    content["application/json"] = copy.deepcopy(content[NEWEST.media_type])


@pytest.mark.parametrize(("edit", "places"), CHANGES, ids=[edit.__name__ for edit, _ in CHANGES])
def test_a_change_is_carried_and_asks(edit: Edit, places: tuple[str, ...], tmp_path: Path) -> None:
    theirs = copy.deepcopy(OURS)
    edit(theirs)
    made = tmp_path / NEWEST.file.name
    made.write_text(
        carry(TEXT, old=NEWEST.date, new=NEWEST.date, upstream=theirs), encoding="utf-8"
    )
    carried = fragment.load(made)
    validate(carried)
    fragment.read(made)
    assert agreement(carried, read_wire(theirs)).lines() == []
    asked = to_decide(read_wire(OURS), read_wire(theirs), lambda name: users_of(ROOT, name))
    assert set(asked) == set(places)


def carried_with(edit: Edit) -> Document:
    theirs = copy.deepcopy(OURS)
    edit(theirs)
    text = carry(TEXT, old=NEWEST.date, new=NEWEST.date, upstream=theirs)
    document: Document = YAML(typ="safe").load(text)
    return document


def told_of(edit: Edit) -> str:
    theirs = copy.deepcopy(OURS)
    edit(theirs)
    return changes.as_text(changes.report(read_wire(OURS), read_wire(theirs), {}, words=False))


def test_a_renamed_parameter_stays_what_it_was() -> None:
    was = operation(OURS)["parameters"][0]
    now = operation(carried_with(the_resource_type_is_renamed))["parameters"][0]
    assert now == {**was, "name": "fields[catalog-variant-create-job]"}


def test_an_answer_like_another_is_described_by_the_same_component() -> None:
    responses = operation(carried_with(an_answer_like_another_comes))["responses"]
    assert responses["206"]["content"] == responses["200"]["content"]


def test_the_limiter_keeps_the_limits_it_can_read_and_that_is_declared() -> None:
    carried = carried_with(the_limits_are_told_otherwise)
    assert operation(carried)["x-klaviyo-ratelimit"] == {
        "burst": f"{NEWEST.burst}/s",
        "steady": f"{NEWEST.steady}/m",
    }
    declared = {entry["fact"]: entry["upstream"] for entry in carried["x-deviations"]}
    assert declared == {"burst": "75 per second", "steady": "9000/h"}


def test_who_goes_by_the_name_of_a_vanished_attribute_is_named() -> None:
    theirs = copy.deepcopy(OURS)
    an_attribute_is_renamed(theirs)
    asked = to_decide(
        read_wire(OURS), read_wire(theirs), lambda name: {"created_at": "rows.py:3"}[name]
    )
    told = asked[f"{ATTRIBUTES}.created_at"]
    assert "rows.py:3" in told
    assert "probably accepted_at now" in told


def test_a_name_is_looked_up_where_code_goes_by_it(tmp_path: Path) -> None:
    module = tmp_path / "overlay" / "rows.py"
    module.parent.mkdir()
    module.write_text("x = 1\ny = job.created_at\n# job.created_at\nz = job.created_attr\n")
    assert users_of(tmp_path, "created_at") == "overlay/rows.py:2"
    assert users_of(tmp_path, "expires_at") == ""


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (sort_comes, "query sort is new and optional: a string. `extra_query` sends it."),
        (a_filter_comes, "query filter.created_at is new and optional: a datetime."),
        (other_fields_come, "query fields[catalog-variant] is new and optional: an array of"),
        (
            a_daily_limit_comes,
            "The daily limit was not stated and is now 225/d. The limiter learns",
        ),
        (an_attribute_is_renamed, "it was a string (date-time). Probably it is accepted_at now."),
    ],
)
def test_what_is_told_is_true(edit: Edit, told: str) -> None:
    report = told_of(edit)
    assert told in report
    assert "status=" not in report
    assert "fields=" not in report


def test_words_that_all_choices_share_are_those_of_the_place() -> None:
    def both_say(document: Document) -> None:
        one = attributes(document)["total_count"]
        attributes(document)["total_count"] = {
            "oneOf": [{**one, "type": "integer"}, {**one, "type": "integer", "minimum": 1}]
        }

    theirs = copy.deepcopy(OURS)
    both_say(theirs)
    docs = read_wire(theirs).places[f"{ATTRIBUTES}.total_count"].docs
    assert docs["description"] == attributes(OURS)["total_count"]["description"]


def test_the_owners_words_are_at_hand_while_a_person_words_a_description() -> None:
    def described(document: Document) -> None:
        attributes(document)["progress"] = {
            "type": "integer",
            "description": "How\x1b far\nit is.",
        }

    theirs = copy.deepcopy(OURS)
    described(theirs)
    rows = changes.to_describe(carried_with(described), read_wire(theirs), NEWEST.date)
    (row,) = changes.in_order(rows)
    assert row.where == f"{ATTRIBUTES}.progress"
    assert f"word it in spec/{NEWEST.date}.yaml. Klaviyo says: " in row.what
    assert row.what.endswith(r'"How\x1b far it is."')


def test_a_reason_that_may_not_hold_any_more_is_told() -> None:
    places = ["200.links", "200.meta"]
    entry = {"fact": "required", "upstream": True, "reason": "Links may be absent."}
    before = {"x-deviations": [{**entry, "where": places}]}
    carried = {"x-deviations": [{**entry, "where": places[1:]}]}
    (row,) = changes.to_give_reasons(before, carried, NEWEST.date)
    assert '"Links may be absent.", was given for 200.links too' in row.what
    assert list(changes.to_give_reasons(before, before, NEWEST.date)) == []


SEVERAL = """
import copy, sys
sys.path[:0] = sys.argv[1:]
import test_next_revision as t
theirs = copy.deepcopy(t.OURS)
for edit, _ in t.CHANGES:
    if edit.__name__ not in ("the_limits_go", "a_daily_limit_comes", "a_filter_comes"):
        edit(theirs)
print(t.carry(t.TEXT, old=t.NEWEST.date, new="2099-01-15", upstream=theirs))
old, new = t.read_wire(t.OURS), t.read_wire(theirs)
asked = t.to_decide(old, new, lambda name: "")
print(t.changes.as_json(t.changes.report(old, new, asked, words=True)))
"""


def test_the_same_documents_give_the_same_bytes_whatever_the_hash_seed() -> None:
    paths = [str(ROOT / "scripts"), str(Path(__file__).parent)]
    given = [sys.executable, "-c", SEVERAL, *paths]
    told = {
        subprocess.run(
            given, check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(told) == 1

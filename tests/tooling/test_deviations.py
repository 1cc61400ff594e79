"""A deliberate difference from upstream is declared, with its reason, as long as it is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from small_document import small_document
from tooling import fragment, upstream
from tooling.deviations import agreement, declared, upstream_side
from tooling.schema import DocumentError
from tooling.wire import read_wire

ROOT = Path(__file__).resolve().parents[2]
UPSTREAM = ROOT.parent / "shared" / "upstream"
TOTAL = "200.data[].attributes.total_count"


def tolerant(*deviations: dict[str, Any]) -> dict[str, Any]:
    document = small_document()
    attributes = document["components"]["schemas"]["Attributes"]["properties"]
    attributes["total_count"]["nullable"] = True
    return {**document, "x-deviations": list(deviations)}


def nullable(**changes: Any) -> dict[str, Any]:
    entry = {"fact": "nullable", "upstream": False, "where": [TOTAL], "reason": "Seen as null."}
    return {**entry, **changes}


def test_a_declared_difference_is_agreement() -> None:
    found = agreement(tolerant(nullable()), read_wire(small_document()))
    assert found.lines() == []


def test_a_difference_that_is_not_declared_is_told() -> None:
    found = agreement(tolerant(), read_wire(small_document()))
    assert [row.where for row in found.undeclared] == [TOTAL]


def test_a_declaration_that_upstream_has_caught_up_with_is_told() -> None:
    found = agreement(tolerant(nullable()), read_wire(tolerant()))
    assert len(found.unneeded) == 1
    assert TOTAL in found.unneeded[0]


def test_a_declaration_about_no_place_is_told() -> None:
    declarations = (nullable(), nullable(where=["200.nothing"]))
    found = agreement(tolerant(*declarations), read_wire(small_document()))
    assert [line for line in found.unneeded if "200.nothing" in line]


def test_words_of_our_own_are_no_difference() -> None:
    ours = tolerant(nullable())
    ours["paths"]["/api/catalog-variant-bulk-create-jobs"]["get"]["description"] = "Our words."
    assert agreement(ours, read_wire(small_document())).lines() == []


def test_the_upstream_side_can_be_rebuilt_from_a_fragment() -> None:
    assert upstream_side(tolerant(nullable())).places == read_wire(small_document()).places


def test_something_upstream_does_not_have_is_left_out_when_rebuilding() -> None:
    ours = tolerant(nullable(), nullable(fact="present", where=["200.meta"]))
    meta = {"type": "object", "properties": {"hint": {"type": "string"}}}
    ours["components"]["schemas"]["Collection"]["properties"]["meta"] = meta
    assert agreement(ours, read_wire(small_document())).lines() == []


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"fact": "nullable"}, "exactly the keys"),
        (nullable(fact="colour"), "is none of"),
        (nullable(reason=" "), "reason"),
        (nullable(where=[]), "at least one place"),
        (nullable(where=[TOTAL, TOTAL]), "declared twice"),
    ],
)
def test_a_declaration_that_is_not_complete_is_refused(entry: dict[str, Any], told: str) -> None:
    with pytest.raises(DocumentError, match=told):
        declared({"x-deviations": [entry]})


@pytest.mark.parametrize(
    "kept",
    [one for one in fragment.fragments(ROOT / "spec") if (UPSTREAM / f"{one.date}.json").exists()],
    ids=lambda kept: kept.date,
)
def test_every_fragment_agrees_with_the_document_at_hand(kept: fragment.Fragment) -> None:
    theirs = read_wire(upstream.load(str(UPSTREAM / f"{kept.date}.json")))
    assert agreement(fragment.load(kept.file), theirs).lines() == []

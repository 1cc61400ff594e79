"""Applies the changes of the upstream document to a fragment and keeps the rest as it is.

`carry_answers`, `carry_parameters` and `carry_terms` apply changes of responses, of parameters and
of limits, paths, media types and the like. `declare` then writes down how the fragment differs from
upstream. Changes that no rule covers are not applied, and are declared for a person to look at.
"""

from __future__ import annotations

from typing import Any

from tooling import carry_answers, carry_parameters, carry_terms
from tooling.compare import Difference, differences
from tooling.declare import declare
from tooling.deviations import declared, upstream_side, without_left_out
from tooling.new_schema import SchemaWriter
from tooling.round_trip import RoundTrip, quoted
from tooling.sites import operation_in, parameter_in, remove_unused_components
from tooling.wire import REVISION, Wire, read_wire

# The registry is generated from these, even if nothing refers to them.
_KEPT_COMPONENTS = ("Job", "JobField", "JobStatus")


def carry(text: str, *, old: str, new: str, upstream: dict[str, Any]) -> str:
    """The fragment `text` of revision `old` as a fragment of revision `new`.

    Args:
        upstream: Klaviyo's document of revision `new`.
    Raises:
        CarryError: a change has to be made by hand first.
        DocumentError: the fragment or the document is broken.
    """
    fragment = RoundTrip.of(_redated(text, old, new))
    if old != new:
        _date(fragment, old, new)
    theirs = read_wire(upstream)
    writer = SchemaWriter(fragment, theirs, new)
    carry_answers.split_components(fragment, theirs, lambda: _found(fragment, theirs))
    found = _found(fragment, theirs)
    carry_answers.carry(fragment, theirs, found, writer)
    carry_parameters.carry(fragment, theirs, found, writer)
    carry_terms.carry(fragment, theirs, found, upstream)
    remove_unused_components(fragment.data, _KEPT_COMPONENTS)
    declare(fragment, theirs)
    return fragment.text


def _found(fragment: RoundTrip, upstream: Wire) -> list[Difference]:
    ours = upstream_side(fragment.data)
    return list(differences(ours, without_left_out(upstream, declared(fragment.data))))


def _redated(text: str, old: str, new: str) -> str:
    """The text with the date in the comment at its top changed.

    A paragraph of it that starts with the old date is about the old revision only, and is dropped.
    """
    lines = text.splitlines()
    length = next(n for n, line in enumerate(lines) if not line.startswith("#"))
    paragraphs = "\n".join(lines[:length]).split("\n#\n")
    if old != new:
        paragraphs = [one for one in paragraphs if not one.startswith(f"# {old}")]
    head = "\n#\n".join(paragraphs).replace(old, new).splitlines()
    return "\n".join([*head, *lines[length:]]) + "\n"


def _date(fragment: RoundTrip, old: str, new: str) -> None:
    info = fragment.data["info"]
    info["version"] = quoted(new)
    if "description" in info:
        info["description"] = info["description"].replace(old, new)
    number = parameter_in(fragment.data, REVISION)
    if number is not None:
        operation_in(fragment.data)["parameters"][number]["schema"]["default"] = quoted(new)

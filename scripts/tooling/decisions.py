"""What a person has to decide about a change, because its meaning cannot be derived."""

from __future__ import annotations

from collections.abc import Iterator

from tooling.compare import Difference, differences
from tooling.wire import FILTER, REVISION, Wire

_STATUS = "200.data[].attributes.status"
_IDS = ("200.data[].id", "200.data[].attributes.job_id")
# What the overlay is built on, and what of it would have nothing to stand on.
_RELIED_ON = {
    "200": "every page",
    "200.data": "the jobs of a page",
    "200.data[]": "the jobs of a page",
    "200.data[].attributes": "every attribute of a job",
    "200.links": "going from page to page",
    "200.links.next": "going from page to page",
    _STATUS: "telling finished jobs from others",
    FILTER: "asking for one status",
    f"{FILTER}.status": "asking for one status",
    "query page[cursor]": "going from page to page",
    "query fields[catalog-variant-bulk-create-job]": "sparse fieldsets",
    REVISION: "pinning a revision",
}


def to_decide(old: Wire, new: Wire) -> dict[str, str]:
    """By place, the question that the change there puts to a person."""
    questions: dict[str, str] = {}
    for one in differences(old, new):
        for question in _questions(one, new):
            questions.setdefault(one.where, question)
    had_id, has_id = (any(where in wire.places for where in _IDS) for wire in (old, new))
    if had_id and not has_id:
        questions[_IDS[0]] = "where job_id(job) finds the identifier now"
    return questions


def _questions(one: Difference, new: Wire) -> Iterator[str]:
    place = new.places.get(one.where)
    if place is None or (one.fact in ("type", "repeats") and one.where in _RELIED_ON):
        if one.where in _RELIED_ON:
            yield f"what becomes of {_RELIED_ON[one.where]}, which the overlay builds on this"
        return
    if place.kind == "request":
        if place.facts.get("required") and one.fact in ("present", "required"):
            yield "what the client is to send there"
        elif one.fact in ("type", "style", "explode", "default"):
            yield "whether what the client sends there still means the same"
        elif one.fact == "operators" and "equals" not in _values(one.new):
            yield f"what becomes of {_RELIED_ON[f'{FILTER}.status']}"
    elif one.fact == "type":
        yield "whether callers are to get the new type as it is"
    elif (
        one.fact == "enum"
        and one.where == _STATUS
        and set(_values(one.new)) - set(_values(one.old))
    ):
        yield "where in a job's life it stands (LIFECYCLE in scripts/tooling/fragment.py)"
    elif one.fact == "present" and place.parent is None:
        yield "what the client does with such an answer"
    elif one.fact == "present" and not one.where.rpartition(".")[2].isidentifier():
        if one.where.endswith(("[]", ".*")):
            return
        yield "how callers are to reach a name that no Python attribute can have"
    elif one.where in ("200", "200.data", "200.data[]", "200.data[].attributes"):
        if one.fact in ("required", "nullable"):
            yield "what the overlay does without it; the models still insist on it"
    elif one.where in ("server", "authentication"):
        yield "whether the client has to change for it"


def _values(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else ()

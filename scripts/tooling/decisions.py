"""The questions about a change that a person has to decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tooling.compare import Difference, differences, renamed
from tooling.deviations import LIMITS
from tooling.fragment import is_limit
from tooling.new_schema import is_attribute_name
from tooling.wire import FILTER, REVISION, Wire

_ATTRIBUTES = "200.data[].attributes."
_STATUS = f"{_ATTRIBUTES}status"
_IDS = ("200.data[].id", f"{_ATTRIBUTES}job_id")
# What the overlay relies on, and what would stop working without it.
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
    **{
        f"{status}.errors{rest}": "the details of an APIError"
        for status in ("4XX", "5XX")
        for rest in ("", "[]", "[].code", "[].title", "[].detail", "[].source")
    },
}
_FIRM = ("200", "200.data", "200.data[]", "200.data[].attributes")

Users = Callable[[str], str]


def to_decide(old: Wire, new: Wire, users: Users) -> dict[str, str]:
    """The question about the change at each place that needs a decision.

    Args:
        users: where the overlay uses the name of an attribute.
    """
    questions: dict[str, str] = {}
    names = renamed(old, new)
    for one in differences(old, new):
        for question in _questions(one, new, users, names.get(one.where)):
            questions.setdefault(one.where, question)
    had_id, has_id = (any(where in wire.places for where in _IDS) for wire in (old, new))
    if had_id and not has_id:
        questions[_IDS[0]] = "where job_id(job) finds the identifier now"
    return questions


def _questions(one: Difference, new: Wire, users: Users, name: str | None) -> Iterator[str]:
    place = new.places.get(one.where)
    if place is None or (one.fact in ("type", "repeats") and one.where in _RELIED_ON):
        yield from _on_what_is_gone(one, users, name)
        if place is None:
            return
    if place.kind == "service":
        yield from _on_terms(one)
    elif place.kind == "request":
        yield from _on_requests(one, bool(place.facts.get("required")))
    elif one.fact == "type":
        yield "whether callers are to get the new type as it is"
    elif one.fact == "enum" and one.where == _STATUS:
        if not isinstance(one.new, tuple) or set(one.new) - set(_values(one.old)):
            yield "where in a job's life it stands (LIFECYCLE in scripts/tooling/fragment.py)"
    elif one.fact == "present" and place.parent is None:
        yield "what the client does with such a response"
    elif one.fact == "present":
        name = one.where.removeprefix(f"{place.parent}.")
        unnamed = one.where.endswith(("[]", ".*")) or " header " in one.where
        if not unnamed and not is_attribute_name(name):
            yield "how callers are to reach it; no attribute of the models can have that name"
    elif one.where in _FIRM and one.fact in ("required", "nullable"):
        yield "what the overlay does without it; the models still insist on it"


def _on_what_is_gone(one: Difference, users: Users, name: str | None) -> Iterator[str]:
    now = f"; it is probably {name} now" if name else ""
    attribute = one.where.removeprefix(_ATTRIBUTES)
    if one.where in _RELIED_ON:
        yield f"what becomes of {_RELIED_ON[one.where]}, which the overlay builds on this{now}"
    elif one.where.startswith(("query ", "cookie ", "path ", "header ")):
        if not one.where.startswith(f"{FILTER}."):
            yield f"what becomes of whoever sends it{now}"
    elif attribute != one.where and one.where not in _IDS and attribute.isidentifier():
        places = users(attribute)
        if places:
            yield f"what becomes of {places}, which use its name{now}"


def _on_terms(one: Difference) -> Iterator[str]:
    if one.where in ("server", "authentication"):
        yield "whether the client has to change for it"
    elif one.where == "rate limit":
        if one.fact not in LIMITS:
            if one.new is None:
                return
            yield f"whether the limiter has to know the {one.fact} limit; it does not yet"
        elif not is_limit(one.fact, one.new):
            yield "what the limiter starts from; until then it is the limit of the old fragment"


def _on_requests(one: Difference, required: bool) -> Iterator[str]:
    parameter = one.where.split(" ", 1)[0] in ("query", "header", "cookie", "path")
    if one.where.startswith(f"{FILTER}."):
        if one.fact == "present" and one.where != f"{FILTER}.status":
            yield "whether the client shall offer this filter; so far it filters by status alone"
        elif (
            one.fact == "operators"
            and one.where == f"{FILTER}.status"
            and "equals" not in _values(one.new)
        ):
            yield f"what becomes of {_RELIED_ON[f'{FILTER}.status']}"
    elif required and one.fact in ("present", "required"):
        yield "what the client is to send there"
    elif one.fact == "present" and parameter and "." not in one.where:
        yield "whether the client shall offer it by name"
    elif one.fact in ("type", "style", "explode", "default"):
        yield "whether what the client sends there still means the same"
    elif one.fact == "enum" and one.new is None:
        yield "whether the client goes on refusing what is not in the list it has"


def _values(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else ()

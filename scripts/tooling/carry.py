"""Carries what upstream changed over into a fragment and leaves everything else as it stands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from tooling.compare import Difference, differences
from tooling.deviations import FACTS, Deviation, declared, rebuilt, upstream_side, without_left_out
from tooling.new_schema import SchemaWriter
from tooling.schema import BOUNDS, Fact
from tooling.sites import (
    SCHEMAS,
    Sites,
    find_sites,
    operation_path,
    reference_path,
    schema_body,
    unused_components,
)
from tooling.wire import FILTER, REVISION, Wire, find_operation, read_wire
from tooling.yaml_text import Path, YamlText, flow, quoted

# The registry is made from these, used or not.
_KEPT_COMPONENTS = ("Job", "JobField", "JobStatus")
# The overlay reads these without asking whether they are there.
FIRM = frozenset({"200", "200.data", "200.data[]", "200.data[].attributes"})
_REASONS = {
    "present": "Cannot be an attribute of a Python object, so the models leave it out.",
    "required": "Read like every other field, whatever is promised; a missing one costs no page.",
    "nullable": "Read like every other field; null means the same as absent.",
    "enum": "A value that is not listed here must not cost the page.",
    "closed": "New enum values are announced as compatible changes.",
}
_OTHER_REASON = "The models stay as they are until a person has looked at it."
_SPLIT_NAMES = {"200": "Page", "4XX": "Client", "5XX": "Server"}


class CarryError(Exception):
    """A change that no rule covers; the message says which, and what to do."""


def carry(text: str, *, old: str, new: str, upstream: dict[str, Any]) -> str:
    """The fragment `text` of revision `old` as a fragment of revision `new`.

    Args:
        upstream: the owner's document of revision `new`.
    Raises:
        CarryError: something changed that has to be carried over by hand first.
        DocumentError: the fragment or the document is broken.
    """
    fragment = YamlText(_redated(text, old, new))
    _date(fragment, old, new)
    _Carrier(fragment, upstream, new).run()
    return fragment.text


def _redated(text: str, old: str, new: str) -> str:
    """The text with the date in the comment at its top changed.

    A paragraph of that comment that starts with the old date speaks of the old revision alone.
    """
    lines = text.splitlines()
    length = next(n for n, line in enumerate(lines) if not line.startswith("#"))
    paragraphs = "\n".join(lines[:length]).split("\n#\n")
    if old != new:
        paragraphs = [one for one in paragraphs if not one.startswith(f"# {old}")]
    head = "\n#\n".join(paragraphs).replace(old, new).splitlines()
    return "\n".join([*head, *lines[length:]]) + "\n"


def _date(fragment: YamlText, old: str, new: str) -> None:
    if old == new:
        return
    fragment.set(("info", "version"), quoted(new))
    description = fragment.get(("info", "description"))
    if description:
        fragment.set(("info", "description"), description.replace(old, new))
    path = _parameter(fragment, REVISION)
    if path:
        fragment.set((*path, "schema", "default"), quoted(new))


def _parameter(fragment: YamlText, where: str) -> Path | None:
    position, name = where.split(" ", 1)
    parameters = (*operation_path(fragment), "parameters")
    for number, parameter in enumerate(fragment.get(parameters) or []):
        if (parameter["in"], parameter["name"]) == (position, name):
            return (*parameters, number)
    return None


class _Carrier:
    """One fragment on its way to agree with one upstream document."""

    def __init__(self, fragment: YamlText, document: dict[str, Any], date: str) -> None:
        self._fragment = fragment
        self._document = document
        self._upstream = read_wire(document)
        self._writer = SchemaWriter(fragment, self._upstream, date)

    def run(self) -> None:
        self._split_components()
        sites = find_sites(self._fragment)
        found = self._found()
        self._remove(found, sites)
        sites = find_sites(self._fragment)
        for one in found:
            if one.fact == "present" and one.new:
                self._add(one.where)
        self._change_requests(found)
        for one in found:
            if self._kind(one.where) == "answer" and one.fact != "present":
                self._change_answer(one, find_sites(self._fragment))
        self._change_service(found)
        self._fragment.remove(unused_components(self._fragment, _KEPT_COMPONENTS))
        self._declare()

    def _found(self) -> list[Difference]:
        ours = upstream_side(self._fragment.data)
        theirs = without_left_out(self._upstream, declared(self._fragment.data))
        return list(differences(ours, theirs))

    def _kind(self, where: str) -> str:
        place = self._upstream.places.get(where)
        return place.kind if place else "gone"

    # Components used twice -----------------------------------------------------------------------

    def _split_components(self) -> None:
        """Give a place its own copy of a component that changes for it and not for others."""
        while True:
            sites = find_sites(self._fragment)
            place = self._place_that_differs_from_its_twins(sites)
            if place is None:
                return
            self._split(place, sites)

    def _place_that_differs_from_its_twins(self, sites: Sites) -> str | None:
        changes: dict[Path, dict[tuple[str, str, Fact], set[str]]] = defaultdict(
            lambda: defaultdict(set)
        )
        for one in self._found():
            path, name = self._site(one, sites)
            if path:
                changes[path][one.fact, name, one.new].add(one.where)
        for path, by_change in changes.items():
            twins = sites.sharing(path)
            for (_, name, _), places in by_change.items():
                owners = {where.removesuffix(name) for where in places}
                if len(owners) < len(twins) and not owners & FIRM:
                    return min(owners, key=list(sites.slots).index)
        return None

    def _site(self, one: Difference, sites: Sites) -> tuple[Path | None, str]:
        """Where the difference is written, and the rest of the place's name from there."""
        if one.fact == "present" and one.new:
            parent = self._upstream.places[one.where].parent
            if parent in sites.bodies:
                return sites.bodies[parent], one.where.removeprefix(parent)
            return None, ""
        if one.fact == "enum":
            return sites.bodies.get(one.where), ""
        if one.fact in ("required", "closed"):
            return None, ""
        return sites.slots.get(one.where), ""

    def _split(self, where: str, sites: Sites) -> None:
        chain = [at for at in sites.slots if where == at or where.startswith((f"{at}.", f"{at}["))]
        for at in chain:
            reference = reference_path(self._fragment, sites.slots[at])
            body = sites.bodies[at]
            alone = len(sites.sharing(sites.slots[at])) == 1
            if reference and alone and len(sites.sharing(body)) > 1:
                self._copy(str(body[-1]), reference, _SPLIT_NAMES.get(where.split(".")[0], "Other"))
                return
        raise CarryError(
            f"{where} changes, and what describes it in the fragment describes other places as "
            "well; give it a component of its own by hand and run this again"
        )

    def _copy(self, component: str, reference: Path, prefix: str) -> None:
        taken = self._fragment.get(SCHEMAS)
        name = f"{prefix}{component}"
        while name in taken:
            name += "2"
        copy = taken[component]
        self._fragment.insert(SCHEMAS, name, _spelled(copy), after=component, blank=True)
        self._fragment.set(reference, quoted(f"#/components/schemas/{name}"))

    # What comes and goes -------------------------------------------------------------------------

    def _remove(self, found: Iterable[Difference], sites: Sites) -> None:
        doomed: list[Path] = []
        for one in found:
            if one.fact != "present" or one.new:
                continue
            if one.where in sites.slots:
                doomed += self._answer_paths(one.where, sites)
            elif not one.where.startswith(f"{FILTER}."):
                parameter = _parameter(self._fragment, one.where)
                if parameter is None:
                    raise CarryError(f"{one.where} is gone upstream; take it out of the fragment")
                doomed.append(parameter)
        self._fragment.remove(doomed)

    def _answer_paths(self, where: str, sites: Sites) -> list[Path]:
        parent = self._parent(where, sites)
        if parent is None:
            return [(*operation_path(self._fragment), "responses", where)]
        slot = sites.slots[where]
        required = (*sites.bodies[parent], "required")
        listed = self._fragment.get(required) or []
        return [slot, *((*required, n) for n, name in enumerate(listed) if name == slot[-1])]

    @staticmethod
    def _parent(where: str, sites: Sites) -> str | None:
        body = where.removesuffix("[]") if where.endswith("[]") else where.rpartition(".")[0]
        return body if body in sites.slots else None

    def _add(self, where: str) -> None:
        place = self._upstream.places[where]
        if place.kind == "request":
            if place.parent is None:
                self._add_parameter(where)
            return
        sites = find_sites(self._fragment)
        parent = place.parent
        if parent is None and " " not in where:
            self._add_response(where)
            return
        if parent is None or parent not in sites.bodies:
            raise CarryError(f"{where} is new upstream; describe it in the fragment by hand")
        name = where.removeprefix(parent).removeprefix(".")
        if not name.isidentifier() or where in sites.slots:
            return
        body = sites.bodies[parent]
        component = str(body[2]) if body[: len(SCHEMAS)] == SCHEMAS else None
        schema = self._writer.answer(where, component)
        if self._fragment.get((*body, "properties")) is None:
            # So far an object of anything: the open component cannot take a member for one place.
            own = {"anyOf": [{"type": "object", "properties": {name: schema}}, {"type": "null"}]}
            self._fragment.set(sites.slots[parent], _spelled(own))
            return
        self._fragment.insert(
            (*body, "properties"), name, schema, after=self._neighbour(where, parent)
        )

    def _add_response(self, status: str) -> None:
        response: dict[str, Any] = {"description": self._writer.description}
        media_types = _tuple(self._upstream.places["media type"].facts.get(status))
        if media_types:
            schema = self._writer.answer(status, None)
            response["content"] = {str(name): {"schema": schema} for name in media_types}
        path = (*operation_path(self._fragment), "responses")
        self._fragment.insert(path, quoted(status), response)

    def _neighbour(self, where: str, parent: str) -> str | None:
        """The property that upstream has right before this one."""
        siblings = [at for at, one in self._upstream.places.items() if one.parent == parent]
        before = siblings[: siblings.index(where)]
        return before[-1].removeprefix(f"{parent}.") if before else None

    def _add_parameter(self, where: str) -> None:
        if where == "request body":
            raise CarryError("the operation takes a body now; the client can send none")
        names = [
            at
            for at, one in self._upstream.places.items()
            if one.kind == "request" and one.parent is None
        ]
        before = names[: names.index(where)]
        after = next(
            (path[-1] for name in reversed(before) if (path := _parameter(self._fragment, name))),
            -1,
        )
        path = (*operation_path(self._fragment), "parameters")
        self._fragment.append(path, [self._writer.request(where)], after=int(after))

    # What changes in place -----------------------------------------------------------------------

    def _change_requests(self, found: Iterable[Difference]) -> None:
        changed: dict[str, list[Difference]] = defaultdict(list)
        for one in found:
            if self._kind(one.where) == "request" and not one.where.startswith(f"{FILTER}."):
                changed[self._root(one.where)].append(one)
        for where, ones in changed.items():
            path = _parameter(self._fragment, where)
            if path and not all(one.fact == "present" and one.where == where for one in ones):
                self._change_parameter(where, path, {one.fact for one in ones})

    def _root(self, where: str) -> str:
        parent = self._upstream.places[where].parent
        return where if parent is None else self._root(parent)

    def _change_parameter(self, where: str, path: Path, facts: set[str]) -> None:
        theirs = self._upstream.places[where].facts
        if "required" in facts:
            self._set_or_remove((*path, "required"), True if theirs["required"] else None)
        if "enum" in facts:
            self._change_enum(_items_body(self._fragment, (*path, "schema")), theirs["enum"])
        if facts - {"required", "enum"}:
            description = self._fragment.get((*path, "schema", "description"))
            parameter = self._writer.request(where)
            if description:
                parameter["schema"]["description"] = description
            self._fragment.append(path[:-1], [parameter], after=int(path[-1]))
            self._fragment.remove([path])

    def _change_answer(self, one: Difference, sites: Sites) -> None:
        slot, body = sites.slots.get(one.where), sites.bodies.get(one.where)
        if slot is None or body is None or one.where in FIRM:
            return
        place = self._upstream.places[one.where]
        if place.facts["type"] == "nothing":
            raise CarryError(f"{one.where} has no body any more upstream; describe it by hand")
        if one.fact == "type" or one.fact == "repeats":
            self._retype(one.where, slot, body)
        elif one.fact == "format":
            self._set_or_remove((*body, "format"), place.facts["format"])
        elif one.fact == "enum" and self._fragment.get((*body, "enum")) is not None:
            if isinstance(one.new, tuple):
                self._change_enum(body, one.new)
        elif one.fact == "bounds":
            bounds = one.new if isinstance(one.new, tuple) else ()
            theirs = {str(pair[0]): pair[1] for pair in bounds if isinstance(pair, tuple)}
            for key in BOUNDS:
                self._set_or_remove((*body, key), theirs.get(key))

    def _retype(self, where: str, slot: Path, body: Path) -> None:
        component = str(body[2]) if body[: len(SCHEMAS)] == SCHEMAS else None
        schema = self._writer.answer(where, component)
        description = self._fragment.get((*slot, "description"))
        if description:
            schema["description"] = description
        self._fragment.set(slot, schema)

    def _change_enum(self, body: Path, new: Fact) -> None:
        path = (*body, "enum")
        values = list(_tuple(new))
        if self._fragment.get(path) is None and values:
            self._fragment.set(path, flow(values))
        elif values:
            self._fragment.update_list(path, values)
        else:
            self._fragment.remove([path])

    def _set_or_remove(self, path: Path, value: Any) -> None:
        if value is not None:
            self._fragment.set(path, quoted(value))
        elif self._fragment.get(path) is not None:
            self._fragment.remove([path])

    # Terms of the service ------------------------------------------------------------------------

    def _change_service(self, found: Iterable[Difference]) -> None:
        changed = {one.where for one in found if self._kind(one.where) == "service"}
        operation = operation_path(self._fragment)
        path, item = find_operation(self._document)
        theirs = item["get"]
        if "media type" in changed:
            self._change_media_types()
        if "rate limit" in changed:
            self._change_limits(theirs.get("x-klaviyo-ratelimit") or {}, operation)
        if "scopes" in changed:
            scopes = self._upstream.places["scopes"].facts["scopes"]
            self._fragment.set((*operation, "x-klaviyo-scopes"), list(_tuple(scopes)))
        if "lifecycle" in changed:
            for key in ("deprecated", "x-klaviyo-pre-release"):
                self._set_or_remove((*operation, key), theirs.get(key))
        if "server" in changed:
            self._fragment.set(
                ("servers",), [{"url": one["url"]} for one in self._document["servers"]]
            )
        if "authentication" in changed:
            self._change_authentication(theirs)
        self._take_filters(theirs.get("x-klaviyo-filters"), operation)
        if "path" in changed:
            self._fragment.rename(operation[:2], path)

    def _change_media_types(self) -> None:
        responses = (*operation_path(self._fragment), "responses")
        for status, theirs in self._upstream.places["media type"].facts.items():
            reference = self._fragment.get((*responses, status, "$ref"))
            path: Path = (*responses, status)
            if reference:
                path = tuple(reference.removeprefix("#/").split("/"))
            ours = list(self._fragment.get((*path, "content")) or ())
            for old, new in zip(ours, _tuple(theirs), strict=False):
                if old != new:
                    self._fragment.rename((*path, "content", old), str(new))

    def _change_limits(self, limits: dict[str, str], operation: Path) -> None:
        if not {"burst", "steady"} <= set(limits):
            raise CarryError(
                "upstream no longer states a burst and a steady limit; the limiter starts from them"
            )
        # Written anew as a whole: a remark between the old limits was about those.
        self._fragment.set((*operation, "x-klaviyo-ratelimit"), _spelled(limits))

    def _change_authentication(self, operation: dict[str, Any]) -> None:
        asked = operation.get("security", self._document.get("security")) or []
        known = (self._document.get("components") or {}).get("securitySchemes") or {}
        schemes = {
            name: {
                key: known[name][key]
                for key in ("type", "in", "name", "scheme")
                if key in known[name]
            }
            for choice in asked
            for name in choice
            if name in known
        }
        self._fragment.set(("components", "securitySchemes"), schemes)
        self._fragment.set(("security",), [{name: flow([])} for name in schemes])

    def _take_filters(self, theirs: Any, operation: Path) -> None:
        path = (*operation, "x-klaviyo-filters")
        ours = read_wire(self._fragment.data)
        if _filter_facts(ours) == _filter_facts(self._upstream):
            return
        if theirs:
            before = "x-klaviyo-scopes"
            taken = _inline_lists(theirs)
            if self._fragment.get(path) is None:
                self._fragment.insert(operation, path[-1], taken, after=before)
            else:
                self._fragment.set(path, taken)
        else:
            self._fragment.remove([path])

    # Deviations ----------------------------------------------------------------------------------

    def _declare(self) -> None:
        """Make x-deviations say exactly how the fragment now departs from upstream."""
        needed = self._departures()
        for one in needed:
            if one.fact not in FACTS or self._kind(one.where) == "service":
                raise CarryError(f"no rule for {one.fact} of {one.where}; carry it over by hand")
        said = declared(self._fragment.data)
        self._fragment.remove(self._deviation_paths(set(said) - needed))
        order = [*read_wire(self._fragment.data).places, *self._upstream.places]
        groups: dict[tuple[str, Fact], list[str]] = defaultdict(list)
        for one in sorted(needed - set(said), key=lambda one: order.index(one.where)):
            groups[one.fact, one.upstream].append(one.where)
        for (fact, value), places in groups.items():
            self._declare_group(fact, value, places)

    def _departures(self) -> set[Deviation]:
        ours, found = read_wire(self._fragment.data), set[Deviation]()
        while True:
            sides = rebuilt(ours, found), without_left_out(self._upstream, found)
            more = {Deviation(one.where, one.fact, one.new) for one in differences(*sides)}
            if more <= found:
                return found
            # What lies below a type that differs shows only once that is declared.
            found |= more

    def _declare_group(self, fact: str, value: Fact, places: list[str]) -> None:
        reason = _REASONS.get(fact, _OTHER_REASON)
        upstream = flow(value) if isinstance(value, tuple) else value
        wheres = [quoted(place) for place in places]
        entries = self._fragment.get(("x-deviations",)) or []
        for number, entry in enumerate(entries):
            same = entry["fact"] == fact and entry["reason"] == reason
            if same and entry["upstream"] == (list(value) if isinstance(value, tuple) else value):
                self._fragment.append(("x-deviations", number, "where"), wheres)
                return
        entry = {"fact": fact, "upstream": upstream, "where": wheres, "reason": reason}
        if entries:
            self._fragment.append(("x-deviations",), [entry])
        else:
            self._fragment.insert((), "x-deviations", [entry], after="security", blank=True)

    def _deviation_paths(self, doomed: set[Deviation]) -> list[Path]:
        pairs = {(one.where, one.fact) for one in doomed}
        paths: list[Path] = []
        for number, entry in enumerate(self._fragment.get(("x-deviations",)) or []):
            gone = [n for n, at in enumerate(entry["where"]) if (at, entry["fact"]) in pairs]
            if len(gone) == len(entry["where"]):
                paths.append(("x-deviations", number))
            else:
                paths += [("x-deviations", number, "where", n) for n in gone]
        return paths


def _items_body(fragment: YamlText, slot: Path) -> Path:
    body = schema_body(fragment, slot)
    return schema_body(fragment, (*body, "items")) if fragment.get((*body, "items")) else body


def _filter_facts(wire: Wire) -> dict[str, Any]:
    return {where: place.facts for where, place in wire.places.items() if place.parent == FILTER}


def _tuple(value: Fact) -> tuple[Fact, ...]:
    return value if isinstance(value, tuple) else ()


def _inline_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _inline_lists(one) for key, one in value.items()}
    return flow(value) if isinstance(value, list) else value


def _spelled(value: Any) -> Any:
    """A plain schema the way the fragments are written by hand."""
    if isinstance(value, dict):
        return {key: _spelled(one) for key, one in value.items()}
    if isinstance(value, list):
        scalars = not any(isinstance(one, dict | list) for one in value)
        return flow(value) if scalars else [_spelled(one) for one in value]
    return quoted(value)

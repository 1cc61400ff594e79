"""Applies upstream's changes of limits, scopes, media types, filters and the like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from tooling.carry_answers import set_or_remove
from tooling.compare import Difference
from tooling.deviations import LIMITS
from tooling.fragment import in_lifecycle_order, is_limit
from tooling.round_trip import RoundTrip, flow, quoted, spelled
from tooling.sites import followed, operation_in
from tooling.wire import FILTER, Wire, find_operation, read_wire


def carry(
    fragment: RoundTrip, upstream: Wire, found: Sequence[Difference], document: dict[str, Any]
) -> None:
    """Apply changes of limits, scopes, media types, filters, lifecycle, server, key and path."""
    changed = {one.where for one in found if _is_term(upstream, one.where)}
    operation = operation_in(fragment.data)
    path, item = find_operation(document)
    theirs = item["get"]
    if "media type" in changed:
        _change_media_types(fragment, upstream)
    if "rate limit" in changed:
        _change_limits(operation, theirs.get("x-klaviyo-ratelimit") or {})
    if "scopes" in changed:
        scopes = upstream.places["scopes"].facts["scopes"]
        operation["x-klaviyo-scopes"] = CommentedSeq(quoted(one) for one in _tuple(scopes))
    if "lifecycle" in changed:
        for key in ("deprecated", "x-klaviyo-pre-release"):
            set_or_remove(operation, key, theirs.get(key))
    if "server" in changed:
        urls = _tuple(upstream.places["server"].facts["url"])
        fragment.data["servers"] = CommentedSeq(CommentedMap(url=quoted(one)) for one in urls)
    if "authentication" in changed:
        _change_authentication(fragment, theirs, document)
    _take_filters(fragment, upstream, operation)
    if "path" in changed:
        paths = fragment.data["paths"]
        fragment.rename(paths, next(iter(paths)), path)


def _is_term(upstream: Wire, where: str) -> bool:
    return where in upstream.places and upstream.places[where].kind == "service"


def _change_media_types(fragment: RoundTrip, upstream: Wire) -> None:
    for status, raw in operation_in(fragment.data)["responses"].items():
        theirs = [str(one) for one in _tuple(upstream.places["media type"].facts.get(status))]
        response = followed(fragment.data, raw)[0]
        content = response.get("content")
        if not content or not theirs or set(content) == set(theirs):
            continue
        kept = [name for name in content if name in theirs]
        names = kept + [name for name in theirs if name not in kept]
        if len(names) == len(content) == 1:
            fragment.rename(content, next(iter(content)), names[0])
            continue
        described = content[next(iter(content))]
        response["content"] = CommentedMap(
            (quoted(name), content.get(name) or spelled(described)) for name in names
        )


def _change_limits(operation: CommentedMap, theirs: dict[str, Any]) -> None:
    """Take over limits in a known form; otherwise the limits of the fragment stay."""
    ours = operation["x-klaviyo-ratelimit"]
    limits = {key: theirs[key] if is_limit(key, theirs.get(key)) else ours[key] for key in LIMITS}
    # The mapping is replaced: comments in it were about the old limits.
    others = {key: one for key, one in theirs.items() if key not in LIMITS}
    operation["x-klaviyo-ratelimit"] = CommentedMap(
        (quoted(key), quoted(one)) for key, one in {**limits, **others}.items()
    )


def _change_authentication(
    fragment: RoundTrip, operation: dict[str, Any], document: dict[str, Any]
) -> None:
    asked = operation.get("security", document.get("security")) or []
    known = (document.get("components") or {}).get("securitySchemes") or {}
    kept = ("type", "in", "name", "scheme")
    schemes = {
        name: {key: known[name][key] for key in kept if key in known[name]}
        for choice in asked
        for name in choice
        if name in known
    }
    fragment.data["components"]["securitySchemes"] = spelled(schemes)
    fragment.data["security"] = CommentedSeq(
        CommentedMap([(quoted(name), flow([]))]) for name in schemes
    )


def _take_filters(fragment: RoundTrip, upstream: Wire, operation: CommentedMap) -> None:
    ours, theirs = (_filters(wire) for wire in (read_wire(fragment.data), upstream))
    if ours == theirs:
        return
    if not theirs:
        del operation["x-klaviyo-filters"]
        return
    table = CommentedMap()
    for field, facts in theirs.items():
        value = {} if facts["type"] == "any" else {"type": facts["type"]}
        if facts["enum"] is not None:
            value["enum"] = in_lifecycle_order(facts["enum"])
        row = {"operators": {"single": facts["operators"]}, **({"value": value} if value else {})}
        table[quoted(field)] = spelled(row)
    # An unchanged row keeps its spelling, such as an enum in lifecycle order.
    for field, row in (operation.get("x-klaviyo-filters") or {}).items():
        if ours.get(field) == theirs.get(field):
            table[field] = row
    if "x-klaviyo-filters" in operation:
        operation["x-klaviyo-filters"] = table
    else:
        fragment.insert(operation, "x-klaviyo-filters", table, after="x-klaviyo-scopes")


def _filters(wire: Wire) -> dict[str, dict[str, Any]]:
    return {
        where.removeprefix(f"{FILTER}."): dict(place.facts)
        for where, place in wire.places.items()
        if place.parent == FILTER and where.startswith(f"{FILTER}.")
    }


def _tuple(value: object) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else ()

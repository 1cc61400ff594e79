"""The error responses of the API and their documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec


@attrs.frozen(kw_only=True)
class Refusal(Exception):
    """An error response.

    With `message_only` the body is `{"message": …}`, as recorded from retired APIs, and no JSON:API
    error document.
    """

    status: int
    code: str
    title: str
    detail: str
    parameter: str | None = None
    pointer: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    links: Mapping[str, str] | tuple[()] = ()
    """Recorded: an empty array if there are none."""
    message_only: bool = False


def document(refusal: Refusal, *, request_id: str) -> bytes:
    """The JSON body; `errors[0].id` is the value of the header x-klaviyo-req-id."""
    if refusal.message_only:
        return msgspec.json.encode({"message": refusal.detail})
    source = {"pointer": refusal.pointer, "parameter": refusal.parameter}
    members: dict[str, Any] = {
        "id": request_id,
        "status": refusal.status,
        "code": refusal.code,
        "title": refusal.title,
        "detail": refusal.detail,
        "source": {name: value for name, value in source.items() if value is not None},
        "links": refusal.links,
        "meta": (),
    }
    order: Sequence[str] = _ORDERS.get(refusal.status, tuple(members))
    if refusal.status == 429 and int(request_id[0], 16) % 2:
        order = order[::-1]  # The order of the members varies in recorded 429s.
    return msgspec.json.encode({"errors": [{name: members[name] for name in order}]})


# Members of an error in the order recorded in September 2026; other statuses are as the 403.
_ORDERS = {
    401: ("id", "code", "title", "detail", "source", "status"),
    429: ("meta", "code", "detail", "links", "id", "source", "status", "title"),
}


def not_authenticated() -> Refusal:
    """No credential, or an invalid private key."""
    return Refusal(
        status=401,
        code="not_authenticated",
        title="Not authenticated",
        detail="Missing or invalid private key.",
        pointer="/data/",
    )


def authentication_failed() -> Refusal:
    """An access token that is unknown or expired."""
    return Refusal(
        status=401,
        code="authentication_failed",
        title="Incorrect authentication credentials.",
        detail="Incorrect authentication credentials.",
        pointer="/data/",
    )


def permission_denied() -> Refusal:
    """A credential without the scope."""
    return Refusal(
        status=403,
        code="permission_denied",
        title="Permission denied",
        detail="The credential lacks the scope catalogs:read.",
        pointer="/data",
    )


def not_found(detail: str) -> Refusal:
    """A path or a revision that does not exist."""
    return Refusal(status=404, code="not_found", title="Not found", detail=detail, pointer="/data/")


def method_not_allowed(method: str) -> Refusal:
    """A method other than GET."""
    return Refusal(
        status=405,
        code="method_not_allowed",
        title="Method not allowed",
        detail=f"This path does not take {method}.",
        headers=(("allow", "GET"),),
    )


def bad_request(detail: str, *, parameter: str, title: str = "Invalid input") -> Refusal:
    """An invalid parameter or header."""
    return Refusal(status=400, code="invalid", title=title, detail=detail, parameter=parameter)


def revision_retired(date: str) -> Refusal:
    """A retired revision, requested with the fall-forward opt-out."""
    return Refusal(
        status=410,
        code="gone",
        title="Gone",
        detail=f"Revision {date} is retired. Move to a revision that is still served.",
        message_only=True,
    )


def throttled(wait_seconds: int) -> Refusal:
    """A window is full."""
    unit = "second" if wait_seconds == 1 else "seconds"
    return Refusal(
        status=429,
        code="throttled",
        title="Request was throttled.",
        pointer="/data",
        links={
            "type": "https://developers.klaviyo.com/en/docs/"
            "rate_limits_and_error_handling#rate-limits"
        },
        detail=f"Request was throttled. Expected available in {wait_seconds} {unit}.",
        headers=(("retry-after", str(wait_seconds)),),
    )


def scripted(status: int, wait_seconds: int = 1) -> Refusal:
    """The response for the status of a scripted fault."""
    if status == 429:
        return attrs.evolve(throttled(wait_seconds), headers=())
    code = "error" if status >= 500 else "invalid"
    return Refusal(
        status=status, code=code, title=f"Status {status}", detail="The sandbox was told to fail."
    )

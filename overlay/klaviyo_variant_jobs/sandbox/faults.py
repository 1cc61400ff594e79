"""Scripted faults: error statuses, other bodies, and broken connections."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import attrs


class Delivery(enum.Enum):
    """How a response is delivered."""

    WHOLE = "whole"
    DROP = "drop"
    """The connection is closed before the first byte of the response."""
    RESET = "reset"
    """The connection is reset before the first byte of the response."""
    TRUNCATE = "truncate"
    """The connection is closed in the middle of the body."""
    DRIP = "drip"
    """The body comes in ten pieces, with `drip_seconds` before each."""


@attrs.frozen(kw_only=True)
class Fault:
    """One fault, for one request.

    With a `status` the request gets that response and is not counted in any window. Without one it
    is answered as usual, and only the delivery is faulty.

    Args:
        status: any number, registered or not; None for the usual response.
        retry_after: value of the Retry-After header, valid or not; None for no header.
        body: by default a JSON:API error document for the status.
        headers: more headers. With a `body`, Content-Type is sent only if it is among them.
        delivery: how the response is delivered, a `Delivery` or its value, such as `"drop"`.
        drip_seconds: seconds before each piece of a body with `Delivery.DRIP`.
    """

    status: int | None = None
    retry_after: int | float | str | None = None
    body: bytes | str | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    delivery: Delivery = attrs.field(default=Delivery.WHOLE, converter=Delivery)
    drip_seconds: float = 1.0

    @classmethod
    def html(cls, status: int) -> Fault:
        """An HTML response as Cloudflare sends it in front of the API; 403 is a challenge page."""
        headers = {"content-type": "text/html; charset=UTF-8", "server": "cloudflare"}
        if status == 403:
            headers["cf-mitigated"] = "challenge"
        page = f"<html><head><title>{status}</title></head><body>{status}</body></html>"
        return cls(status=status, body=f"<!DOCTYPE html>\n{page}\n", headers=headers)

"""What goes wrong on demand: refusals, foreign bodies, and connections that break."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import attrs


class Delivery(enum.Enum):
    """How an answer reaches the client, if it does."""

    WHOLE = "whole"
    DROP = "drop"
    """The connection is closed before a byte of the answer."""
    RESET = "reset"
    """The connection is reset before a byte of the answer."""
    TRUNCATE = "truncate"
    """The connection is closed in the middle of the body."""
    DRIP = "drip"
    """The body comes in ten pieces, with `drip_seconds` before each."""


@attrs.frozen(kw_only=True)
class Fault:
    """One thing that goes wrong with one request.

    With a `status` the request never gets to the API: it is answered as told and not counted in any
    window. Without one the true answer is made, and only its delivery goes wrong.

    Args:
        status: any, also those that no registry knows.
        retry_after: the header's value, in any form, sensible or not.
        body: by default a JSON:API error document for the status.
        headers: more headers. With a `body` of your own no Content-Type is sent unless it is here.
        delivery: how the answer travels.
        drip_seconds: the wait before each piece of a dripping body.
    """

    status: int | None = None
    retry_after: int | float | str | None = None
    body: bytes | str | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    delivery: Delivery = attrs.field(default=Delivery.WHOLE, converter=Delivery)
    drip_seconds: float = 1.0

    @classmethod
    def html(cls, status: int) -> Fault:
        """The page that the network in front of the API answers with; a 403 is its challenge."""
        headers = {"content-type": "text/html; charset=UTF-8", "server": "cloudflare"}
        if status == 403:
            headers["cf-mitigated"] = "challenge"
        page = f"<html><head><title>{status}</title></head><body>{status}</body></html>"
        return cls(status=status, body=f"<!DOCTYPE html>\n{page}\n", headers=headers)

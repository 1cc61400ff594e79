"""Requests and answers as the sandbox sees them, whatever carries them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

from klaviyo_variant_jobs.sandbox.faults import Delivery


@attrs.frozen(kw_only=True)
class Request:
    """A request without a body.

    Args:
        origin: scheme, host and port it was sent to; links in the answer begin with it.
        path: as sent, percent-encoding included.
        query: as sent, without the question mark.
        headers: by lower-case name.
    """

    method: str = "GET"
    origin: str = "https://a.klaviyo.com"
    path: str
    query: str = ""
    headers: Mapping[str, str]


@attrs.frozen(kw_only=True)
class Response:
    """An answer, and how it is to be delivered."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    delivery: Delivery = Delivery.WHOLE
    drip_seconds: float = 0.0

    def header(self, name: str) -> str | None:
        """The first header of this lower-case name."""
        return next((value for known, value in self.headers if known == name), None)

    def pieces(self) -> list[bytes]:
        """The body as it travels when it does not come whole: its first half, or ten pieces."""
        if self.delivery is Delivery.TRUNCATE:
            return [self.body[: len(self.body) // 2]]
        size = max(1, math.ceil(len(self.body) / 10))
        return [self.body[at : at + size] for at in range(0, len(self.body), size)]


@attrs.frozen(kw_only=True)
class Record:
    """One line of the sandbox's log. It names the credential, but does not hold it.

    Args:
        time: epoch seconds.
        identity: of the credential, as `identity_of` makes it; None if nobody was let in.
        revision: the header's value, whatever it was.
        query: as sent.
        status: of the answer made, whether or not it arrived.
        faulty: whether a scripted fault had its way.
    """

    time: float
    identity: str | None
    revision: str | None
    query: str
    status: int
    faulty: bool

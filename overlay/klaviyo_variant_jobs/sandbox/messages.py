"""Requests and responses of the sandbox, independent of the transport."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

from klaviyo_variant_jobs.sandbox.faults import Delivery


@attrs.frozen(kw_only=True)
class Request:
    """A request without a body.

    Args:
        origin: scheme, host and port; links in the response begin with it.
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
    """A response, and how to deliver it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    delivery: Delivery = Delivery.WHOLE
    drip_seconds: float = 0.0

    def header(self, name: str) -> str | None:
        """The value of the first header of this lower-case name; None if there is none."""
        return next((value for known, value in self.headers if known == name), None)

    def pieces(self) -> list[bytes]:
        """The body for `TRUNCATE` and `DRIP`: its first half, or ten pieces."""
        if self.delivery is Delivery.TRUNCATE:
            return [self.body[: len(self.body) // 2]]
        size = max(1, math.ceil(len(self.body) / 10))
        return [self.body[at : at + size] for at in range(0, len(self.body), size)]


@attrs.frozen(kw_only=True)
class Record:
    """One request in the sandbox's log. It does not hold the credential.

    Args:
        time: epoch seconds.
        identity: `identity_of` the credential; None if it was not accepted or not checked.
        revision: value of the revision header, valid or not; None without one.
        query: as sent, without the question mark.
        status: of the response, whether or not it was delivered.
        faulty: whether a scripted fault was applied.
    """

    time: float
    identity: str | None
    revision: str | None
    query: str
    status: int
    faulty: bool

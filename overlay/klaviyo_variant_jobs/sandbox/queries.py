"""Parses query strings."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import attrs
import msgspec

from klaviyo_variant_jobs.sandbox import refusals
from klaviyo_variant_jobs.sandbox.documents import RESOURCE_TYPE
from klaviyo_variant_jobs_api.registry import Revision

FIELDS = f"fields[{RESOURCE_TYPE}]"
FILTER = "filter"
CURSOR = "page[cursor]"

_CALL = re.compile(r"([a-z-]+)\(([^,()]*),(.*)\)", re.DOTALL)
_QUOTED = re.compile(r"""(["'])([^"']*)\1""")

Position = tuple[dt.datetime, str]


@attrs.frozen(kw_only=True)
class Query:
    """A valid query; `parameters` are as sent, in their order."""

    parameters: Sequence[tuple[str, str]]
    fields: frozenset[str] | None
    status: str | None
    after: Position | None

    @property
    def encoded(self) -> str:
        """The query string, with every reserved character percent-encoded."""
        return _encode(self.parameters)

    def at(self, position: Position | None) -> str:
        """The query string of the page after `position` in the same list; None: the first page."""
        others = [(name, value) for name, value in self.parameters if name != CURSOR]
        if position is not None:
            others.append((CURSOR, cursor_after(position)))
        return _encode(others)


def parse(query: str, revision: Revision[Any]) -> Query:
    """Read a query string.

    Raises:
        Refusal: a parameter is unknown, repeated or invalid.
    """
    parameters = parse_qsl(query, keep_blank_values=True)
    values: dict[str, str] = {}
    for name, value in parameters:
        if name not in {FIELDS, FILTER, CURSOR}:
            plain = name.replace("[", "_").replace("]", "")
            raise refusals.bad_request(f"{plain} is not a valid field", parameter=plain)
        if name in values:
            # Not recorded. Refused so that a client that repeats a parameter for a list fails.
            raise refusals.bad_request(f"{name} was given more than once.", parameter=name)
        values[name] = value
    return Query(
        parameters=parameters,
        fields=_fields(values[FIELDS], revision) if FIELDS in values else None,
        status=_status(values[FILTER], revision) if FILTER in values else None,
        after=_position(values[CURSOR]) if CURSOR in values else None,
    )


def _encode(parameters: Sequence[tuple[str, str]]) -> str:
    return urlencode(parameters, quote_via=quote, safe="")


def _fields(text: str, revision: Revision[Any]) -> frozenset[str]:
    names = text.split(",") if text else []
    for name in names:
        if name not in revision.fields:
            raise refusals.bad_request(
                f"{name!r} is not a field of {RESOURCE_TYPE}; it has {', '.join(revision.fields)}.",
                parameter=FIELDS,
                title="Invalid sparse fieldset",
            )
    return frozenset(names)


def _status(text: str, revision: Revision[Any]) -> str:
    def refuse(detail: str) -> refusals.Refusal:
        return refusals.bad_request(detail, parameter=FILTER, title="Invalid filter")

    call = _CALL.fullmatch(text)
    if call is None:
        raise refuse("The filter is not of the form operator(field,value).")
    operator, field, value = call.groups()
    if field != "status":
        raise refuse(f"{field!r} is not a field to filter by; only status is.")
    if operator != "equals":
        raise refuse(f"{operator!r} is not an operator for status; only equals is.")
    quoted = _QUOTED.fullmatch(value)
    if quoted is None:
        raise refuse("The value of the filter is not one quoted string.")
    if quoted[2] not in revision.statuses:
        raise refuse(f"{quoted[2]!r} is no status; there are {', '.join(revision.statuses)}.")
    return quoted[2]


def cursor_after(position: Position) -> str:
    """The cursor of the page that begins with the job after the one at `position`.

    It holds the job's sort key and not an offset, so it stays valid when jobs are added or that job
    is removed. Standard base64, so that clients must encode `+`, `/` and `=`.
    """
    created_at, job_id = position
    utc = created_at.astimezone(dt.UTC)
    return base64.b64encode(msgspec.json.encode([utc.isoformat(), job_id])).decode()


def _position(cursor: str) -> Position:
    try:
        decoded = base64.b64decode(cursor, validate=True)
        created_at, job_id = msgspec.json.decode(decoded, type=tuple[str, str])
        position = (dt.datetime.fromisoformat(created_at), job_id)
    except (binascii.Error, msgspec.DecodeError, ValueError):
        position = None
    if position is None or position[0].tzinfo is None:
        raise refusals.bad_request(
            "Invalid cursor provided.", parameter=CURSOR, title="Invalid cursor"
        )
    return position

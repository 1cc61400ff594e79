"""Bytes to models: the fast path, the tolerant path, and what did not fit.

A page that fits its schema is decoded straight into the generated classes. One that does not is
taken apart: what fits is decoded, a value of a type nobody declared stays as it came, and its JSON
path is reported. The page, the job and the other values stay whole.
"""

from __future__ import annotations

import datetime as dt
import decimal
import functools
import json
import types
import typing
from typing import Any

import attrs
import msgspec

from klaviyo_variant_jobs_api.registry import JobPage

from .errors import InvalidResponseError, one_line

Document = JobPage[Any]
"""A decoded page of any revision."""


@attrs.frozen
class Decoded:
    """A document and the JSON paths of the values in it that did not fit the schema."""

    document: Document
    anomalies: tuple[str, ...] = ()


class PageDecoder:
    """Decodes the bodies of one revision's page model; make one per client."""

    def __init__(self, page_model: type[Document], *, strict: bool = False) -> None:
        self._model = page_model
        self._strict = strict
        self._fast = msgspec.json.Decoder(page_model)

    def decode(self, body: bytes) -> Decoded:
        """Raises `InvalidResponseError` when the body is no page, or, strictly, does not fit."""
        try:
            decoded = self._decoded(body)
        except msgspec.ValidationError as misfit:
            error = _not_a_page(f"is no page of jobs ({misfit})", body)
        # ValueError: no UTF-8.
        except (msgspec.DecodeError, ValueError, RecursionError) as broken:
            error = _not_a_page(f"is not JSON ({broken})", body)
            error.ends_early = bool(body) and "truncated" in str(broken)
        else:
            return self._judged(decoded, body)
        raise error  # Out here, else it would drag along the parser's, which has the whole body.

    def _judged(self, decoded: Decoded, body: bytes) -> Decoded:
        if self._strict and decoded.anomalies:
            paths = ", ".join(decoded.anomalies[:5])
            raise InvalidResponseError(
                f"{len(decoded.anomalies)} values of the page do not fit the schema: {paths}"
                f"{', …' if len(decoded.anomalies) > 5 else ''}; without strict=True they are "
                "kept as they came",
                body=body[:_BODY_KEPT],
            )
        return decoded

    def _decoded(self, body: bytes) -> Decoded:
        try:
            return self._fitted(body)
        except msgspec.ValidationError:
            raise
        except (msgspec.DecodeError, ValueError) as broken:
            return self._unusual(body, broken)

    def _fitted(self, body: bytes) -> Decoded:
        try:
            return Decoded(self._fast.decode(body))
        except msgspec.ValidationError:
            pass
        return self._tolerant(body)

    def _tolerant(self, body: bytes) -> Decoded:
        """Take a page apart that does not fit; what fits is decoded as fast as ever."""
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        # A missing list fails like one that is null.
        entries = msgspec.json.decode(members.get("data", b"null"), type=list[msgspec.Raw])
        anomalies: list[str] = []
        hints = _hints(self._model)
        (job_type,) = typing.get_args(hints["data"])
        decoder = _decoder(job_type)
        values: dict[str, Any] = {
            "data": [
                _fit_raw(raw, job_type, decoder, f"data[{position}]", anomalies)
                for position, raw in enumerate(entries)
            ]
        }
        for name, hint in hints.items():
            if name != "data" and name in members:
                values[name] = _fit_raw(members[name], hint, _decoder(hint), name, anomalies)
        return Decoded(_build(self._model, values), tuple(anomalies))

    def _unusual(self, body: bytes, broken: Exception) -> Decoded:
        """Read JSON that msgspec refuses: half a surrogate pair, or an integer without end.

        One job could make a page impassable with either. Raises `broken` for what is no JSON.
        """
        try:
            members = _loads(body)
        except (ValueError, RecursionError):
            raise broken from None
        if not isinstance(members, dict) or not isinstance(members.get("data"), list):
            raise broken
        anomalies: list[str] = []
        values = {
            name: _fit(members[name], hint, name, anomalies)
            for name, hint in _hints(self._model).items()
            if name in members
        }
        return Decoded(_build(self._model, values), tuple(anomalies))


_BODY_KEPT = 64 * 1024


def _not_a_page(why: str, body: bytes) -> InvalidResponseError:
    shown = one_line(body[:80].decode("utf-8", "replace"), 80)
    return InvalidResponseError(
        f"HTTP 200, but the body of {len(body)} bytes {why}; it starts {shown!r}. "
        "Check base_url and proxies; if the API itself answered, resume later",
        body=body[:_BODY_KEPT],
    )


@functools.cache
def _decoder(hint: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(hint)


@functools.cache
def _hints(model: Any) -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(model)}


def _is_model(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _fit_raw(
    raw: msgspec.Raw, hint: Any, decoder: msgspec.json.Decoder[Any], path: str, odd: list[str]
) -> Any:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # json, because msgspec refuses numbers beyond its range instead of reading them.
        return _fit(_loads(bytes(raw)), hint, path, odd)


def _loads(body: bytes) -> Any:
    # Decoded first: json takes UTF-16 as well. Its own constants, as NaN, are no JSON.
    return json.loads(body.decode(), parse_int=_integer, parse_constant=_refuse)


def _integer(digits: str) -> int | decimal.Decimal:
    try:
        return int(digits)
    except ValueError:  # Beyond some thousand digits, which take Python too long.
        return decimal.Decimal(digits)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _fit(value: Any, hint: Any, path: str, odd: list[str]) -> Any:
    """`value` as `hint` wants it, as far as it can be; note the paths of what stayed as it came."""
    whole = _is_text_throughout(value)
    if whole:
        try:
            return msgspec.convert(value, hint)
        except msgspec.ValidationError:
            pass
    core = _core(hint)
    if value is None and _is_model(core):
        return _build(core, {})  # Null reads like absent.
    if isinstance(value, dict) and _is_model(core):
        members = {
            name: _fit(value[name], member, f"{path}.{name}", odd)
            for name, member in _hints(core).items()
            if name in value
        }
        return _build(core, members, path, odd)
    if isinstance(value, list) and typing.get_origin(core) is list:
        (item,) = typing.get_args(core)
        return [_fit(entry, item, f"{path}[{n}]", odd) for n, entry in enumerate(value)]
    if core is dt.datetime and isinstance(value, str) and whole:
        moment = _naive(value)
        if moment is not None:
            return moment
    odd.append(path)
    return value


def _is_text_throughout(value: Any) -> bool:
    """Whether no string in it has half a surrogate pair, which nobody can write down or send on."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True


def _naive(text: str) -> dt.datetime | None:
    """A time without an offset, which early revisions document, means UTC."""
    try:
        moment = msgspec.convert(text, dt.datetime)
    except msgspec.ValidationError:
        return None
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment


def _core(hint: Any) -> Any:
    """The type that a hint is about: without `| None` and without annotations."""
    if typing.get_origin(hint) is typing.Annotated:
        return _core(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(hint) if kind is not types.NoneType]
        return _core(kinds[0]) if len(kinds) == 1 else hint
    return hint


def _build(model: Any, values: dict[str, Any], path: str = "", odd: list[str] | None = None) -> Any:
    """An instance of `model`; a required value that is missing is empty rather than fatal."""
    members = dict(values)
    for field in msgspec.structs.fields(model):
        if field.required and field.name not in values:
            empty = _is_model(_core(field.type))
            members[field.name] = _build(_core(field.type), {}) if empty else None
            if odd is not None and not empty:
                odd.append(f"{path}.{field.name}")
    return model(**members)

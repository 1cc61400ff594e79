"""Bytes to the models of a page: the fast path, the tolerant path, the limits of a page.

A page that fits its schema is decoded straight into the generated classes. One that does not is
taken apart, and each value that does not fit is an anomaly.
"""

import decimal
import json
from typing import Any

import msgspec

from klaviyo_variant_jobs.errors import BODY_KEPT, InvalidResponseError, one_line
from klaviyo_variant_jobs_api.fitting import Anomaly, Fitting
from klaviyo_variant_jobs_api.registry import JobPage

Document = JobPage[Any]
"""A decoded page of any revision."""

JOBS_AT_MOST = 10_000
ANOMALIES_AT_MOST = 1_000
# Marks that separate values in JSON. A page of 16 MiB as the API writes them has fewer; what has
# more would take gigabytes as Python objects.
_MARKS = b",:[{"
_MARKS_AT_MOST = 1_200_000
# Values that the tolerant path looks at one by one, at some microseconds each.
_LOOKS_AT_MOST = 200_000


class PageDecoder:
    """Decodes the bodies of one revision's page model; make one per client."""

    def __init__(self, page_model: type[Document], *, strict: bool = False) -> None:
        self._model = page_model
        self._strict = strict
        self._fast = msgspec.json.Decoder(page_model)

    def decode(self, body: bytes | bytearray) -> tuple[Document, tuple[Anomaly, ...]]:
        """The page and what did not fit in it.

        Raises:
            InvalidResponseError: the body is no page, or is beyond the limits of one; strictly,
                also when a value does not fit.
        """
        most = _MARKS_AT_MOST
        if len(body) > most and len(body) - len(body.translate(None, _MARKS)) > most:
            raise _beyond(body, "more values than a page can have")
        anomalies: tuple[Anomaly, ...] = ()
        try:
            document = self._fast.decode(body)
        # ValueError: no UTF-8.
        except (msgspec.DecodeError, ValueError, RecursionError) as misfit:
            document, anomalies = self._tolerant(bytes(body), misfit)
        if len(document.data) > JOBS_AT_MOST:
            raise _beyond(body, f"more than {JOBS_AT_MOST} jobs")
        return document, anomalies

    def _tolerant(self, body: bytes, misfit: Exception) -> tuple[Document, tuple[Anomaly, ...]]:
        try:
            members = _loads(body)
            if isinstance(members, dict) and isinstance(members.get("data"), list):
                if len(members["data"]) > JOBS_AT_MOST:
                    raise _beyond(body, f"more than {JOBS_AT_MOST} jobs")
                anomalies = _Anomalies(body, strict=self._strict)
                surrogates = b"\\ud" in body.lower()  # Half of a pair comes as an escape.
                fitting = Fitting(anomalies.note, anomalies.look, has_surrogates=surrogates)
                return fitting.read(self._model, members), tuple(anomalies.found)
        except (ValueError, RecursionError) as broken:
            misfit = broken if isinstance(misfit, msgspec.ValidationError) else misfit
        # Raised out here: the parser's error, as its context, would keep the whole body.
        raise _not_a_page(misfit, body)


class _Anomalies:
    """What does not fit in one page, and how much was looked at."""

    def __init__(self, body: bytes, *, strict: bool) -> None:
        self.found: list[Anomaly] = []
        self._body, self._strict, self._looks = body, strict, 0

    def look(self) -> None:
        self._looks += 1
        if self._looks > _LOOKS_AT_MOST:
            raise _beyond(self._body, "more values that do not fit than can be looked at")

    def note(self, anomaly: Anomaly) -> None:
        if self._strict:
            why = f"a value of the page does not fit the schema: {anomaly}; without strict=True it"
            body, told = self._body[:BODY_KEPT], f"{why} would be among the page's anomalies"
            raise InvalidResponseError(told, body=body, is_lasting=True)
        if len(self.found) == ANOMALIES_AT_MOST:
            raise _beyond(self._body, f"more than {ANOMALIES_AT_MOST} values that do not fit")
        self.found.append(anomaly)


def _beyond(body: bytes | bytearray, what: str) -> InvalidResponseError:
    told = f"HTTP 200, but the body of {len(body)} bytes has {what}; check base_url and proxies"
    return InvalidResponseError(told, body=bytes(body[:BODY_KEPT]), is_lasting=True)


def _not_a_page(why: Exception, body: bytes) -> InvalidResponseError:
    kind = "no page of jobs" if isinstance(why, msgspec.ValidationError) else "not JSON"
    shown = one_line(body[:80].decode("utf-8", "replace"), 80)
    told = f"HTTP 200, but the body of {len(body)} bytes is {kind} ({why}); it starts {shown!r}"
    advice = "Check base_url and proxies; if the API itself answered, resume later"
    return InvalidResponseError(f"{told}. {advice}", body=body[:BODY_KEPT])


def _loads(body: bytes) -> Any:
    # json reads what msgspec refuses: half a surrogate pair, very long integers. UTF-16 and NaN,
    # which json takes too, are no JSON.
    return json.loads(body.decode(), parse_int=_integer, parse_constant=_refused)


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _integer(digits: str) -> int | decimal.Decimal:
    try:
        return int(digits)
    except ValueError:  # Beyond some thousand digits, which take Python too long.
        return decimal.Decimal(digits)

"""What to try again, how long to wait, and when to give up."""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import attrs
from attrs.validators import optional

LEAST_WAIT_AFTER_429_S = 1.0
"""The shortest window of this API is a second, and trying again at once always fails."""

_SHORTEST_S = 1e-9
_LONGEST_S = 1e9
"""Some thirty years; a wait of several hundred is more than operating systems take."""


def _within(least: float, kind: type = float) -> Any:
    """A validator: a number of a kind, of at least `least`; bounded, since clocks are."""

    def check(instance: object, attribute: Any, value: Any) -> None:
        is_number = isinstance(value, (int, kind)) and not isinstance(value, bool)
        # A comparison is false for what is no number, and takes integers of any length.
        if not is_number or not least <= value <= _LONGEST_S:
            what = "whole number" if kind is int else "number of seconds"
            bounds = f"of at least {least:g} and at most {_LONGEST_S:g}"
            raise ValueError(f"{attribute.name} must be a {what} {bounds}, not {value!r}")

    return check


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How a request that failed for a passing reason is tried again.

    Tried again: 408, 429, 5xx, transport failures including a body that broke off, and, at most
    twice, a 200 that is no page. The wait is the larger of Retry-After and exponential backoff
    with full jitter: a random share of `base_delay * 2 ** (attempt - 1)`, which never exceeds
    `max_delay` nor half of the time left; after a 429 it is at least 1 s. The deadline governs:
    by default nothing limits the number of attempts.

    Raises `ValueError` for arguments that make no sense.
    """

    max_attempts: int | None = attrs.field(default=None, validator=optional(_within(1, int)))
    """How often a request is sent at most, the first time included. None: no limit."""
    base_delay: float = attrs.field(default=0.5, validator=_within(0))
    """Seconds: the longest backoff after the first attempt."""
    max_delay: float = attrs.field(default=30.0, validator=_within(0))
    """Seconds: the longest backoff. Retry-After is obeyed even when it is longer."""
    deadline: float = attrs.field(default=300.0, validator=_within(_SHORTEST_S))
    """Seconds for one page: pacing, attempts, waits and body together.

    `AsyncClient` keeps it exactly. In threads nothing can end what waits for a socket, so `Client`
    looks at the clock between the chunks of a body and lets no single wait for bytes pass the
    deadline. It cannot bound a name look-up, which the system's resolver ends, nor headers,
    trailers and interim (1xx) answers that come drip by drip, each within the read timeout.
    """

    def retries_status(self, status: int) -> bool:
        """Whether a response with this status is worth another attempt."""
        return status in (408, 429) or 500 <= status <= 599

    def wait_s(self, *, attempt: int, left_s: float, least_s: float, chance: float) -> float | None:
        """Seconds to wait after attempt number `attempt` (from 1) failed; None to give up.

        `left_s` is the time until the deadline, `least_s` what the server asks for, and `chance` a
        random number in [0, 1).
        """
        if attempt == self.max_attempts:
            return None
        # An exponent above 1,000 would overflow a float long after max_delay has taken over.
        longest = min(self.max_delay, self.base_delay * 2.0 ** min(attempt - 1, 60))
        # Half of what is left: an outage that ends shortly before the deadline is still survived,
        # because one attempt falls into the last seconds.
        backoff = min(longest, left_s / 2) * chance
        wait = max(least_s, backoff)
        return wait if wait < left_s and left_s >= min(longest, _TOO_LATE_S) else None


def least_wait_s(status: int | None, retry_after_s: float | None) -> float:
    """What a server asks to wait for; after a 429 at least a second."""
    return max(LEAST_WAIT_AFTER_429_S if status == 429 else 0.0, retry_after_s or 0.0)


_TOO_LATE_S = 0.5
"""With less time left there is no other attempt; otherwise backoffs would shrink without end."""

_PLAIN_NUMBER = re.compile(r"\d{1,15}(\.\d{0,9})?|\.\d{1,9}", re.ASCII)


def parse_retry_after(value: str | None, *, now_s: float) -> float | None:
    """Seconds that a Retry-After header asks to wait: an integer, a fraction or an HTTP-date.

    `now_s` is the time in seconds since the epoch that a date is measured against. A date that has
    passed is 0. None for a missing, negative or unreadable value: the backoff decides then.
    """
    text = value.strip() if value else ""
    if _PLAIN_NUMBER.fullmatch(text):
        return float(text)
    moment = parse_http_date(text)
    return None if moment is None else max(0.0, moment - now_s)


def parse_http_date(text: str) -> float | None:
    """Seconds since the epoch; None for what is no HTTP-date."""
    if not text[:3].isalpha():
        return None  # Every HTTP-date starts with a day's name; the parser takes much else for one.
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    if moment.tzinfo is None:  # How the parser reports the zone "-0000", which HTTP does not use.
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()

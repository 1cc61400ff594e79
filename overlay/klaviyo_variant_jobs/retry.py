"""What to try again, how long to wait, and when to give up."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import attrs

LEAST_WAIT_AFTER_429_S = 1.0
"""The shortest window of this API is a second, and trying again at once always fails."""


_LONGEST_S = 1e9
"""Some thirty years; a wait of several hundred is more than operating systems take."""


def _seconds(
    *, least: float, above: bool = False
) -> Callable[[Any, attrs.Attribute[float], float], None]:
    def check(instance: Any, attribute: attrs.Attribute[float], value: float) -> None:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        # A comparison is false for what is no number, and takes integers of any length.
        if not fits or not least <= value <= _LONGEST_S or (above and value == least):
            bound = f"above {least:g}" if above else f"of at least {least:g}"
            raise ValueError(
                f"{attribute.name} must be a number of seconds {bound} and at most "
                f"{_LONGEST_S:g}, not {value!r}"
            )

    return check


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How a request that failed for a passing reason is tried again.

    Tried again: 429, 5xx, and transport failures including a body that broke off. The wait is the
    larger of Retry-After and exponential backoff with full jitter: a random share of
    `base_delay * 2 ** (attempt - 1)`, which never exceeds `max_delay`; after a 429 at least 1 s.

    Raises `ValueError` for arguments that make no sense.
    """

    max_attempts: int = attrs.field(default=8)
    """How often a request is sent at most, the first time included."""
    base_delay: float = attrs.field(default=0.5, validator=_seconds(least=0))
    """Seconds: the longest backoff after the first attempt."""
    max_delay: float = attrs.field(default=30.0, validator=_seconds(least=0))
    """Seconds: the longest backoff at all. Retry-After is obeyed even when it is longer."""
    deadline: float = attrs.field(default=300.0, validator=_seconds(least=0, above=True))
    """Seconds for one page: pacing, attempts, waits and body together."""

    @max_attempts.validator
    def _at_least_one(self, attribute: attrs.Attribute[int], value: int) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"max_attempts must be a whole number of at least 1, not {value!r}")

    def retries_status(self, status: int) -> bool:
        """Whether a response with this status is worth another attempt."""
        return status == 429 or 500 <= status <= 599

    def wait_s(
        self, *, attempt: int, status: int | None, retry_after_s: float | None, chance: float
    ) -> float:
        """Seconds to wait after attempt number `attempt` (from 1) failed.

        `status` is None for a transport failure; `chance` is a random number in [0, 1).
        """
        # An exponent above 1,000 would overflow a float long after max_delay has taken over.
        longest = min(self.max_delay, self.base_delay * 2.0 ** min(attempt - 1, 60))
        least = LEAST_WAIT_AFTER_429_S if status == 429 else 0.0
        return max(least, retry_after_s or 0.0, longest * chance)


_PLAIN_NUMBER = re.compile(r"\d{1,15}(\.\d{0,9})?|\.\d{1,9}", re.ASCII)


def parse_retry_after(value: str | None, *, now_s: float) -> float | None:
    """Seconds that a Retry-After header asks to wait: an integer, a fraction or an HTTP-date.

    `now_s` is the time in seconds since the epoch, for dates. A date that has passed is 0. None
    for a missing, negative or unreadable value: the backoff decides then.
    """
    if value is None:
        return None
    text = value.strip()
    if _PLAIN_NUMBER.fullmatch(text):
        return float(text)
    if not text[:3].isalpha():
        return None  # Every HTTP-date starts with a day's name; the parser takes much else for one.
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    if moment.tzinfo is None:  # How the parser reports the zone "-0000", which HTTP does not use.
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now_s)

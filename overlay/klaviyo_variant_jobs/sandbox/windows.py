"""The quota of one account: fixed windows that count the same requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import attrs

NamedWindow = Literal["burst", "scarcer"]


@attrs.frozen
class Window:
    """At most `limit` requests in each window of `seconds`."""

    limit: int
    seconds: int


class Quota:
    """Counts requests in windows that begin at `offset_seconds` plus multiples of their length.

    If any window is full, a request is refused and counted in none.
    """

    def __init__(self, windows: Sequence[Window], *, offset_seconds: float) -> None:
        self._windows = windows
        self._offset = offset_seconds
        self._begun = [-1] * len(windows)
        self._counted = [0] * len(windows)

    def admit(self, now: float) -> float:
        """Count a request at `now` and return 0, or return the seconds until one is possible."""
        for nth, window in enumerate(self._windows):
            begun = math.floor((now - self._offset) / window.seconds)
            if begun != self._begun[nth]:
                self._begun[nth] = begun
                self._counted[nth] = 0
        wait = max(
            (
                self._until_reset(nth, now)
                for nth, window in enumerate(self._windows)
                if self._counted[nth] >= window.limit
            ),
            default=0.0,
        )
        if not wait:
            for nth in range(len(self._windows)):
                self._counted[nth] += 1
        return wait

    def headers(self, now: float, named: NamedWindow) -> tuple[tuple[str, str], ...]:
        """The RateLimit headers for the request just counted."""
        nth = 0
        if named == "scarcer":
            nth = min(range(len(self._windows)), key=self._remaining)
        limits = [str(self._windows[nth].limit)]
        limits += [f"{window.limit};w={window.seconds}" for window in self._windows]
        return (
            ("ratelimit-limit", ", ".join(limits)),
            ("ratelimit-remaining", str(self._remaining(nth))),
            # Recorded responses always have 0 for the burst window, also with a full second left.
            ("ratelimit-reset", str(math.ceil(self._until_reset(nth, now)) - 1)),
        )

    def _remaining(self, nth: int) -> int:
        return self._windows[nth].limit - self._counted[nth]

    def _until_reset(self, nth: int, now: float) -> float:
        seconds = self._windows[nth].seconds
        return (self._begun[nth] + 1) * seconds + self._offset - now

"""What a client asks of a limiter; one that is shared through Redis can take the place of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from .headers import RateLimit


class Ticket(Protocol):
    """One request's claim on the quota.

    First `wait_s`, again after each wait, until it says 0; then one of `answered`, `failed` and
    `refused`. Or `cancel` at any time before. `failed` and `cancel` after one of these do nothing:
    who was interrupted cannot know how far they came.
    """

    def wait_s(self, now: float) -> float:
        """0 once a place is granted; else seconds until it is worth asking again.

        Unless others give theirs up no place comes sooner, so a deadline may be judged by it.
        """

    def reason(self, now: float) -> str:
        """Why there is no place yet, in words for a log."""

    def on_grant(self, wake: Callable[[], object]) -> None:
        """Call `wake`, from any thread, when it is worth asking before the wait is over.

        At once when it is already. `wake` must not call the limiter.
        """

    def answered(self, now: float, rate_limit: RateLimit | None) -> None:
        """The request was answered: free the place one window later, learn from the headers."""

    def failed(self, now: float) -> None:
        """The request got no answer but may have been counted: free the place one window later."""

    def refused(self, now: float, pause_s: float) -> None:
        """A 429, which is not counted: free the place and pause everyone for `pause_s`."""

    def cancel(self, now: float) -> None:
        """The request will not be sent: leave the queue, or give an unused place back."""


class Limiter(Protocol):
    """What a client asks before each request; the place for a limiter shared through Redis."""

    def join(self, now: float) -> Ticket:
        """Queue for a place, first come, first served. `now` is the client's monotonic clock."""

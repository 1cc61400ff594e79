"""What the RateLimit headers of a response say."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

import attrs

LONGEST_S = 86_400
"""Quotas of a day exist. What claims to be longer is not believed, be it a window or a pause."""

MOST_WINDOWS = 8
"""More than any API has; a header that names more is not believed."""


@attrs.frozen
class Policy:
    """One quota: `limit` requests in `window_s` seconds."""

    limit: int
    window_s: int

    def __str__(self) -> str:
        return f"{self.limit};w={self.window_s}"


@attrs.frozen(kw_only=True)
class RateLimit:
    """What the RateLimit headers of one response said; None for what they did not say.

    Recorded: `ratelimit-limit: 75, 75;w=1, 750;w=60`, `ratelimit-remaining: 74`,
    `ratelimit-reset: 0`. The first number names the window that `remaining` and `reset_seconds`
    speak of. A 429 carries none of them. Nothing is judged here: a limit of 0 is kept as it came.
    """

    limit: int | None = None
    remaining: int | None = None
    reset_seconds: float | None = None
    policies: tuple[Policy, ...] = ()

    def __str__(self) -> str:
        """The value of the `ratelimit-limit` header that says the same."""
        named = () if self.limit is None else (str(self.limit),)
        return ", ".join((*named, *map(str, self.policies)))

    @classmethod
    def parse(
        cls, limit: str | None, remaining: str | None = None, reset: str | None = None
    ) -> RateLimit | None:
        """Read the three header values; None when nothing in them can be understood."""
        named, policies = _parse_limit(limit) if limit else (None, ())
        parsed = cls(
            limit=named,
            remaining=_number(remaining),
            reset_seconds=_number(reset),
            policies=policies,
        )
        return None if parsed == _NOTHING else parsed

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> RateLimit | None:
        """Read the headers of a response; None when they say nothing of a quota."""
        limit = headers.get("ratelimit-limit")
        remaining = headers.get("ratelimit-remaining")
        reset = headers.get("ratelimit-reset")
        return cls.parse(limit, remaining, reset) if limit or remaining or reset else None

    @property
    def named_policy(self) -> Policy | None:
        """The policy that `remaining` speaks of; None when the headers do not tell."""
        reset = self.reset_seconds or 0
        for policy in self.policies:
            if policy.limit == self.limit and policy.window_s >= reset:
                return policy
        return None


_NOTHING = RateLimit()
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_POLICY = re.compile(r"(\d{1,9})\s*;\s*w\s*=\s*(\d{1,9})(?:\s*;.*)?", re.ASCII | re.DOTALL)


def _number(text: str | None) -> int | None:
    text = text.strip() if text else ""
    return int(text) if _NUMBER.fullmatch(text) else None


# The header is the same on nearly every response. Bounded, since a server chooses the keys.
@functools.lru_cache(maxsize=32)
def _parse_limit(header: str) -> tuple[int | None, tuple[Policy, ...]]:
    items = [item.strip() for item in header.split(",")]
    found = filter(None, map(_POLICY.fullmatch, items))
    return _number(items[0]), tuple(Policy(int(match[1]), int(match[2])) for match in found)


def believable(policies: tuple[Policy, ...]) -> dict[int, int]:
    """The tightest limit of each window; none of 0, since an answer proves a request allowed."""
    limits: dict[int, int] = {}
    for policy in sorted(policies, key=lambda policy: policy.limit):
        if policy.limit > 0 and 0 < policy.window_s <= LONGEST_S:
            limits.setdefault(policy.window_s, policy.limit)
    return limits if len(limits) <= MOST_WINDOWS else {}

"""Quota: what response headers say of it, and the limiter that stays within it.

Pure arithmetic: every call takes the time, nothing here waits. A request may reach the server at
any moment between send and answer, so its place is freed one window after the answer; then no
window of any alignment ever holds more than its limit.
"""

from .headers import LONGEST_S, Policy, RateLimit
from .limiter import RateLimiter, Snapshot, tightest_limits
from .protocol import Limiter, Ticket
from .quota import WindowState
from .shared import shared_limiter

__all__ = [
    "LONGEST_S",
    "Limiter",
    "Policy",
    "RateLimit",
    "RateLimiter",
    "Snapshot",
    "Ticket",
    "WindowState",
    "shared_limiter",
    "tightest_limits",
]

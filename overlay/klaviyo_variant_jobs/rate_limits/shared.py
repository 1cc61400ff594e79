"""The limiters of this process: one for each credential, and what a fork makes of them."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Hashable
from weakref import WeakValueDictionary

from .limiter import RateLimiter, limiters

# Unused limiters that are remembered, so that a program which makes a client per task keeps its
# count; one holds at most a few thousand numbers.
_REMEMBERED = 256
_shared: WeakValueDictionary[Hashable, RateLimiter] = WeakValueDictionary()
_recent: OrderedDict[Hashable, RateLimiter] = OrderedDict()
_sharing = threading.Lock()


def _start_in_child() -> None:
    global _sharing
    _sharing = threading.Lock()
    for limiter in tuple(limiters):
        limiter.start_in_child()


if hasattr(os, "register_at_fork"):  # Not where processes do not fork.
    os.register_at_fork(after_in_child=_start_in_child)


def shared_limiter(identity: Hashable) -> RateLimiter:
    """The process's limiter for one account's credential; the same one for the same identity."""
    with _sharing:
        limiter = _shared.get(identity)
        if limiter is None:
            limiter = _shared[identity] = RateLimiter()
        _recent[identity] = limiter
        _recent.move_to_end(identity)
        if len(_recent) > _REMEMBERED:
            _recent.popitem(last=False)
        return limiter

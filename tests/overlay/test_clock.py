"""The machine's clock is one object that everything else is handed."""

from __future__ import annotations

import threading
import time

from klaviyo_variant_jobs.clock import SYSTEM_CLOCK


def test_the_system_clock_tells_the_machines_time() -> None:
    before = time.monotonic()
    assert before <= SYSTEM_CLOCK.monotonic() <= time.monotonic()
    started = time.time()
    assert started <= SYSTEM_CLOCK.time() <= time.time()


def test_chance_is_a_share_of_one() -> None:
    drawn = {SYSTEM_CLOCK.random() for _ in range(100)}
    assert len(drawn) > 1
    assert all(0.0 <= share < 1.0 for share in drawn)


def test_a_wait_ends_with_the_event_and_tells_whether_it_is_set() -> None:
    event = threading.Event()
    assert not SYSTEM_CLOCK.wait(event, 0.0)
    event.set()
    assert SYSTEM_CLOCK.wait(event, None)
    SYSTEM_CLOCK.sleep(0.0)

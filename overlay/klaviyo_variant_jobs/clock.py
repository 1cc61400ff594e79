"""Time and chance, passed in: the only place where they come from the machine."""

import random
import threading
import time

# freezegun may have replaced time.monotonic when this is imported; pauses and deadlines would then
# never end. It does not replace time.clock_gettime, which Windows lacks.
_MONOTONIC = getattr(time, "CLOCK_MONOTONIC", None)


class Clock:
    """The machine's time and randomness.

    Clients take one as `clock=`; tests pass one whose time only moves when somebody waits
    (`klaviyo_variant_jobs.sandbox.VirtualClock`). Jitter is drawn here too, so that a test controls
    chance together with time.
    """

    def monotonic(self) -> float:
        """Seconds that never go backwards; measures waits, windows and deadlines."""
        return time.monotonic() if _MONOTONIC is None else time.clock_gettime(_MONOTONIC)

    def time(self) -> float:
        """Seconds since the epoch, UTC; for HTTP dates and revision lifecycles."""
        return time.time()

    def random(self) -> float:
        """A number in [0, 1) for jitter."""
        return random.random()

    def sleep(self, seconds: float) -> None:
        """Block the calling thread for `seconds`."""
        time.sleep(seconds)

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        """Block until `event` is set, `seconds` at most (None: no limit); tells whether it is."""
        return event.wait(seconds)


SYSTEM_CLOCK = Clock()

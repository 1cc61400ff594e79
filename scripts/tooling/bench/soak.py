"""Soak: reads thousands of lists through faults of every kind, with random drops and resumes."""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import logging
import random
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from hostile import catalogue
from hostile.drive import KEY, AsyncDrive, Drive, SyncDrive
from hostile.fault_server import Fault, FaultServer
from klaviyo_variant_jobs import Checkpoint, RateLimiter, RetryPolicy, job_id

LISTS_PER_SERVER = 100
_SETTLING_S = 10.0
_SLOW_ONE_IN = 40
_DRIVES: tuple[Drive, ...] = tuple(
    kind(prefetch=prefetch, through=through)
    for kind in (SyncDrive, AsyncDrive)
    for prefetch in (0, 1)
    for through in (False, True)
)


class Broken(AssertionError):
    """Something happened that must never happen."""


@attrs.define
class Tally:
    """The counts of a soak."""

    lists: int = 0
    jobs: int = 0
    requests: int = 0
    resumes: int = 0
    repeated: int = 0
    """Jobs given again because the job of a checkpoint was gone, as documented."""
    faults: Counter[str] = attrs.field(factory=Counter)

    def __str__(self) -> str:
        return (
            f"{self.lists} lists, {self.requests} requests, {sum(self.faults.values())} faults of "
            f"{len(self.faults)} kinds, {self.resumes} resumes, {self.jobs} jobs each received "
            f"once, {self.repeated} given again by contract"
        )


def main(argv: Sequence[str]) -> int:
    """Soak, print, and return 0, or 1 with the failure and how to reproduce it."""
    parser = argparse.ArgumentParser(prog="bench soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lists", type=int, help="stop after so many, whatever the time")
    options = parser.parse_args(argv)
    tally = Tally()
    until = time.monotonic() + options.minutes * 60
    batch = 0
    try:
        with _watched() as complaints:
            for batch in itertools.count():
                with _nothing_left():
                    _batch(options.seed, batch, tally)
                if complaints:
                    raise Broken(complaints[0])
                if time.monotonic() >= until or tally.lists >= (options.lists or tally.lists + 1):
                    break
    except Broken as error:
        print(f"soak: BROKEN with seed {options.seed}, batch {batch}, after {tally}: {error}")
        return 1
    for name, times in tally.faults.most_common():
        print(f"{times:>7}  {name}")
    print(f"\nsoak: seed {options.seed}: {tally}; nothing lost, nothing left")
    return 0


def _batch(seed: int, batch: int, tally: Tally) -> None:
    with FaultServer() as server, FaultServer([["STOLEN"]]) as elsewhere:
        fast = catalogue.FAST | catalogue.leading_away(server, elsewhere)
        for nth in range(LISTS_PER_SERVER):
            # A generator per list, so that a list does not depend on those before it.
            trial = _Trial(random.Random(f"{seed}/{batch}/{nth}"), server, fast, tally)
            try:
                trial.run()
            except Exception as error:
                raise Broken(f"list {nth}: {trial}: {error!r}") from error
        tally.requests += len(server.requests)
        if elsewhere.requests:
            raise Broken("a request went to another host")
        if not any(KEY in request.headers["authorization"] for request in server.requests):
            raise Broken("the server never saw the key, so that looking for it proves nothing")


@attrs.define
class _Trial:
    """One list of jobs, read to its end."""

    chance: random.Random
    server: FaultServer
    fast: Mapping[str, Fault]
    tally: Tally
    drive: Drive = attrs.field(init=False)
    faults: list[str] = attrs.field(init=False)
    received: list[str | None] = attrs.field(factory=list)
    wanted: list[str | None] = attrs.field(factory=list)

    def __str__(self) -> str:
        return f"{self.drive!r}, {self.faults}, received {self.received} of {self.wanted}"

    def run(self) -> None:
        """Read, resume until the end, and compare. Raises `Broken` when a job is missing."""
        chance = self.chance
        self.drive = chance.choice(_DRIVES)
        numbers = itertools.count()
        pages = [chance.randrange(5) for _ in range(chance.randint(1, 6))]
        self.server.serve([[f"J{next(numbers)}" for _ in range(size)] for size in pages])
        self.wanted = list(self.server.ids)
        self.faults = self._drawn()
        known = {**self.fast, **catalogue.SLOW}
        self.server.say(*(known[name] for name in self.faults))
        self.tally.faults.update(self.faults)
        self._read()
        if self.received != self.wanted:
            raise Broken("the jobs received are not the jobs served")
        self.tally.lists += 1
        self.tally.jobs += len(set(self.wanted))

    def _drawn(self) -> list[str]:
        names = sorted(self.fast)
        drawn = [self.chance.choice(names) for _ in range(self.chance.randint(0, 12))]
        if self.chance.randrange(_SLOW_ONE_IN) == 0:
            slow = self.chance.choice(sorted(catalogue.SLOW))
            drawn.insert(self.chance.randint(0, len(drawn)), slow)
        return drawn

    def _read(self) -> None:
        chance = self.chance
        stops = [chance.randrange(8) for _ in range(chance.randrange(4))]
        resume: str | None = None
        # Each fault ends at most one run. On a busy machine the short timeout may end a few more.
        for _ in range(len(self.faults) + len(stops) + 20):
            most = stops.pop() if stops else None
            run = self.drive.iterate(
                self.server.url,
                resume=resume,
                most=most,
                drop=chance.random() < 0.5,
                timeout=0.2,
                rate_limiter=chance.choice((RateLimiter, RateLimiter.unlimited))(),
                retry=RetryPolicy(max_attempts=chance.randint(1, 3)),
            )
            self.received += run.ids
            if run.error is None and most is None:
                return
            if run.checkpoint is None or (run.error and run.error.checkpoint != run.checkpoint):
                raise Broken(f"an error without a checkpoint: {run.error!r}")
            resume = str(run.checkpoint)
            self.tally.resumes += 1
            if chance.randrange(8) == 0:
                self._take_away(Checkpoint.parse(resume))
        raise Broken("the list never came to its end")

    def _take_away(self, at: Checkpoint) -> None:
        """Remove the job of a checkpoint, so that its page may be given again."""
        if at.last_job_id is None:
            return
        for nth, page in enumerate(self.server.pages):
            gone = [job for job in page if job_id_of(job) == at.last_job_id]
            if gone:
                page.remove(gone[0])
                again = [job_id_of(job) for later in self.server.pages[nth:] for job in later]
                self.tally.repeated += len(set(self.received) & set(again))
                self.wanted = [*self.received, *again]


def job_id_of(entry: Mapping[str, object]) -> str | None:
    """The id of a job in the server's JSON."""
    return job_id(type("Entry", (), dict(entry)))


@contextlib.contextmanager
def _watched() -> Iterator[list[str]]:
    """Complaints of Python that are not exceptions: unclosed resources, lost tasks."""
    complaints: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            complaints.append(f"{record.name}: {record.getMessage()}")

    handler = Handler(logging.WARNING)
    logging.getLogger("asyncio").addHandler(handler)
    # Hide the warnings about values that do not fit: faults cause them on purpose.
    logging.getLogger("klaviyo_variant_jobs").addHandler(logging.NullHandler())
    before = sys.unraisablehook, threading.excepthook
    sys.unraisablehook = lambda broken: complaints.append(f"unraisable: {broken.exc_value!r}")
    threading.excepthook = lambda broken: complaints.append(f"in a thread: {broken.exc_value!r}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            yield complaints
    finally:
        sys.unraisablehook, threading.excepthook = before
        logging.getLogger("asyncio").removeHandler(handler)


@contextlib.contextmanager
def _nothing_left() -> Iterator[None]:
    """No thread, no open file or socket and no temporary file is left behind.

    Tasks end with the event loop of their list, and asyncio complains of those that cannot.
    """
    gc.collect()
    threads, files = set(threading.enumerate()), _open_files()
    with tempfile.TemporaryDirectory() as place:
        before, tempfile.tempdir = tempfile.tempdir, place
        try:
            yield
        finally:
            tempfile.tempdir = before
        if left := list(Path(place).iterdir()):
            raise Broken(f"temporary files are left: {left}")
    gc.collect()
    # The pending request of a dropped iterator may last until its timeout.
    until = time.monotonic() + _SETTLING_S
    while set(threading.enumerate()) - threads or _open_files() > files:
        if time.monotonic() > until:
            extra = set(threading.enumerate()) - threads
            raise Broken(f"left behind: threads {extra}, files {files} -> {_open_files()}")
        time.sleep(0.01)


def _open_files() -> int:
    """The number of open file descriptors; 0 if the system does not say."""
    place = Path("/dev/fd")
    return sum(1 for _ in place.iterdir()) if place.is_dir() else 0

"""The watched jobs, and how a terminal or a log shows them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import attrs
from rich.text import Text

from klaviyo_variant_jobs.revisions import LIFECYCLE, job_id
from klaviyo_variant_jobs.watch import is_finished

from .progress import counted
from .rows import STATUS_STYLES, attribute, error_rows
from .text import shortened, visible

_NARROW = 72
"""Columns; on a narrower terminal a job takes two lines."""
_LONGEST_BAR = 30
_SHORTEST_BAR = 8
_BESIDES = len("  processing    9999/99  failed    /s  10 min")
"""Columns of a row besides the id and the bar."""
_LEAST_ID = 26
"""Characters of the ids of the API; longer ones are shortened where room is scarce."""
_EXAMPLES = 3
Bars = tuple[str, str, str]
BARS: Bars = ("━", "╍", "─")
"""Characters of a bar for variants that are done, failed and open."""
ASCII_BARS: Bars = ("#", "!", "-")


@attrs.define
class Tracked:
    """A job and its speed."""

    job: object
    _first: tuple[float, int] | None = attrs.field(init=False, default=None)
    _last: tuple[float, int] | None = attrs.field(init=False, default=None)

    def saw(self, job: object, now: float) -> None:
        """Record the job as seen at `now`, in seconds of the monotonic clock."""
        self.job = job
        if self.status == "processing":
            self._first = self._first or (now, self.processed)
            self._last = (now, self.processed)

    @property
    def name(self) -> str:
        return visible(str(job_id(self.job)))

    @property
    def status(self) -> str:
        return visible(str(attribute(self.job, "status")))

    def count(self, name: str) -> int:
        """`total`, `completed` or `failed` variants; 0 if unknown."""
        value = attribute(self.job, f"{name}_count")
        return value if isinstance(value, int) else 0

    @property
    def done(self) -> str:
        """`completed/total` variants, as `list` shows them."""
        return f"{self.count('completed')}/{self.count('total')}"

    @property
    def processed(self) -> int:
        """Variants that are done or failed."""
        return self.count("completed") + self.count("failed")

    @property
    def went_well(self) -> bool:
        """Whether it is complete without failed variants."""
        return self.status == "complete" and not self.count("failed")

    @property
    def rate(self) -> float | None:
        """Variants per second while the job is processed; None if unknown."""
        if self.status != "processing" or self._first is None or self._last is None:
            return None
        seconds, variants = (
            last - first for first, last in zip(self._first, self._last, strict=True)
        )
        return variants / seconds if seconds > 0 and variants > 0 else None

    def left_s(self, now: float) -> float | None:
        """Estimated seconds until the job ends; None if unknown."""
        if self.rate is None or self._last is None:
            return None
        seen, processed = self._last
        return max((self.count("total") - processed) / self.rate - (now - seen), 0.0)


@attrs.define
class Board:
    """All watched jobs, in the order in which they were first seen."""

    bars: Bars = BARS
    named: int | None = None
    """How many jobs were asked for; None for all that are active."""
    _tracked: dict[str | None, Tracked] = attrs.field(init=False, factory=dict)

    def __len__(self) -> int:
        return len(self._tracked)

    def saw(self, job: object, now: float) -> Tracked:
        """Record a job as seen at `now`, in seconds of the monotonic clock."""
        tracked = self._tracked.setdefault(job_id(job), Tracked(job))
        tracked.saw(job, now)
        return tracked

    @property
    def all_went_well(self) -> bool:
        """Whether every job is complete without failures."""
        return all(tracked.went_well for tracked in self._tracked.values())

    def lines(self, width: int, height: int, now: float) -> Iterator[Text]:
        """The jobs as a table of that many columns and lines; those being processed first."""
        each = 1 if width >= _NARROW else 2
        room = height - (each == 1)
        tracked = sorted(self._tracked.values(), key=_urgency)
        shown = tracked if each * len(tracked) <= room else tracked[: max((room - 1) // each, 1)]
        longest = max((len(one.name) for one in shown), default=0)
        names = min(longest, max(width - _BESIDES - _SHORTEST_BAR, _LEAST_ID))
        if each == 1 and shown:
            heading = _row(names, width, "job", "status", "", "done", "failed", "/s", "left")
            yield Text(heading, "bold")
        for one in shown:
            yield from (
                _wide(one, names, width, now, self.bars)
                if each == 1
                else _narrow(one, width, self.bars)
            )
        if rest := tracked[len(shown) :]:
            yield _fitting(f"and {len(rest)} more: {_by_status(rest)}", width)

    def told(self) -> str:
        """The progress of all jobs together, in one line."""
        tracked = list(self._tracked.values())
        if not tracked:
            sought = "active jobs" if self.named is None else counted(self.named, "job")
            return f"looking for {sought}"
        ended = sum(is_finished(one.job) for one in tracked)
        jobs = counted(max(len(tracked), self.named or 0), "job")
        return f"{ended} of {jobs} ended, {_counts(*tracked)}"

    def summary(self) -> Iterator[str]:
        """The result, and the errors of failed variants grouped by their detail."""
        tracked = list(self._tracked.values())
        yield f"{counted(len(tracked), 'job')}: {_by_status(tracked)}; {_counts(*tracked)}"
        examples: dict[str, list[str]] = {}
        counts: Counter[str] = Counter()
        for row in (row for one in tracked for row in error_rows(one.job)):
            said = visible(str(row["detail"]))
            counts[said] += 1
            if row["external_id"] is not None:
                examples.setdefault(said, []).append(visible(str(row["external_id"])))
        for said, count in counts.most_common():
            named = examples.get(said, [])
            more = ", ..." if len(named) > _EXAMPLES else ""
            where = f" ({', '.join(named[:_EXAMPLES])}{more})" if named else ""
            yield f"{count:>4} x {said}{where}"


def line_of(tracked: Tracked) -> str:
    """A job as a log line."""
    return f"{tracked.name} {tracked.status} {_counts(tracked)}"


def _counts(*tracked: Tracked) -> str:
    """The variants of jobs: how many are done and, if any, have failed."""
    done, total, failed = (
        sum(one.count(name) for one in tracked) for name in ("completed", "total", "failed")
    )
    return f"{done}/{total} variants done" + (f", {failed} failed" if failed else "")


def _urgency(tracked: Tracked) -> int:
    """Sort key: processing, waiting or unknown, ended with failures, ended well."""
    if tracked.status == "processing":
        return 0
    if not is_finished(tracked.job):
        return 1
    return 3 if tracked.went_well else 2


def _wide(tracked: Tracked, names: int, width: int, now: float, bars: Bars) -> Iterator[Text]:
    rate, left_s = tracked.rate, tracked.left_s(now)
    row = _row(
        names,
        width,
        shortened(tracked.name, names),
        tracked.status,
        "\0",
        tracked.done,
        str(tracked.count("failed")),
        "" if rate is None else _speed(rate),
        "" if left_s is None else _lasting(left_s),
    )
    before, _, after = row.partition("\0")
    bar = _bar_width(names, width)
    yield Text.assemble(
        before[: names + 2],
        (before[names + 2 :], STATUS_STYLES.get(tracked.status, "")),
        _bar(tracked, bar, bars),
        after[bar - 1 :],
    )


def _narrow(tracked: Tracked, width: int, bars: Bars) -> Iterator[Text]:
    yield Text(shortened(tracked.name, width))
    failed = tracked.count("failed")
    counts = f" {tracked.done}" + (f" {failed} failed" if failed else "")
    bar = max(min(width - 2 - len(tracked.status) - 1 - len(counts), _LONGEST_BAR), 0)
    yield Text.assemble(
        "  ",
        (tracked.status, STATUS_STYLES.get(tracked.status, "")),
        " ",
        _bar(tracked, bar, bars),
        counts,
    )


def _row(names: int, width: int, *cells: str) -> str:
    name, status, bar, done, failed, rate, left = cells
    return (
        f"{name:<{names}}  {status:<10}  {bar:<{_bar_width(names, width)}}"
        f"  {done:>7}  {failed:>6}  {rate:>4}  {left:>6}"
    )


def _bar_width(names: int, width: int) -> int:
    return max(min(width - names - _BESIDES, _LONGEST_BAR), 1)


def _bar(tracked: Tracked, width: int, bars: Bars) -> Text:
    total = max(tracked.count("total"), tracked.processed, 1)
    failed = math.ceil(width * tracked.count("failed") / total)
    done = min(width * tracked.processed // total, width) - failed if tracked.processed else 0
    done = max(done, 0)
    return Text.assemble(
        (bars[0] * done, "green"),
        (bars[1] * failed, "red"),
        (bars[2] * (width - done - failed), "dim"),
    )


def _fitting(text: str, width: int) -> Text:
    line = Text(text)
    line.truncate(width, overflow="ellipsis")
    return line


def _by_status(tracked: Sequence[Tracked]) -> str:
    counts = Counter(one.status for one in tracked)
    order = [*(s for s in LIFECYCLE if s in counts), *(s for s in counts if s not in LIFECYCLE)]
    return ", ".join(f"{counts[status]} {status}" for status in order)


def _speed(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}" if rate >= 0.1 else f"{rate:.2f}"


def _lasting(seconds: float) -> str:
    if seconds < 1:
        return "soon"
    return f"{math.ceil(seconds)} s" if seconds < 100 else f"{math.ceil(seconds / 60)} min"

"""How many jobs there are of each status, and how many variants they have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from .rows import attribute, mapping_layout
from .table import Column
from .text import visible

SummaryRow = Mapping[str, Any]

_COUNTED = {"variants": "total_count", "done": "completed_count", "failed": "failed_count"}
FIELDS = ("status", *_COUNTED.values())
"""The attributes that are counted."""


@attrs.define
class Summary:
    """Counts jobs; each of `statuses` gets a row even without jobs."""

    statuses: Sequence[str]
    _counts: dict[str, dict[str, int]] = attrs.field(init=False, factory=dict)

    def add(self, job: object) -> tuple[SummaryRow, ...]:
        """Count a job. Returns no rows: those come at the end, from `rows`."""
        status = attribute(job, "status")
        counts = self._counts.setdefault(str(status), dict.fromkeys(("jobs", *_COUNTED), 0))
        counts["jobs"] += 1
        for name, field in _COUNTED.items():
            value = attribute(job, field)
            counts[name] += value if isinstance(value, int) else 0
        return ()

    def rows(self) -> Iterator[SummaryRow]:
        """One row for each status, in lifecycle order, and one for all jobs."""
        total = dict.fromkeys(("jobs", *_COUNTED), 0)
        for status in dict.fromkeys((*self.statuses, *self._counts)):
            counts = self._counts.get(status) or dict.fromkeys(total, 0)
            for name in total:
                total[name] += counts[name]
            yield {"status": status, **counts}
        yield {"status": "all", **total}


def summary_of(jobs: Iterable[object], statuses: Sequence[str]) -> Iterator[SummaryRow]:
    """The rows for `jobs`."""
    summary = Summary(statuses)
    for job in jobs:
        summary.add(job)
    return summary.rows()


def _number(name: str) -> Column[SummaryRow]:
    return Column(name, lambda row: str(row[name]), right=True)


SUMMARY_LAYOUT = mapping_layout(
    (Column("status", lambda row: visible(row["status"])), *map(_number, ("jobs", *_COUNTED))),
    ("status", "jobs", *_COUNTED),
)

"""The sandbox's jobs, which change with the clock, and the list of them."""

from __future__ import annotations

import math
import random
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import attrs

KEPT_FOR = timedelta(days=7)
STEPS_OF_PROCESSING = 4
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@attrs.frozen(kw_only=True)
class SandboxJob:
    """A job and how it will go.

    Without a `status` the job is queued for `queued_seconds` and processed for
    `processing_seconds`, with counts that grow in quarters; then it is complete, or cancelled.

    Args:
        id: a generated ULID if empty.
        created_at: a datetime with an offset. By default the job is newer than all others.
        status: keeps the job in this status, known or not.
        variants: number of variants.
        failed: how many of the variants fail.
        cancelled: whether it ends `cancelled`, after half of `processing_seconds`.
        queued_seconds: seconds in status queued.
        processing_seconds: seconds in status processing.
        errors: the job errors as JSON; by default one for each failed variant, in the forms seen in
            real responses.
        attributes: JSON values that replace the attributes of these names.
    """

    id: str = ""
    created_at: datetime | None = None
    status: str | None = None
    variants: int = 3
    failed: int = 0
    cancelled: bool = False
    queued_seconds: float = 20.0
    processing_seconds: float = 60.0
    errors: Sequence[Mapping[str, Any]] | None = None
    attributes: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class JobState:
    """A job at one moment. `until` is when it changes next, in epoch seconds, or infinity."""

    job: SandboxJob
    created_at: datetime
    status: str
    completed: int
    failed: int
    completed_at: datetime | None
    until: float
    account: str | None = None
    """The account that sees the job; None for all."""

    @property
    def key(self) -> tuple[datetime, str]:
        """Its sort key in the list."""
        return (self.created_at, self.job.id)

    @property
    def shown_status(self) -> object:
        """The status that clients see and the filter uses."""
        return self.job.attributes.get("status", self.status)

    @property
    def variant_ids(self) -> list[str]:
        """Ids of the created variants; as recorded, empty until the job is complete."""
        if self.status != "complete":
            return []
        return [_variant_id(self.job, index) for index in range(self.completed)]

    @property
    def errors(self) -> list[Mapping[str, Any]]:
        """The job errors so far, as JSON."""
        if self.job.errors is not None:
            return list(self.job.errors) if self.status in {"complete", "cancelled"} else []
        first_failed = self.job.variants - self.job.failed
        return [_job_error(self.job, first_failed + nth) for nth in range(self.failed)]


@attrs.frozen(slots=False)
class Snapshot:
    """All jobs at one moment, oldest first. Equal versions mean equal jobs and states."""

    version: int
    states: Sequence[JobState]
    until: float
    _of_accounts: dict[str, Snapshot] = attrs.field(init=False, factory=dict, eq=False, repr=False)

    @cached_property
    def _accounts(self) -> frozenset[str]:
        return frozenset(s.account for s in self.states if s.account is not None)

    def of(self, account: str) -> Snapshot:
        """The jobs that an account sees; accounts without jobs of their own share one snapshot."""
        if not self._accounts:
            return self
        whose = account if account in self._accounts else ""
        if whose not in self._of_accounts:
            theirs = [state for state in self.states if state.account in (None, whose)]
            self._of_accounts[whose] = Snapshot(self.version, theirs, self.until)
        return self._of_accounts[whose]

    @cached_property
    def _by_status(self) -> Mapping[object, Sequence[JobState]]:
        groups: dict[object, list[JobState]] = {}
        for state in self.states:
            if isinstance(state.shown_status, str):
                groups.setdefault(state.shown_status, []).append(state)
        return groups

    def with_status(self, status: str | None) -> Sequence[JobState]:
        """The jobs in `status`, oldest first; None means all."""
        return self.states if status is None else self._by_status.get(status, [])


def state_at(job: SandboxJob, created_at: datetime, now: float) -> JobState:
    """The state of a job created then at `now`, in epoch seconds."""
    if job.status is not None:
        return _held(job, created_at, job.status)
    created = created_at.timestamp()
    start = created + job.queued_seconds
    share_done = 0.5 if job.cancelled else 1.0
    end = start + job.processing_seconds * share_done
    if now < start:
        return _state(job, created_at, "queued", 0.0, until=start)
    if now < end:
        step = job.processing_seconds / STEPS_OF_PROCESSING
        steps_done = math.floor((now - start) / step)
        # Rounding may put the next step slightly before `now`.
        until = max(min(end, start + (steps_done + 1) * step), math.nextafter(now, math.inf))
        return _state(job, created_at, "processing", steps_done / STEPS_OF_PROCESSING, until=until)
    if job.cancelled:
        return _state(job, created_at, "cancelled", share_done)
    ended = created_at + timedelta(seconds=job.queued_seconds + job.processing_seconds)
    return _state(job, created_at, "complete", 1.0, completed_at=ended)


def _held(job: SandboxJob, created_at: datetime, status: str) -> JobState:
    share = {"queued": 0.0, "processing": 0.5, "cancelled": 0.5}.get(status, 1.0)
    ended = created_at + timedelta(seconds=job.queued_seconds + job.processing_seconds)
    completed_at = ended if status == "complete" else None
    return _state(job, created_at, status, share, completed_at=completed_at)


def _state(
    job: SandboxJob,
    created_at: datetime,
    status: str,
    share_done: float,
    *,
    completed_at: datetime | None = None,
    until: float = math.inf,
) -> JobState:
    done = math.floor(job.variants * share_done)
    failed = max(0, done - (job.variants - job.failed))
    return JobState(
        job=job,
        created_at=created_at,
        status=status,
        completed=done - failed,
        failed=failed,
        completed_at=completed_at,
        until=until,
    )


class JobList:
    """Jobs in the order of their creation, brought up to date on demand."""

    def __init__(self, *, seed: int) -> None:
        self._random = random.Random(seed)
        self._snapshot = Snapshot(0, [], math.inf)

    def __iter__(self) -> Iterator[SandboxJob]:
        return (state.job for state in reversed(self._snapshot.states))

    def at(self, now: float) -> Snapshot:
        """All jobs as they are at `now`, in epoch seconds."""
        if now >= self._snapshot.until:
            self._replace(
                [
                    state
                    if now < state.until
                    else attrs.evolve(
                        state_at(state.job, state.created_at, now), account=state.account
                    )
                    for state in self._snapshot.states
                ]
            )
        return self._snapshot

    def add(
        self, jobs: Iterable[SandboxJob], now: float, account: str | None = None
    ) -> list[SandboxJob]:
        """Add jobs, the newest first, and return them with their ids and dates."""
        states = list(self._snapshot.states)
        added: list[SandboxJob] = []
        youngest = datetime.fromtimestamp(now, UTC)
        if states:
            youngest = max(youngest, states[-1].created_at + timedelta(microseconds=1))
        wanted = list(jobs)
        for index, job in enumerate(wanted):
            created_at = job.created_at or youngest + timedelta(
                microseconds=len(wanted) - 1 - index
            )
            complete = attrs.evolve(job, created_at=created_at, id=job.id or self._ulid(created_at))
            state = attrs.evolve(state_at(complete, created_at, now), account=account)
            insort(states, state, key=lambda state: state.key)
            added.append(complete)
        self._replace(states)
        return added

    def change(self, job_id: str, now: float, **changes: Any) -> SandboxJob:
        """Change arguments of a job; a new `created_at` moves it in the list."""
        state = self._find(job_id)
        changed = attrs.evolve(state.job, **changes)
        states = [other for other in self._snapshot.states if other is not state]
        created_at = changed.created_at or state.created_at
        moved = attrs.evolve(state_at(changed, created_at, now), account=state.account)
        insort(states, moved, key=lambda other: other.key)
        self._replace(states)
        return changed

    def remove(self, job_id: str) -> None:
        """Remove a job from the list."""
        state = self._find(job_id)
        self._replace([other for other in self._snapshot.states if other is not state])

    def _find(self, job_id: str) -> JobState:
        for state in self._snapshot.states:
            if state.job.id == job_id:
                return state
        raise KeyError(f"the sandbox has no job {job_id!r}; `sandbox.jobs` lists those it has")

    def _replace(self, states: Sequence[JobState]) -> None:
        until = min((state.until for state in states), default=math.inf)
        self._snapshot = Snapshot(self._snapshot.version + 1, states, until)

    def _ulid(self, created_at: datetime) -> str:
        milliseconds = int(created_at.timestamp() * 1000)
        return _crockford(milliseconds, 10) + _crockford(self._random.getrandbits(80), 16)


def older_than(states: Sequence[JobState], key: tuple[datetime, str]) -> int:
    """How many of `states` (oldest first) were created before the job with this key."""
    return bisect_left(states, key, key=lambda state: state.key)


def sample_jobs(count: int, *, now: float, variants: int, seed: int) -> Iterator[SandboxJob]:
    """Jobs of the last minutes, newest first: a few active, most complete, some with failures."""
    chance = random.Random(seed)
    created_at = datetime.fromtimestamp(now, UTC)
    for nth in range(count):
        created_at -= timedelta(seconds=chance.uniform(2, 12))
        fails = nth % 7 == 3
        yield SandboxJob(
            created_at=created_at,
            variants=variants,
            failed=min(variants, chance.randint(1, 3)) if fails else 0,
            cancelled=nth % 11 == 5,
            queued_seconds=chance.uniform(5, 60),
            processing_seconds=chance.uniform(10, 240),
        )


def _variant_id(job: SandboxJob, index: int) -> str:
    return f"$custom:::$default:::{job.id[-6:]}-{index:03}"


def _job_error(job: SandboxJob, index: int) -> dict[str, Any]:
    # Only the first of these forms is documented. The others were seen in real responses and made
    # the official SDK fail to parse whole pages (klaviyo-api-python issue 88).
    source = {"pointer": f"/data/attributes/variants/data/{index}"}
    external_id = f"{job.id[-6:]}-{index:03}"
    detail = "A variant with this external id exists already."
    form = index % 3
    if form == 0:
        error_id = f"{job.id}-{index}".lower()
        title = "Variant exists already"
        return {
            "id": error_id,
            "code": "duplicate",
            "title": title,
            "detail": detail,
            "source": source,
        }
    if form == 1:
        return {"detail": detail, "meta": {"external_id": external_id}, "source": source}
    return {"detail": detail, "meta": {"external_id": external_id}}


def _crockford(number: int, length: int) -> str:
    return "".join(_CROCKFORD[number >> 5 * place & 31] for place in reversed(range(length)))

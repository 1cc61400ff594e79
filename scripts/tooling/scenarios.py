"""The scenarios of the cassettes: requests, sandboxes, and expected responses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from klaviyo_variant_jobs import Clock
from klaviyo_variant_jobs.revisions import check_fields
from klaviyo_variant_jobs.sandbox import Fault, Sandbox, SandboxJob
from klaviyo_variant_jobs_api.registry import Revision

MOST_PAGES = 3
"""The most pages recorded of one list."""

UNKNOWN_STATUS = "unheard_of"
WRONG_KEY = "pk_wrong"


@attrs.frozen(kw_only=True)
class Answer:
    """The parts of a response that `Scenario.shows` looks at."""

    status: int
    document: Any
    """The JSON body; None if it is not JSON."""

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """The jobs of a page, as JSON."""
        jobs: list[dict[str, Any]] = self.document["data"]
        return jobs


AnyRevision = Revision[Any]
Answers = Sequence[Answer]
Query = Mapping[str, Any]
"""Keyword arguments of `Client.get_page` for the first page."""


def _nothing_special(revision: AnyRevision) -> Query:
    return {}


def _as_it_is(revision: AnyRevision) -> AnyRevision:
    return revision


@attrs.frozen(kw_only=True)
class Scenario:
    """One cassette of each revision.

    Args:
        name: name of the cassette's file.
        about: what the cassette shows, in a sentence.
        sandbox: makes the fake API to record from. Its quotas are those of the revision's own
            fragment, so that a cassette does not change with other fragments.
        shows: whether the responses are what the name says.
        query: the arguments of the request.
        pinned: changes the revision that the client uses.
        api_key: used instead of the valid key.
        needs: an attribute that the revision must have.
        live: whether the real API may give these responses, depending on the account's data.
    """

    name: str
    about: str
    sandbox: Callable[[AnyRevision, Clock], Sandbox]
    shows: Callable[[AnyRevision, Answers], bool]
    query: Callable[[AnyRevision], Query] = _nothing_special
    pinned: Callable[[AnyRevision], AnyRevision] = _as_it_is
    api_key: str | None = None
    needs: str | None = None
    live: bool = False


def scenarios_of(revision: AnyRevision) -> list[Scenario]:
    """The scenarios that apply to a revision."""
    return [one for one in SCENARIOS if one.needs is None or one.needs in revision.fields]


# The sandboxes


def _with_jobs(jobs: int, **options: Any) -> Callable[[AnyRevision, Clock], Sandbox]:
    def make(revision: AnyRevision, clock: Clock) -> Sandbox:
        return Sandbox(
            jobs=jobs, clock=clock, burst=revision.burst, steady=revision.steady, **options
        )

    return make


def _holding(*jobs: SandboxJob) -> Callable[[AnyRevision, Clock], Sandbox]:
    def make(revision: AnyRevision, clock: Clock) -> Sandbox:
        return Sandbox(jobs=jobs, clock=clock, burst=revision.burst, steady=revision.steady)

    return make


def _failing_first(fault: Fault) -> Callable[[AnyRevision, Clock], Sandbox]:
    def make(revision: AnyRevision, clock: Clock) -> Sandbox:
        sandbox = _with_jobs(2)(revision, clock)
        sandbox.fail_next(fault)
        return sandbox

    return make


def _two_of_each_status(revision: AnyRevision, clock: Clock) -> Sandbox:
    sandbox = _with_jobs(0, jobs_per_page=1)(revision, clock)
    sandbox.add_jobs(*(SandboxJob(status=status) for status in revision.statuses * 2))
    return sandbox


def _retired(revision: AnyRevision, clock: Clock) -> Sandbox:
    return _with_jobs(2, retired=[revision.date])(revision, clock)


# Queries. Statuses and fields come from the registry, since revisions may rename them.


def _filter(revision: AnyRevision) -> Query:
    # A real account most likely has complete jobs.
    return {"status": "complete" if "complete" in revision.statuses else revision.statuses[-1]}


def _fields(revision: AnyRevision) -> Query:
    return {"fields": revision.fields[-2:]}


def _bad_cursor(revision: AnyRevision) -> Query:
    return {"cursor": "no cursor of this API"}


def _elsewhere(revision: AnyRevision) -> AnyRevision:
    return attrs.evolve(revision, path="/api/no-such-path")


# Expected responses


def _statuses(*expected: int) -> Callable[[AnyRevision, Answers], bool]:
    def shows(_: AnyRevision, answers: Answers) -> bool:
        return tuple(answer.status for answer in answers) == expected

    return shows


def _is_list(answers: Answers) -> bool:
    return bool(answers) and all(answer.status == 200 and answer.jobs for answer in answers)


def _one_page(_: AnyRevision, answers: Answers) -> bool:
    return _is_list(answers) and len(answers) == 1


def _several_pages(_: AnyRevision, answers: Answers) -> bool:
    return _is_list(answers) and len(answers) > 1


def _filtered(revision: AnyRevision, answers: Answers) -> bool:
    wanted = _filter(revision)["status"]
    return _is_list(answers) and all(
        job["attributes"].get("status") == wanted for answer in answers for job in answer.jobs
    )


def _sparse(revision: AnyRevision, answers: Answers) -> bool:
    asked = set(check_fields(revision, _fields(revision)["fields"]))
    return _is_list(answers) and all(
        job["attributes"].keys() <= asked for answer in answers for job in answer.jobs
    )


def _no_jobs(revision: AnyRevision, answers: Answers) -> bool:
    return _statuses(200)(revision, answers) and not answers[0].jobs


def _unknown_status(revision: AnyRevision, answers: Answers) -> bool:
    statuses = [job["attributes"]["status"] for answer in answers for job in answer.jobs]
    return UNKNOWN_STATUS in statuses and UNKNOWN_STATUS not in revision.statuses


def _bare_errors(_: AnyRevision, answers: Answers) -> bool:
    errors = [e for answer in answers for job in answer.jobs for e in job["attributes"]["errors"]]
    return bool(errors) and all(error.keys() == {"detail", "meta"} for error in errors)


def _html(_: AnyRevision, answers: Answers) -> bool:
    return [(answer.status, answer.document) for answer in answers] == [(403, None)]


SCENARIOS = (
    Scenario(
        name="one_page",
        about="A list that fits on one page.",
        sandbox=_with_jobs(3),
        shows=_one_page,
        live=True,
    ),
    Scenario(
        name="several_pages",
        about=f"The first pages of a list, {MOST_PAGES} at most.",
        sandbox=_with_jobs(7, jobs_per_page=3),
        shows=_several_pages,
        live=True,
    ),
    Scenario(
        name="filter",
        about="The jobs of one status.",
        sandbox=_two_of_each_status,
        query=_filter,
        shows=_filtered,
        needs="status",
        live=True,
    ),
    Scenario(
        name="sparse_fields",
        about="Two fields of each job.",
        sandbox=_with_jobs(3, jobs_per_page=2),
        query=_fields,
        shows=_sparse,
        live=True,
    ),
    Scenario(
        name="empty_list",
        about="A list without jobs.",
        sandbox=_with_jobs(0),
        shows=_no_jobs,
        live=True,
    ),
    Scenario(
        name="429_then_200",
        about="A request that is throttled, then served.",
        sandbox=_failing_first(Fault(status=429, retry_after=1)),
        shows=_statuses(429, 200),
    ),
    Scenario(
        name="503_then_200",
        about="A request that fails on the server's side, then is served.",
        sandbox=_failing_first(Fault(status=503)),
        shows=_statuses(503, 200),
    ),
    Scenario(
        name="400",
        about="A cursor that is none.",
        sandbox=_with_jobs(0),
        query=_bad_cursor,
        shows=_statuses(400),
        live=True,
    ),
    Scenario(
        name="401",
        about="A private key that is none.",
        sandbox=_with_jobs(0, api_keys={}),
        api_key=WRONG_KEY,
        shows=_statuses(401),
        live=True,
    ),
    Scenario(
        name="403_html",
        about="The network in front of the API refuses, in HTML.",
        sandbox=_failing_first(Fault.html(403)),
        shows=_html,
    ),
    Scenario(
        name="404",
        about="A path that is none.",
        sandbox=_with_jobs(0),
        pinned=_elsewhere,
        shows=_statuses(404),
        live=True,
    ),
    Scenario(
        name="410",
        about="A revision that is retired, asked for with the wish not to get another.",
        sandbox=_retired,
        shows=_statuses(410),
        live=True,
    ),
    Scenario(
        name="unknown_status",
        about="A job in a status that the fragment does not list.",
        sandbox=_holding(SandboxJob(status=UNKNOWN_STATUS), SandboxJob(status="complete")),
        shows=_unknown_status,
        needs="status",
    ),
    Scenario(
        name="job_errors_detail_meta",
        about="Job errors without id, code, title and source.",
        sandbox=_holding(
            SandboxJob(
                status="complete",
                failed=2,
                errors=[
                    {"detail": "The price is below zero.", "meta": {"external_id": "SHIRT-BLUE-M"}},
                    {"detail": "The title is too long.", "meta": {"external_id": "SHIRT-BLUE-L"}},
                ],
            )
        ),
        shows=_bare_errors,
        needs="errors",
    ),
)
"""The scenarios in the order of recording."""

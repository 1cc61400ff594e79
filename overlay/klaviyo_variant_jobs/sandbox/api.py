"""The fake API: makes the response to a request from the jobs and the clock."""

from __future__ import annotations

import datetime as dt
import math
import random
import threading
import uuid
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from klaviyo_variant_jobs.clock import SYSTEM_CLOCK, Clock
from klaviyo_variant_jobs.sandbox import refusals
from klaviyo_variant_jobs.sandbox.access import Access, Caller, identity_of
from klaviyo_variant_jobs.sandbox.control import Control
from klaviyo_variant_jobs.sandbox.faults import Fault
from klaviyo_variant_jobs.sandbox.jobs import JobList, SandboxJob, sample_jobs
from klaviyo_variant_jobs.sandbox.lifecycle import OPT_OUT_HEADER, Lifecycle, Served
from klaviyo_variant_jobs.sandbox.listing import Listing
from klaviyo_variant_jobs.sandbox.messages import Record, Request, Response
from klaviyo_variant_jobs.sandbox.refusals import Refusal
from klaviyo_variant_jobs.sandbox.server import Server
from klaviyo_variant_jobs.sandbox.transport import transport_of
from klaviyo_variant_jobs.sandbox.windows import NamedWindow, Quota, Window
from klaviyo_variant_jobs_api import registry

if TYPE_CHECKING:
    import httpx

JSON_API = "application/vnd.api+json"


class Sandbox:
    """A fake of the API's list of catalog variant bulk create jobs.

    Reach it through `transport()` in virtual time, through `serve()` over real HTTP, or pass a
    `Request` to `handle()`. Its responses depend on the arguments, the clock and the requests so
    far, and on nothing else. It is thread-safe.

        clock = VirtualClock()
        sandbox = Sandbox(jobs=0, clock=clock)
        http_client = httpx.Client(transport=sandbox.transport())
        client = Client("pk_test", http_client=http_client, clock=clock)

        (job,) = sandbox.add_jobs(SandboxJob(variants=5, failed=2))
        sandbox.fail_next(429, Fault(status=503, retry_after=3), Fault(delivery="drop"))
        assert client.wait([job.id], timeout=600)[job.id].attributes.failed_count == 2
        assert sandbox.count(status=429) == 1

    By default a `SandboxJob` is queued, processed and complete as time passes. A `Fault` is an
    error status, another body, or a broken connection. The pytest fixtures are in
    `klaviyo_variant_jobs.sandbox.pytest_plugin`.

    Attributes:
        clock: the clock passed in.
        requests: a `Record` of each request so far, oldest first. It names credentials by
            `identity_of`.

    Args:
        jobs: how many sample jobs, or the jobs themselves, newest first.
        clock: sets the age of jobs, the windows of the quota and today's date.
        api_keys: the account of each private key; keys of one account share its quota. By default
            every key that begins with `pk_` is accepted and has an account of its own.
        access_tokens: the account of each OAuth token. By default every token is accepted, and all
            share one account. Tokens have a quota apart from that of the account's keys.
        without_scope: keys and tokens that lack `catalogs:read`.
        burst: requests per second and account; by default the tightest of the kept revisions.
        steady: requests per minute and account; by default the tightest of the kept revisions.
        daily: requests per day and account; None for no limit.
        window_offset_seconds: windows begin at this moment of the clock's monotonic time, and at
            every multiple of their length before and after.
        named_window: the window that RateLimit headers name: always `burst`, or the `scarcer` one,
            which has fewer requests left.
        jobs_per_page: jobs on a full page; the API has 100 and no parameter for it.
        variants_per_job: variants of each sample job.
        retired: dates of revisions to treat as retired. All other kept revisions are served, even
            those that the live API has retired.
        seed: seed of ids and sample jobs.

    Raises:
        ValueError: `retired` names a revision that was never published.
    """

    def __init__(
        self,
        *,
        jobs: int | Iterable[SandboxJob] = 300,
        clock: Clock = SYSTEM_CLOCK,
        api_keys: Mapping[str, str] | None = None,
        access_tokens: Mapping[str, str] | None = None,
        without_scope: Collection[str] = (),
        burst: int | None = None,
        steady: int | None = None,
        daily: int | None = None,
        window_offset_seconds: float = 0.0,
        named_window: NamedWindow = "burst",
        jobs_per_page: int = 100,
        variants_per_job: int = 3,
        retired: Collection[str] = (),
        seed: int = 0,
    ) -> None:
        self.clock = clock
        self.requests: list[Record] = []
        self._access = Access(
            api_keys=api_keys, access_tokens=access_tokens, without_scope=without_scope
        )
        self._lifecycle = Lifecycle(retired=retired)
        self._windows = _windows(burst, steady, daily)
        self._offset = window_offset_seconds
        self._named_window: NamedWindow = named_window
        self._quotas: dict[str, Quota] = {}
        self._faults: deque[Fault] = deque()
        self._random = random.Random(seed)
        self._lock = threading.RLock()
        self._jobs = JobList(seed=seed)
        self._listing = Listing(self._jobs, jobs_per_page=jobs_per_page)
        now = clock.time()
        if isinstance(jobs, int):
            jobs = sample_jobs(jobs, now=now, variants=variants_per_job, seed=seed)
        self._jobs.add(jobs, now)

    # For tests and demos

    @property
    def jobs(self) -> list[SandboxJob]:
        """The jobs of all accounts, newest first."""
        with self._lock:
            return list(self._jobs)

    def add_jobs(self, *jobs: SandboxJob, credential: str | None = None) -> list[SandboxJob]:
        """Add jobs, the newest first, and return them with their ids and dates.

        Args:
            jobs: the jobs; a `SandboxJob()` goes from queued to complete as time passes.
            credential: a key or token whose account gets the jobs; None gives them to every
                account, like the jobs that the sandbox was made with.

        Raises:
            ValueError: the sandbox does not accept the credential.
        """
        account = None if credential is None else self._access.account_of(credential)
        with self._lock:
            return self._jobs.add(jobs, self.clock.time(), account)

    def change_job(self, job_id: str, **changes: Any) -> SandboxJob:
        """Change arguments of a `SandboxJob`, by name; returns the changed job.

        Raises:
            KeyError: there is no such job.
        """
        with self._lock:
            return self._jobs.change(job_id, self.clock.time(), **changes)

    def remove_job(self, job_id: str) -> None:
        """Remove a job from the list.

        Raises:
            KeyError: there is no such job.
        """
        with self._lock:
            self._jobs.remove(job_id)

    def fail_next(self, *faults: Fault | int) -> None:
        """Let the next requests fail, each with one fault; a number means a fault of that status.

        sandbox.fail_next(429, Fault(status=503, retry_after=3), Fault(delivery="drop"))
        """
        with self._lock:
            self._faults.extend(Fault(status=f) if isinstance(f, int) else f for f in faults)

    @property
    def faults_left(self) -> list[Fault]:
        """Faults given to `fail_next` that have not been used yet."""
        with self._lock:
            return list(self._faults)

    def count(self, *, credential: str | None = None, status: int | None = None) -> int:
        """The number of requests with this key or token that were answered with this status."""
        identity = None if credential is None else identity_of(credential)
        with self._lock:
            return sum(
                (identity is None or record.identity == identity)
                and (status is None or record.status == status)
                for record in self.requests
            )

    # Ways to reach it

    def transport(self) -> httpx.MockTransport:
        """A transport for `httpx.Client(transport=…)` and `httpx.AsyncClient(transport=…)`."""
        return transport_of(self.handle, self.clock)

    def serve(self, *, port: int = 0, control: bool = False) -> Server:
        """A context manager that serves HTTP on the loopback interface, at its `base_url`.

        Args:
            port: 0 for a free one.
            control: whether programs may script faults and jobs at `/sandbox/`; see
                `klaviyo_variant_jobs.sandbox.control`.

        Raises (when the block is entered):
            OSError: the port cannot be used.
        """
        told = Control(self) if control else None
        return Server(self.handle, self.clock, port=port, control=told)

    def handle(self, request: Request) -> Response:
        """Answer one request, at the current time of the clock."""
        with self._lock:
            fault = self._faults.popleft() if self._faults else None
            request_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
            caller = None
            if fault is not None and fault.status is not None:
                response = _faulty(fault, fault.status, request_id)
            else:
                caller, response = self._answer(request, request_id)
            if fault is not None:
                response = attrs.evolve(
                    response, delivery=fault.delivery, drip_seconds=fault.drip_seconds
                )
            self.requests.append(
                Record(
                    time=self.clock.time(),
                    identity=caller.identity if caller else None,
                    revision=request.headers.get("revision"),
                    query=request.query,
                    status=response.status,
                    faulty=fault is not None,
                )
            )
            return response

    # The checks are in the order of Django REST framework, whose words the throttling message has:
    # version, credential, throttle, then the query. A recorded 403 has RateLimit headers, so it was
    # counted; a recorded 401 has none. Headers are in the recorded order.

    def _answer(self, request: Request, request_id: str) -> tuple[Caller | None, Response]:
        caller = None
        headers: list[tuple[str, str]] = []
        media_type = JSON_API
        try:
            served = self._revision(request)
            media_type = served.revision.media_type
            caller = self._access.caller(request.headers.get("authorization"))
            headers += self._count(caller)
            headers += served.headers
            self._access.check_scope(caller)
            body = self._listing.page(
                request, served.revision, account=caller.account, now=self.clock.time()
            )
        except Refusal as refusal:
            response = _refused(refusal, request_id, media_type, headers)
        else:
            headers = [("content-type", media_type), *headers, ("x-klaviyo-req-id", request_id)]
            response = Response(status=200, headers=tuple(headers), body=body)
        return caller, response

    def _revision(self, request: Request) -> Served:
        today = dt.datetime.fromtimestamp(self.clock.time(), dt.UTC).date()
        asked = self._lifecycle.asked(request.headers.get("revision"), today)
        opted_out = request.headers.get(OPT_OUT_HEADER) == "1"
        served = self._lifecycle.served(asked, today, opted_out=opted_out)
        # A request for a revision that is not kept may have that revision's own path.
        own = self._lifecycle.kept(asked)
        paths = {own.path} if own else {served.revision.path, _collection_path(served) + "/"}
        if request.path not in paths:
            raise refusals.not_found(f"There is no {request.path} in revision {asked}.")
        if request.method != "GET":
            raise refusals.method_not_allowed(request.method)
        return served

    def _count(self, caller: Caller) -> Sequence[tuple[str, str]]:
        now = self.clock.monotonic()
        quota = self._quotas.get(caller.quota)
        if quota is None:
            quota = Quota(self._windows, offset_seconds=self._offset)
            self._quotas[caller.quota] = quota
        wait = quota.admit(now)
        if wait:
            raise refusals.throttled(math.ceil(wait))
        return quota.headers(now, self._named_window)


def _collection_path(served: Served) -> str:
    return served.revision.path.rstrip("/")


def _windows(burst: int | None, steady: int | None, daily: int | None) -> list[Window]:
    # Klaviyo applies today's limits to old revisions too, so the tightest fragment holds for all.
    if burst is None:
        burst = min(revision.burst for revision in registry.REVISIONS)
    if steady is None:
        steady = min(revision.steady for revision in registry.REVISIONS)
    windows = [Window(burst, 1), Window(steady, 60)]
    if daily is not None:
        windows.append(Window(daily, 86_400))
    return windows


def _refused(
    refusal: Refusal,
    request_id: str,
    media_type: str,
    headers: Iterable[tuple[str, str]] = (),
) -> Response:
    # Recorded: a 429 comes without a Content-Type.
    kind = () if refusal.status == 429 else (("content-type", media_type),)
    body = refusals.document(refusal, request_id=request_id)
    return Response(
        status=refusal.status,
        headers=(*kind, *headers, *refusal.headers, ("x-klaviyo-req-id", request_id)),
        body=body,
    )


def _faulty(fault: Fault, status: int, request_id: str) -> Response:
    extra = [(name.lower(), value) for name, value in fault.headers.items()]
    if fault.retry_after is not None:
        extra.append(("retry-after", str(fault.retry_after)))
    if fault.body is not None:
        body = fault.body.encode() if isinstance(fault.body, str) else fault.body
        return Response(
            status=status, headers=(("x-klaviyo-req-id", request_id), *extra), body=body
        )
    if status in {204, 304}:
        return Response(status=status, headers=tuple(extra), body=b"")
    wait_seconds = fault.retry_after if isinstance(fault.retry_after, int) else 1
    refusal = refusals.scripted(status, wait_seconds)
    response = _refused(refusal, request_id, JSON_API)
    scripted = {name for name, _ in extra}
    own = [(name, value) for name, value in response.headers if name not in scripted]
    return attrs.evolve(response, headers=(*own, *extra))

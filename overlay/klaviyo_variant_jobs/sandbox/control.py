"""Controls a served sandbox from programs in any language, by JSON over HTTP.

    POST /sandbox/faults    [429, {"status": 503, "retry_after": 3}, {"delivery": "drop"}]
    GET  /sandbox/faults    how many faults have not been used yet
    POST /sandbox/jobs      [{"variants": 5, "failed": 1}, {"credential": "pk_mine"}]
    GET  /sandbox/requests  the requests so far

The members are the arguments of `Fault` and of `SandboxJob`, with the `credential` of
`Sandbox.add_jobs`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from klaviyo_variant_jobs.sandbox.faults import Delivery, Fault
from klaviyo_variant_jobs.sandbox.jobs import SandboxJob
from klaviyo_variant_jobs.sandbox.messages import Response

if TYPE_CHECKING:
    from klaviyo_variant_jobs.sandbox.api import Sandbox

PREFIX = "/sandbox/"
LONGEST = 1024 * 1024
"""The most bytes of a body."""


class _Fault(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    status: int | None = None
    retry_after: int | float | str | None = None
    body: str | None = None
    headers: dict[str, str] = {}
    delivery: Delivery = Delivery.WHOLE
    drip_seconds: float = 1.0


class _Job(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    id: str = ""
    created_at: dt.datetime | None = None
    status: str | None = None
    variants: int = 3
    failed: int = 0
    cancelled: bool = False
    queued_seconds: float = 20.0
    processing_seconds: float = 60.0
    errors: list[dict[str, Any]] | None = None
    attributes: dict[str, Any] = {}
    credential: str | None = None


class Control:
    """Carries out control requests on `sandbox`."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def handle(self, method: str, path: str, body: bytes) -> Response:
        """The response to a request whose path begins with `PREFIX`."""
        commands: Mapping[tuple[str, str], Callable[[bytes], Any]] = {
            ("POST", "faults"): self._fail_next,
            ("GET", "faults"): lambda _: self._faults_left(),
            ("POST", "jobs"): self._add_jobs,
            ("GET", "requests"): lambda _: [attrs.asdict(r) for r in self._sandbox.requests],
        }
        command = commands.get((method, path.removeprefix(PREFIX)))
        if command is None:
            known = ", ".join(f"{method} {PREFIX}{name}" for method, name in commands)
            return _answer(404, {"message": f"there is {known}"})
        try:
            return _answer(200, command(body))
        except (msgspec.MsgspecError, ValueError) as error:
            return _answer(400, {"message": str(error)})

    def _fail_next(self, body: bytes) -> Mapping[str, int]:
        asked = msgspec.json.decode(body, type=list[int | _Fault])
        faults = [_Fault(status=each) if isinstance(each, int) else each for each in asked]
        for fault in faults:
            if fault.status is not None and not 200 <= fault.status <= 999:
                raise ValueError(f"a status is between 200 and 999, not {fault.status}")
        self._sandbox.fail_next(*(Fault(**msgspec.structs.asdict(fault)) for fault in faults))
        return self._faults_left()

    def _faults_left(self) -> Mapping[str, int]:
        return {"faults_left": len(self._sandbox.faults_left)}

    def _add_jobs(self, body: bytes) -> Sequence[Mapping[str, Any]]:
        added = []
        # The list is newest first, and each added job becomes the newest: add the last one first.
        for job in reversed(msgspec.json.decode(body, type=list[_Job])):
            arguments = msgspec.structs.asdict(job)
            credential = arguments.pop("credential")
            created = arguments["created_at"]
            if created is not None and created.tzinfo is None:
                arguments["created_at"] = created.replace(tzinfo=dt.UTC)
            added += self._sandbox.add_jobs(SandboxJob(**arguments), credential=credential)
        return [{"id": job.id, "created_at": job.created_at} for job in reversed(added)]


def refused() -> Response:
    """The response to a POST that is not JSON or is too long."""
    message = f"send application/json with its Content-Length, at most {LONGEST} bytes"
    return _answer(415, {"message": message})


def _answer(status: int, document: Any) -> Response:
    headers = (("content-type", "application/json"),)
    return Response(status=status, headers=headers, body=msgspec.json.encode(document))

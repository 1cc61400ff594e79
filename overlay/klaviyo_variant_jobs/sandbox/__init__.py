"""A fake of the API for demos and tests: no network, no account, no waiting.

    >>> from klaviyo_variant_jobs import Client
    >>> from klaviyo_variant_jobs.sandbox import Sandbox
    >>> with Sandbox(jobs=250).serve() as server:
    ...     with Client("pk_x", revision="2026-10-15", base_url=server.base_url) as client:
    ...         sum(1 for _ in client.iter_jobs())
    250

In tests, give the sandbox and the client the same `VirtualClock`, on which waits take no time, and
let the client send through `Sandbox.transport()`.
"""

from klaviyo_variant_jobs.sandbox.access import identity_of
from klaviyo_variant_jobs.sandbox.api import Sandbox
from klaviyo_variant_jobs.sandbox.faults import Delivery, Fault
from klaviyo_variant_jobs.sandbox.jobs import SandboxJob
from klaviyo_variant_jobs.sandbox.messages import Record, Request, Response
from klaviyo_variant_jobs.sandbox.server import Server
from klaviyo_variant_jobs.sandbox.virtual_time import VirtualClock

__all__ = [
    "Delivery",
    "Fault",
    "Record",
    "Request",
    "Response",
    "Sandbox",
    "SandboxJob",
    "Server",
    "VirtualClock",
    "identity_of",
]

"""Klaviyo's *Get Create Variants Jobs*: iterate, paced and resumable.

from klaviyo_variant_jobs import Client

with Client(api_key="pk_...", revision="2026-07-15") as client:
    for job in client.iter_jobs(status="processing"):
        print(job.id, job.attributes.completed_count, job.attributes.total_count)
"""

import importlib
from typing import TYPE_CHECKING

from klaviyo_variant_jobs_api import registry as _registry

# NEWEST, REVISIONS, Revision, and each kept revision under a name such as R2026_07_15.
from klaviyo_variant_jobs_api.registry import *  # noqa: F403

from .checkpoint import Checkpoint
from .client.blocking import Client
from .clock import Clock
from .errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    CheckpointError,
    DeadlineError,
    ErrorDetail,
    InvalidResponseError,
    KlaviyoError,
    NotFoundError,
    PaginationError,
    PermissionDeniedError,
    RateLimitError,
    RevisionRetiredError,
    ServerError,
    TokenError,
    TransportError,
)
from .iteration.blocking import Iteration
from .pagination import Page
from .rate_limits import Limiter, Policy, RateLimit, RateLimiter, Snapshot, Ticket
from .retry import RetryPolicy
from .revisions import job_id
from .version import __version__

if TYPE_CHECKING:
    from .client.aio import AsyncClient
    from .iteration.aio import AsyncIteration

__all__ = [
    "APIError",
    "AsyncClient",
    "AsyncIteration",
    "AuthenticationError",
    "BadRequestError",
    "Checkpoint",
    "CheckpointError",
    "Client",
    "Clock",
    "DeadlineError",
    "ErrorDetail",
    "InvalidResponseError",
    "Iteration",
    "KlaviyoError",
    "Limiter",
    "NotFoundError",
    "Page",
    "PaginationError",
    "PermissionDeniedError",
    "Policy",
    "RateLimit",
    "RateLimitError",
    "RateLimiter",
    "RetryPolicy",
    "RevisionRetiredError",
    "ServerError",
    "Snapshot",
    "Ticket",
    "TokenError",
    "TransportError",
    "__version__",
    "job_id",
]
__all__ += _registry.__all__


# On first use: asyncio takes a fifth as long to import as httpx does, for which a program without
# it should not wait.
_ASYNC = {
    "AsyncClient": "klaviyo_variant_jobs.client.aio",
    "AsyncIteration": "klaviyo_variant_jobs.iteration.aio",
}


def __getattr__(name: str) -> object:
    if name not in _ASYNC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(importlib.import_module(_ASYNC[name]), name)
    return globals()[name]


def __dir__() -> list[str]:
    return __all__

"""Klaviyo's *Get Create Variants Jobs*: iterate, paced and resumable.

from klaviyo_variant_jobs import Client

with Client(api_key="pk_...", revision="2026-07-15") as client:
    for job in client.iter_jobs(status="processing"):
        print(job.id, job.attributes.completed_count, job.attributes.total_count)
"""

from klaviyo_variant_jobs_api.registry import NEWEST, REVISIONS, Revision

from .checkpoint import Checkpoint
from .client import AsyncClient, Client
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
from .iteration import AsyncIteration, Iteration
from .pagination import Page
from .rate_limits import Limiter, RateLimit, RateLimiter
from .retry import RetryPolicy
from .revisions import job_id
from .version import __version__

__all__ = [
    "NEWEST",
    "REVISIONS",
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
    "RateLimit",
    "RateLimitError",
    "RateLimiter",
    "RetryPolicy",
    "Revision",
    "RevisionRetiredError",
    "ServerError",
    "TokenError",
    "TransportError",
    "__version__",
    "job_id",
]

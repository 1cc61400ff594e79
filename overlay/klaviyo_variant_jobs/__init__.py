"""Klaviyo's *Get Create Variants Jobs*: iterate, paced and resumable.

from klaviyo_variant_jobs import Client

with Client(api_key="pk_...", revision="2026-10-15") as client:
    for job in client.iter_jobs(status="processing"):
        print(job.id, job.attributes.completed_count, job.attributes.total_count)
"""

from typing import TYPE_CHECKING

# NEWEST, REVISIONS, Revision, and each kept revision under a name such as R2026_07_15.
from klaviyo_variant_jobs_api.registry import *  # noqa: F403

from .checkpoint import Checkpoint as Checkpoint
from .client import AsyncClient as AsyncClient, Client as Client
from .clock import Clock as Clock
from .decode.page import Page as Page
from .errors import (
    APIError as APIError,
    AttemptedError as AttemptedError,
    AuthenticationError as AuthenticationError,
    BadRequestError as BadRequestError,
    CheckpointError as CheckpointError,
    CursorError as CursorError,
    DeadlineError as DeadlineError,
    ErrorDetail as ErrorDetail,
    InvalidResponseError as InvalidResponseError,
    KlaviyoError as KlaviyoError,
    NotFoundError as NotFoundError,
    PaginationError as PaginationError,
    PermissionDeniedError as PermissionDeniedError,
    QuotaDeadlineError as QuotaDeadlineError,
    RateLimitError as RateLimitError,
    RevisionRetiredError as RevisionRetiredError,
    ServerError as ServerError,
    TokenError as TokenError,
    TransportError as TransportError,
)
from .iteration import AsyncIteration as AsyncIteration, Iteration as Iteration
from .rate_limits import (
    Limiter as Limiter,
    Permit as Permit,
    Policy as Policy,
    RateLimit as RateLimit,
    RateLimiter as RateLimiter,
    Snapshot as Snapshot,
    Wait as Wait,
    WindowState as WindowState,
)
from .retry import RetryPolicy as RetryPolicy
from .revisions import external_id as external_id, job_id as job_id
from .version import __version__ as __version__

if TYPE_CHECKING:
    from klaviyo_variant_jobs_api.fitting import Anomaly as Anomaly
    from klaviyo_variant_jobs_api.registry import AnyJob as AnyJob, NewestJob as NewestJob

    from .watch import *  # noqa: F403


def __getattr__(name: str) -> object:
    # On first use: the models take a fifth as long to import as httpx does.
    if name in ("AnyJob", "NewestJob"):
        from klaviyo_variant_jobs_api import registry as home
    elif name == "Anomaly":
        import klaviyo_variant_jobs_api.fitting as home  # type: ignore[no-redef]
    elif name in ("Change", "JobsMissingError", "WatchTimeoutError", "is_finished"):
        import klaviyo_variant_jobs.watch as home  # type: ignore[no-redef]
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(home, name)

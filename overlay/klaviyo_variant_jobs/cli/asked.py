"""What a listing is to list: from the options, and from the checkpoint it resumes from."""

from __future__ import annotations

import shlex
from datetime import datetime

import attrs

from klaviyo_variant_jobs import revisions
from klaviyo_variant_jobs.checkpoint import Checkpoint
from klaviyo_variant_jobs.client.shell import DEFAULT_BASE_URL


@attrs.frozen(kw_only=True)
class Asked:
    """What the user asked for on the command line."""

    command: str
    api_key_file: str | None
    base_url: str
    sandbox: bool
    revision: str | None
    status: tuple[str, ...]
    fields: tuple[str, ...] | None
    since: datetime | None
    limit: int | None
    resume: Checkpoint | None
    output: str

    @property
    def revision_pinned(self) -> str:
        """The revision: as asked, as the checkpoint has it, or the newest."""
        resumed = self.resume.revision if self.resume else revisions.NEWEST.date
        return self.revision or resumed

    @property
    def status_listed(self) -> tuple[str, ...]:
        """The statuses: as asked, or as the checkpoint has them."""
        return self.status or (self.resume.status if self.resume else ())

    @property
    def fields_sent(self) -> tuple[str, ...]:
        """The fields: as asked, or as the checkpoint has them, and what `--since` looks at."""
        fields = self.fields or (self.resume.fields if self.resume else ())
        if self.since and fields and "created_at" not in fields:
            return (*fields, "created_at")
        return fields

    def wants(self, job: object) -> bool:
        """Whether the job is new enough; one whose age is not known is."""
        created = getattr(getattr(job, "attributes", None), "created_at", None)
        return self.since is None or not isinstance(created, datetime) or created >= self.since

    def to_go_on(self, checkpoint: Checkpoint, jobs: int) -> str:
        """The command that goes on from `checkpoint` after `jobs` jobs were written."""
        words = ["klaviyo-variant-jobs", self.command]
        for flag, value, default in (
            ("--api-key-file", self.api_key_file, None),
            ("--base-url", self.base_url, DEFAULT_BASE_URL),
            ("--since", self.since and self.since.isoformat(), None),
            ("--limit", self.limit and str(self.limit - jobs), None),
            ("--output", self.output, "table"),
            ("--resume", str(checkpoint), None),
        ):
            if value and value != default:
                words += [flag, value]
        return shlex.join(words + ["--sandbox"] * self.sandbox)

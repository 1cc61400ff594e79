"""What a command asks for: its options, merged with the checkpoint it resumes from."""

from __future__ import annotations

import shlex
from datetime import datetime

import attrs
import click

from klaviyo_variant_jobs.checkpoint import Checkpoint
from klaviyo_variant_jobs_api.registry import NEWEST
from klaviyo_variant_jobs_api.transport import DEFAULT_BASE_URL


@attrs.frozen(kw_only=True)
class Asked:
    """The options of one run."""

    command: str
    api_key_file: str | None = None
    base_url: str = DEFAULT_BASE_URL
    sandbox: bool = False
    revision: str | None = None
    status: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    """Fields that the command itself asks for. It cannot do without the first."""
    since: datetime | None = None
    limit: int | None = None
    resume: Checkpoint | None = None
    output: str = "table"
    summary: bool = False

    @property
    def revision_pinned(self) -> str:
        """The revision of the checkpoint, else the one asked for, else the newest."""
        if self.resume:
            return self.resume.revision
        # Not `or`: an empty string, such as an unset shell variable, must be refused.
        return NEWEST.date if self.revision is None else self.revision

    @property
    def status_listed(self) -> tuple[str, ...]:
        """The statuses of the checkpoint, else those asked for."""
        return self.resume.status if self.resume else self.status

    @property
    def fields_sent(self) -> tuple[str, ...]:
        """The fields of the checkpoint, else those asked for and those that `--since` needs."""
        return self.resume.fields if self.resume else self._fields_wanted

    @property
    def _fields_wanted(self) -> tuple[str, ...]:
        fields = self.fields or self.needs
        return tuple(dict.fromkeys((*fields, *self._dated))) if fields else ()

    @property
    def _dated(self) -> tuple[str, ...]:
        return ("created_at",) if self.since else ()

    def check(self) -> None:
        """Raise `click.UsageError` for options that differ from the checkpoint."""
        if self.resume is None:
            return
        then = {
            "--revision": (self.resume.revision,),
            "--status": self.resume.status,
            "--fields": self.resume.fields,
        }
        now = {
            "--revision": () if self.revision is None else (self.revision,),
            "--status": self.status,
            "--fields": self.fields and self._fields_wanted,
        }
        # Before 2023-12-15 the client adds job_id to the fields by itself.
        other = [n for n in then if now[n] and {*now[n], "job_id"} != {*then[n], "job_id"}]
        if other:
            run = [f"with {n} {','.join(then[n])}" if then[n] else f"without {n}" for n in other]
            raise click.UsageError(
                f"--resume continues a run {' and '.join(run)}; leave out "
                f"{' and '.join(other)}, or leave out --resume to list from the start"
            )
        lacking = [
            field for field in (*self.needs[:1], *self._dated) if field not in then["--fields"]
        ]
        if lacking and then["--fields"]:
            what = "--since" if lacking == ["created_at"] else f"the command {self.command}"
            raise click.UsageError(
                f"{what} needs {' and '.join(lacking)}, but --resume continues a run with "
                f"--fields {','.join(then['--fields'])}; leave out --resume to list from the start"
            )

    def wants(self, job: object) -> bool:
        """Whether the job is new enough for `--since`; one of unknown age is."""
        created = getattr(getattr(job, "attributes", None), "created_at", None)
        return self.since is None or not isinstance(created, datetime) or created >= self.since

    def to_go_on(self, checkpoint: Checkpoint, rows: int) -> str:
        """The command that continues from `checkpoint` after `rows` rows were written."""
        left = self.limit and str(self.limit - rows)
        return self._command_line(("--limit", left), ("--resume", str(checkpoint)))

    def from_the_start(self) -> str:
        """The command that lists the same without a checkpoint."""
        then = self.resume or self
        return self._command_line(
            ("--revision", self.revision_pinned if self.resume else self.revision),
            ("--status", ",".join(self.status_listed)),
            ("--fields", "" if self.needs else ",".join(then.fields)),
            ("--limit", self.limit and str(self.limit)),
        )

    def _command_line(self, *options: tuple[str, str | int | None]) -> str:
        words = ["klaviyo-variant-jobs", self.command]
        for flag, value, default in (
            ("--api-key-file", self.api_key_file, None),
            ("--base-url", self.base_url, DEFAULT_BASE_URL),
            ("--since", self.since and self.since.isoformat(), None),
            ("--output", self.output, "table"),
            *((flag, value, None) for flag, value in options),
        ):
            if value and value != default:
                words += [flag, str(value)]
        return shlex.join(words + ["--summary"] * self.summary + ["--sandbox"] * self.sandbox)

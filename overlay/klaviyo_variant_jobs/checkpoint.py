"""Where an iteration stands: a frozen value and its text form.

The root of the error family lives here as well. Every error carries a checkpoint and a checkpoint
that cannot be read is an error, so neither can be below the other.
"""

from __future__ import annotations

import base64
import json
import zlib

import attrs


class KlaviyoError(Exception):
    """Root of everything this package raises for what went wrong outside the caller's code.

    Wrong arguments raise `ValueError` or `TypeError` instead, before anything is sent.
    """

    checkpoint: Checkpoint | None = None
    """Where to resume; set on every error that an iterator raises, else None."""


class CheckpointError(KlaviyoError, ValueError):
    """A checkpoint that cannot be read, or that belongs to another revision, filter or fields."""


_PREFIX = "kvj1."


@attrs.frozen(kw_only=True)
class Checkpoint:
    """A place between two jobs, from which `resume=` goes on.

    `str(checkpoint)` is a short text of URL-safe characters for a file, a queue or a log; it holds
    no secret. `Checkpoint.parse` reads it back.
    """

    revision: str
    """The revision the iteration pinned, such as `2026-07-15`."""
    status: tuple[str, ...] = ()
    """The statuses asked for, in lifecycle order; empty for all jobs."""
    fields: tuple[str, ...] = ()
    """The fields asked for; empty for all."""
    status_index: int = 0
    """Which of `status` was being listed."""
    cursor: str | None = None
    """The cursor of the page the place is on; None for the first page."""
    offset: int = 0
    """How many jobs of that page had been given out."""
    last_job_id: str | None = None
    """The identifier of the last of those jobs; what resuming looks for."""

    def __str__(self) -> str:
        values = [
            self.revision,
            self.status,
            self.fields,
            self.status_index,
            self.cursor,
            self.offset,
            self.last_job_id,
        ]
        data = json.dumps(values, separators=(",", ":")).encode()
        packed = zlib.crc32(data).to_bytes(4, "big") + data
        return _PREFIX + base64.urlsafe_b64encode(packed).rstrip(b"=").decode()

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read back what `str()` wrote; white space around it is ignored.

        Raises `CheckpointError` (also a `ValueError`) for any other text.
        """
        try:
            return cls._unpack(text.strip())
        # RecursionError: json gives up that way on deep nesting.
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise CheckpointError(
                "not a checkpoint of this library, or cut while it was copied: expected the whole "
                f"text that starts with {_PREFIX!r}"
            ) from None

    @classmethod
    def _unpack(cls, text: str) -> Checkpoint:
        if not text.startswith(_PREFIX):
            raise ValueError
        encoded = text[len(_PREFIX) :].encode("ascii")
        # validate=True: the lenient decoder skips foreign characters and would accept other texts.
        packed = base64.b64decode(
            encoded + b"=" * (-len(encoded) % 4), altchars=b"-_", validate=True
        )
        data = packed[4:]
        if zlib.crc32(data).to_bytes(4, "big") != packed[:4]:
            raise ValueError
        revision, status, fields, index, cursor, offset, last_job_id = json.loads(data)
        checkpoint = cls(
            revision=revision,
            status=tuple(status),
            fields=tuple(fields),
            status_index=index,
            cursor=cursor,
            offset=offset,
            last_job_id=last_job_id,
        )
        if not checkpoint._is_sound() or str(checkpoint) != text:
            raise ValueError
        return checkpoint

    def _is_sound(self) -> bool:
        texts = (self.revision, *self.status, *self.fields)
        optional = (self.cursor, self.last_job_id)
        return (
            all(isinstance(text, str) for text in texts)
            and all(text is None or isinstance(text, str) for text in optional)
            and type(self.status_index) is int
            and 0 <= self.status_index < max(1, len(self.status))
            and type(self.offset) is int
            and self.offset >= 0
        )

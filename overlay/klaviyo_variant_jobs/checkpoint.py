"""Where an iteration stands: a frozen value and its text form."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable

import attrs

from .errors import CheckpointError

_PREFIX = "kvj1."

LONGEST_CURSOR = 16 * 1024
"""Characters; servers refuse request lines of 8 to 16 KiB."""


def can_be_sent(cursor: str) -> bool:
    """Whether a cursor fits a request line and can be percent-encoded."""
    try:
        cursor.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # Half a surrogate pair stands for no bytes.
        return False
    return len(cursor) <= LONGEST_CURSOR


def _pairs(pairs: Iterable[Iterable[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in pairs)


@attrs.frozen(kw_only=True)
class Checkpoint:
    """A place between two jobs, from which `resume=` goes on.

    `str(checkpoint)` is a short text of URL-safe characters for a file, a queue or a log; it holds
    no secret. `Checkpoint.parse` reads it back.
    """

    revision: str
    """The revision the iteration pinned, such as `2026-07-15`."""
    status: tuple[str, ...] = attrs.field(default=(), converter=tuple[str, ...])
    """The statuses asked for, in lifecycle order; empty for all jobs."""
    fields: tuple[str, ...] = attrs.field(default=(), converter=tuple[str, ...])
    """The fields asked for; empty for all."""
    status_index: int = 0
    """Which of `status` was being listed."""
    cursor: str | None = None
    """The cursor of the page the place is on; None for the first page."""
    offset: int = 0
    """How many jobs of that page had been given out."""
    last_job_id: str | None = None
    """The identifier of the last of those jobs; what resuming looks for."""
    extra_query: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_pairs)
    """More query parameters, by name."""

    def __str__(self) -> str:
        values = list(attrs.astuple(self, recurse=False))
        if not self.extra_query:  # Such texts keep the form from before it existed.
            del values[-1]
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
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            raise CheckpointError(
                "not a checkpoint of this library, or cut while it was copied: expected the whole "
                f"text that starts with {_PREFIX!r}"
            ) from None

    @classmethod
    def _unpack(cls, text: str) -> Checkpoint:
        if not text.startswith(_PREFIX) or len(text) > 4 * LONGEST_CURSOR:
            raise ValueError
        encoded = text[len(_PREFIX) :]
        data = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))[4:]
        names = [field.name for field in attrs.fields(cls)]
        checkpoint = cls(**dict(zip(names, json.loads(data), strict=False)))
        # Compared as a whole: this checks the checksum, and refuses what lenient decoders ignore.
        if not checkpoint._is_sound() or str(checkpoint) != text:
            raise ValueError
        return checkpoint

    def _is_sound(self) -> bool:
        texts = [self.revision, *self.status, *self.fields, *sum(self.extra_query, ())]
        texts += [text for text in (self.cursor, self.last_job_id) if text is not None]
        numbers = (self.status_index, self.offset)
        are_kinds = all(isinstance(t, str) for t in texts) and {*map(type, numbers)} == {int}
        is_within = are_kinds and 0 <= self.status_index < max(1, len(self.status))
        return is_within and self.offset >= 0 and can_be_sent(self.cursor or "")

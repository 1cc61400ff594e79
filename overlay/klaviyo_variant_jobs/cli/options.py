"""The options of the commands, parsed into what the library takes."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import attrs
import click
import httpx

from klaviyo_variant_jobs.auth import ENVIRONMENT_VARIABLE, clean_secret
from klaviyo_variant_jobs.checkpoint import Checkpoint
from klaviyo_variant_jobs.clock import SYSTEM_CLOCK, Clock
from klaviyo_variant_jobs_api.registry import NEWEST
from klaviyo_variant_jobs_api.transport import DEFAULT_BASE_URL

from .moment import FORMS, read_moment
from .output import OUTPUTS

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


@attrs.frozen
class Surroundings:
    """The context object of every command: clock and transport, which tests replace."""

    clock: Clock = SYSTEM_CLOCK
    transport: httpx.BaseTransport | None = None


def _moment(ctx: click.Context, param: click.Parameter, text: str | None) -> datetime | None:
    if text is None:
        return None
    now = datetime.fromtimestamp(ctx.ensure_object(Surroundings).clock.time(), UTC)
    try:
        moment = read_moment(text, now=now)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if moment > now:
        raise click.BadParameter(f"{text!r} is {moment:%Y-%m-%d %H:%M} UTC, which is in the future")
    return moment


_LASTING = re.compile(r"(?P<number>\d+(\.\d+)?) ?(?P<unit>[smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def _duration(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    lasting = _LASTING.fullmatch(text.strip().lower())
    if lasting is None:
        raise click.BadParameter(f"{text!r} is no duration; write it like 90s, 10m, 1.5h or 1d")
    return float(lasting["number"]) * _SECONDS[lasting["unit"]]


def _checkpoint(ctx: click.Context, param: click.Parameter, text: str | None) -> Checkpoint | None:
    try:
        return None if text is None else Checkpoint.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _names(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(name.strip() for text in texts for name in text.split(",") if name.strip())
    if texts and not names:
        raise click.BadParameter("name at least one")
    return names


_LONGEST_KEY = 4096
"""Characters; anything longer is not a key."""


def read_api_key(file: str | None) -> str | None:
    """The key in a file (`-` for stdin); None without a file, so that the environment's is used.

    Raises `click.UsageError`, which never quotes the content of the file.
    """
    if file is None:
        return None
    source = "standard input" if file == "-" else f"the file {file!r}"
    try:
        with click.open_file(file, "rb") as stream:
            data = stream.read(4 * _LONGEST_KEY + 1)
    except OSError as error:
        raise click.UsageError(f"cannot read the key from {source}: {error.strerror}") from None
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or data[:2] == b"p\0":
        # PowerShell 5 writes UTF-16 with `>` and Out-File.
        raise click.UsageError(
            f"{source} is UTF-16, not UTF-8; write it again with another encoding, in PowerShell "
            "with: Set-Content -Encoding ascii"
        )
    # utf-8-sig drops a byte-order mark. Invalid bytes become U+FFFD, which clean_secret refuses.
    text = data.decode("utf-8-sig", errors="replace")
    if len(text) > _LONGEST_KEY:
        raise click.UsageError(f"{source} has more than {_LONGEST_KEY} characters, which is no key")
    try:
        return clean_secret(text, f"the key in {source}")
    except ValueError as error:
        raise click.UsageError(str(error)) from None


api_key_file = click.option(
    "--api-key-file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help=f"Read the API key from FILE, - for stdin, instead of {ENVIRONMENT_VARIABLE}.",
)
base_url = click.option(
    "--base-url",
    default=DEFAULT_BASE_URL,
    show_default=True,
    metavar="URL",
    help="Where the API is.",
)
sandbox = click.option("--sandbox", is_flag=True, help="Ask a built-in fake API; needs no key.")
revision = click.option(
    "--revision", metavar="DATE", help="The API revision to pin.  [default: the newest known]"
)
status = click.option(
    "--status",
    multiple=True,
    callback=_names,
    metavar="A,B,...",
    help=f"Only jobs of these statuses: {', '.join(NEWEST.statuses)}.",
)
fields = click.option(
    "--fields",
    multiple=True,
    callback=_names,
    metavar="A,B,...",
    help=f"Only these attributes: {', '.join(NEWEST.fields)}.",
)
since = click.option(
    "--since",
    callback=_moment,
    metavar="WHEN",
    help=f"Only jobs created since then, in UTC unless WHEN has an offset: {FORMS}.",
)


timeout = click.option(
    "--timeout",
    callback=_duration,
    metavar="TIME",
    help="Give up after TIME: 90s, 10m, 2h, 1d.  [default: never]",
)


def limit(things: str) -> Callable[[FunctionT], FunctionT]:
    """The option --limit, which counts `things`."""
    return click.option(
        "--limit", type=click.IntRange(min=1), metavar="N", help=f"Stop after N {things}."
    )


def resume(kept: str) -> Callable[[FunctionT], FunctionT]:
    """The option --resume, which names what a checkpoint has `kept`."""
    return click.option(
        "--resume",
        callback=_checkpoint,
        metavar="TEXT",
        help=f"Continue from the checkpoint of an earlier run, with its {kept}. Repeat its other "
        "options.",
    )


output = click.option(
    "--output",
    type=click.Choice(OUTPUTS),
    default="table",
    metavar="FORMAT",
    show_default=True,
    help=f"{', '.join(OUTPUTS[:-1])} or {OUTPUTS[-1]}.",
)

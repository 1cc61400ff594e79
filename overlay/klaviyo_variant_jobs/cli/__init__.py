"""The command line, `klaviyo-variant-jobs`; needs the extra `cli`."""

from __future__ import annotations

import importlib
import sys

from . import signals, streams


def main() -> None:
    """Run the command line on `sys.argv` and exit with its code."""
    streams.prepare()
    signals.watch()
    try:
        _run()
    except KeyboardInterrupt as interrupt:
        sys.exit(signals.exit_code(interrupt))
    finally:
        # The flush may block for ever on a pipe that nobody reads: let signals end it.
        signals.release()
        streams.finish()


def _run() -> None:
    for library in ("click", "rich"):
        try:
            importlib.import_module(library)
        except ModuleNotFoundError:
            sys.exit(
                f"klaviyo-variant-jobs: the command line needs {library}, which is not installed; "
                "get it with: pip install 'klaviyo-variant-jobs[cli]'"
            )
    from .commands import commands

    commands(prog_name="klaviyo-variant-jobs")

"""The command line, `klaviyo-variant-jobs`; needs the extra `cli`."""

from __future__ import annotations

import importlib
import io
import sys


def main() -> None:
    """Run the command line on `sys.argv` and exit with its code."""
    for library in ("click", "rich"):
        try:
            importlib.import_module(library)
        except ModuleNotFoundError:
            sys.exit(
                f"klaviyo-variant-jobs: the command line needs {library}, which is not installed; "
                "get it with: pip install 'klaviyo-variant-jobs[cli]'"
            )
    from .commands import commands

    # Data that the terminal's encoding cannot write is escaped; it must not end a listing halfway.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    commands(prog_name="klaviyo-variant-jobs")

"""Runs a command while the sandbox is served; the command gets its URL as last argument."""

from __future__ import annotations

import subprocess
import sys

from klaviyo_variant_jobs.sandbox import Sandbox

if __name__ == "__main__":
    with Sandbox(jobs=250, burst=1000, steady=100_000).serve() as server:
        sys.exit(subprocess.run([*sys.argv[1:], server.base_url], check=False).returncode)

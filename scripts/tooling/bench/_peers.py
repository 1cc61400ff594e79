"""A virtual environment with this project and its peers."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SDK = "klaviyo-api==25.0.0"
PYRATE = "pyrate-limiter[redis]==4.5.1"
HTTP = ("httpx2", "httpx-aiohttp")
"""The other libraries that `http_client` may come from."""


def environment(*, with_sdk: bool) -> dict[str, str]:
    """Environment variables for a contestant's process."""
    if not with_sdk:
        return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    # Without the packages of this process, which would hide the versions in the environment.
    return os.environ | {"PYTHONPATH": str(ROOT / "scripts")}


def peers_python() -> Path | None:
    """Python of the environment, made on first use; prints why and returns None on failure."""
    place = ROOT / ".venvs" / "peers" / _versions()
    python = place / "bin" / "python"
    complete = place / "complete"
    if complete.exists():
        return python
    print(
        f"installing {SDK}, {PYRATE} and this project into {place.relative_to(ROOT)}",
        file=sys.stderr,
    )
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        pip: list[str | Path] = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, SDK, PYRATE, *HTTP, "--editable", ROOT], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"no peers to compare with, their rows are left out: {error}", file=sys.stderr)
        return None
    complete.touch()
    return python


def _versions() -> str:
    project = zlib.crc32((ROOT / "pyproject.toml").read_bytes())
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"{SDK.replace('==', '-')}-python{version}-{project:08x}"

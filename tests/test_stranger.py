"""The suite of a service that imports us, as its authors would run it: in a folder of its own.

`scripts/compatibility` runs this where the built wheel is installed, and no source tree is near.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SUITE = Path(__file__).parent / "stranger"


def test_its_suite_passes_in_a_folder_of_its_own(tmp_path: Path) -> None:
    shutil.copytree(SUITE, tmp_path / "service", ignore=shutil.ignore_patterns("__pycache__"))
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=tmp_path / "service",
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "9 passed" in ran.stdout


def test_a_type_checker_is_content_with_it(tmp_path: Path) -> None:
    shutil.copy(SUITE / "uploads.py", tmp_path)
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "uploads.py"],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr

"""Builds the wheel and the sdist in dist/, checks their files, and that builds are identical."""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

PACKAGES = ("klaviyo_variant_jobs", "klaviyo_variant_jobs_api")


class BuildError(Exception):
    """The build failed, or the wheel lacks a file."""


def build(root: Path, target: Path) -> list[Path]:
    """Build the project at `root` into `target`, an empty folder.

    Returns:
        The wheel and the sdist.
    Raises:
        BuildError: the build failed.
    """
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(target)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"hatchling failed:\n{done.stdout}{done.stderr}")
    return sorted(target.iterdir())


def strangers(wheel: Path) -> list[str]:
    """Files in a wheel that belong neither to the two packages nor to the metadata."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    missing = [f"{package}/py.typed" for package in PACKAGES if f"{package}/py.typed" not in names]
    if missing:
        raise BuildError(f"{wheel.name} lacks {', '.join(missing)}")
    ours = (
        *(f"{package}/" for package in PACKAGES),
        f"{'-'.join(wheel.name.split('-')[:2])}.dist-",
    )
    return [name for name in names if not name.startswith(ours) or name.endswith(".pyc")]


def main(root: Path, argv: Sequence[str]) -> int:
    """The command `scripts/build`."""
    argparse.ArgumentParser(prog="scripts/build", description=__doc__).parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        first, second = Path(scratch, "1"), Path(scratch, "2")
        try:
            files = build(root, first)
            again = build(root, second)
            odd = [name for file in files if file.suffix == ".whl" for name in strangers(file)]
        except BuildError as error:
            print(f"build: {error}", file=sys.stderr)
            return 1
        if odd:
            print(f"build: the wheel has unexpected files: {', '.join(odd)}", file=sys.stderr)
            return 1
        if [file.read_bytes() for file in files] != [file.read_bytes() for file in again]:
            print("build: a second build of the same source differs", file=sys.stderr)
            return 1
        dist = root / "dist"
        dist.mkdir(exist_ok=True)
        for file in files:
            (dist / file.name).write_bytes(file.read_bytes())
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            print(f"dist/{file.name}  {file.stat().st_size} bytes  sha256 {digest}")
    return 0

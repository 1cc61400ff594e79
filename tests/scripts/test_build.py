"""What is in the wheel and the sdist."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tooling.build import PACKAGES, build

ROOT = Path(__file__).resolve().parents[2]
# Tests that read files outside the packages when they are collected.
READERS = [
    "tests/cassettes",
    "tests/scripts",
    "tests/test_changelog.py",
    "tests/test_readme.py",
    "tests/tooling/test_nightly.py",
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The wheel and the sdist of this tree."""
    return build(ROOT, tmp_path_factory.mktemp("dist"))


def sdist_of(built: list[Path]) -> tarfile.TarFile:
    (file,) = (one for one in built if one.name.endswith(".tar.gz"))
    return tarfile.open(file)


def wheel_of(built: list[Path]) -> zipfile.ZipFile:
    (file,) = (one for one in built if one.name.endswith(".whl"))
    return zipfile.ZipFile(file)


def test_the_wheel_has_the_two_packages_and_nothing_else(built: list[Path]) -> None:
    with wheel_of(built) as wheel:
        tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_packagers_can_collect_the_tests_of_the_sdist(built: list[Path], tmp_path: Path) -> None:
    with sdist_of(built) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (tree,) = tmp_path.iterdir()
    for name in ("LICENSE", "CHANGELOG.md", "spec/lock.json", ".github/CONTRIBUTING.md"):
        assert (tree / name).is_file()
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", *READERS],
        cwd=tree,
        text=True,
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr


def test_the_metadata_has_a_version_that_publishing_tools_take(built: list[Path]) -> None:
    with wheel_of(built) as wheel:
        (name,) = (one for one in wheel.namelist() if one.endswith(".dist-info/METADATA"))
        told = wheel.read(name).decode()
    with sdist_of(built) as sdist:
        (name,) = (one for one in sdist.getnames() if one.count("/") == 1 and "PKG-INFO" in one)
        file = sdist.extractfile(name)
        assert file is not None
        also = file.read().decode()
    assert told.startswith("Metadata-Version: 2.4\n")
    assert also.startswith("Metadata-Version: 2.4\n")

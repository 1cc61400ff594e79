"""The changelog has the form of Keep a Changelog and agrees with the version."""

from __future__ import annotations

import re
from pathlib import Path

from klaviyo_variant_jobs import __version__

ROOT = Path(__file__).parent.parent
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
RELEASES = re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)


def test_the_version_is_the_last_release_or_one_under_development() -> None:
    if ".dev" in __version__:
        assert RELEASES[0] == "[Unreleased]"
        assert f"[{__version__.partition('.dev')[0]}]" not in CHANGELOG
    else:
        released = [release for release in RELEASES if release != "[Unreleased]"]
        assert re.fullmatch(rf"\[{re.escape(__version__)}\] - 20\d\d-\d\d-\d\d", released[0])


def test_its_sections_are_those_of_keep_a_changelog_and_revisions() -> None:
    kinds = "Added|Changed|Deprecated|Removed|Fixed|Security"
    for release in RELEASES:
        assert re.fullmatch(r"\[Unreleased\]|\[[\d.]+\] - 20\d\d-\d\d-\d\d", release)
    for section in re.findall(r"^### (.+)$", CHANGELOG, re.MULTILINE):
        assert re.fullmatch(rf"{kinds}|Revision 20\d\d-\d\d-\d\d, .+", section)


def test_its_lines_are_folded() -> None:
    assert max(map(len, CHANGELOG.splitlines())) <= 100

"""A fragment that nothing sound can be generated from is refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tooling import fragment
from tooling.fragment import FragmentError

ROOT = Path(__file__).resolve().parents[2]
NEWEST = fragment.fragments(ROOT / "spec")[-1]
TEXT = NEWEST.file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ("description: This page.", "descripton: This page.", "no schema has 'descripton'"),
        ("type: [integer,", "typ: [integer,", "no schema has 'typ'"),
        (f"{NEWEST.path}:", "/api/a'b:", "is no path"),
        (f"{NEWEST.media_type}:", "'application/x\"y':", "is no media type"),
        (
            f"burst: {NEWEST.burst}/s",
            "burst: 75 per second",
            "'75 per second'; expected a form like 75/s",
        ),
        (f"steady: {NEWEST.steady}/m", "steady: 0/m", "'0/m'; expected a form like 750/m"),
    ],
)
def test_it_is_refused(tmp_path: Path, was: str, now: str, told: str) -> None:
    assert was in TEXT
    file = tmp_path / NEWEST.file.name
    file.write_text(TEXT.replace(was, now), encoding="utf-8")
    with pytest.raises(FragmentError, match=told) as caught:
        fragment.read(file)
    assert "\n" not in str(caught.value)


def test_what_starts_with_x_is_anybodys_own(tmp_path: Path) -> None:
    file = tmp_path / NEWEST.file.name
    file.write_text(TEXT.replace("example: 100", "x-example: 100"), encoding="utf-8")
    assert fragment.read(file).date == NEWEST.date

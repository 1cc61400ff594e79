"""What is shown of a document cannot command a terminal or a CI, or look like something else."""

from __future__ import annotations

import io
import sys

import pytest

from tooling.terminal import lines, one_line, say


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcode and 漢字", "plain, ünïcode and 漢字"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("a\r\nb\tc", "a b c"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\ufeff\U000e0041", r"\ufeff\U000e0041"),
        ("::add-mask::x", ": :add-mask::x"),
        ("  ::error::x", ": :error::x"),
        ("a::b", "a::b"),
        ("a ##[error]b", "a ## [error]b"),
    ],
)
def test_a_text_is_shown_as_what_it_is(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_a_long_text_is_cut() -> None:
    assert one_line("word " * 30, 20) == "word word word wo..."


def test_line_breaks_that_are_ours_stay() -> None:
    assert lines("one\n::two::\n  three") == "one\n: :two::\n  three"


def test_what_an_output_cannot_express_is_spelled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", out)
    say("ünder")
    assert out.buffer.getvalue() == b"\\xfcnder\n"  # type: ignore[attr-defined]

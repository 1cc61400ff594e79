"""Help fits 80 columns, and says each thing once."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from klaviyo_variant_jobs.cli.commands import commands

if TYPE_CHECKING:
    from cli.conftest import CommandLine

PAGES = [(), *((name,) for name in sorted(commands.commands))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page[0] if page else "all")
def test_both_options_show_the_same_page_that_fits(cli: CommandLine, page: tuple[str, ...]) -> None:
    short, long = cli(*page, "-h", terminal_width=80), cli(*page, "--help", terminal_width=80)
    assert short.exit_code == 0
    assert short.stdout == long.stdout
    assert max(map(len, short.stdout.splitlines())) <= 80


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page[0] if page else "all")
def test_no_sentence_stands_twice_on_a_page(cli: CommandLine, page: tuple[str, ...]) -> None:
    text = re.sub(r"\s+", " ", cli(*page, "-h", terminal_width=80).stdout)
    sentences = Counter(re.findall(r"[A-Z][^.]{20,}\.", text))
    assert [sentence for sentence, times in sentences.items() if times > 1] == []


def test_each_command_has_one_line_that_is_not_cut(cli: CommandLine) -> None:
    listed = cli("-h", terminal_width=80).stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == sorted(commands.commands)
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)

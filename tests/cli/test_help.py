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


def test_a_page_speaks_of_nothing_that_its_command_lacks(cli: CommandLine) -> None:
    for name, command in commands.commands.items():
        has = {option for param in command.params for option in param.opts} | {"--help"}
        assert set(re.findall(r"--[a-z-]+", cli(name, "-h").stdout)) <= has
    assert "fields" not in cli("errors", "-h").stdout
    assert "page" not in cli("revisions", "-h").stdout


def test_the_one_exception_to_the_exit_codes_is_named(cli: CommandLine) -> None:
    told = [" ".join(cli(*page, "-h").stdout.split()) for page in ((), ("sandbox",))]
    assert "130 Ctrl-C, 143 SIGTERM; both signals end sandbox with 0." in told[0]
    assert "Ctrl-C and SIGTERM end it with exit code 0." in told[1]

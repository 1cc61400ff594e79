"""Prints the lowest version of each dependency that pyproject.toml allows, as pip constraints."""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)\s*>=\s*(?P<version>[\w.]+)\s*(?:,.*)?")


def lowest(requirements: Iterable[str]) -> Iterator[str]:
    """`name==version` for each `name>=version`.

    Raises:
        ValueError: a requirement has no lower bound.
    """
    for requirement in requirements:
        match = _REQUIREMENT.fullmatch(requirement)
        if match is None:
            raise ValueError(f"{requirement!r} has no lower bound (>=)")
        yield f"{match['name']}=={match['version']}"


def main(root: Path, argv: Sequence[str]) -> int:
    """Print the constraints."""
    argparse.ArgumentParser(prog="tooling lowest", description=__doc__).parse_args(argv)
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    for constraint in lowest([*project["dependencies"], *(r for extra in extras for r in extra)]):
        print(constraint)
    return 0

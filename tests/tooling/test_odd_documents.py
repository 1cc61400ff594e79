"""Whatever a document from outside holds, a bump and a check work or say in a line why not."""

from __future__ import annotations

import copy
import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tooling import bump, check, codegen, fragment

ROOT = Path(__file__).resolve().parents[2]
UPSTREAM = ROOT.parent / "shared" / "upstream"
NEWEST = fragment.fragments(ROOT / "spec")[-1]
TEXT = NEWEST.file.read_text(encoding="utf-8")
NEW = "2099-01-15"
# The owner's own, where they are at hand, and one in our words.
REAL = [json.loads(file.read_bytes()) for file in sorted(UPSTREAM.glob("2*.json"))]
DOCUMENTS = [fragment.load(NEWEST.file), *REAL]

ODD: list[Any] = [
    None,
    True,
    0,
    -1.5,
    10**30,
    float("nan"),
    "",
    "text",
    "null",
    "#",
    "a\nb: [",
    "2026-13-45",
    "\ud800",
    [],
    [None],
    ["text"],
    ["string", "string"],
    {},
    {"text": 1},
    {"type": ""},
    {"type": "array"},
    {"anyOf": []},
    {"enum": [{}]},
    {"oneOf": [{"type": "null"}]},
    {"allOf": [{"type": "string"}, {"type": "object"}]},
    {"$ref": "#/components/schemas"},
    {"$ref": ["#"]},
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for step, child in inside:
        yield (*path, step)
        if isinstance(child, dict | list):
            yield from places(child, (*path, step))


def spoiled(seed: int) -> str:
    """A document in which one to three things, anywhere, are something else or gone."""
    chance = random.Random(seed)
    document = copy.deepcopy(chance.choice(DOCUMENTS))
    for _ in range(chance.choice((1, 1, 2, 3))):
        *way, last = chance.choice(list(places(document)))
        parent = document
        for step in way:
            parent = parent[step]
        if chance.random() < 0.1:
            del parent[last]
        else:
            parent[last] = copy.deepcopy(chance.choice(ODD))
    return json.dumps(document)


def project(folder: Path) -> Path:
    """One that keeps the newest revision and has nothing else."""
    fragment_file = folder / "project" / "spec" / NEWEST.file.name
    fragment_file.parent.mkdir(parents=True)
    fragment_file.write_text(TEXT, encoding="utf-8")
    root = folder / "project"
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    for command in (["init"], ["add", "--all"], [*identity, "commit", "--message", "one"]):
        subprocess.run(["git", *command], cwd=root, check=True, capture_output=True)
    return root


def files_in(root: Path) -> set[str]:
    return {file.name for file in root.rglob("*") if file.is_file() and ".git" not in file.parts}


def test_a_check_tells_what_it_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "odd.json"
    for seed in range(60):
        file.write_text(spoiled(seed), encoding="utf-8")
        done = check.main(ROOT, ["--upstream", str(file), "--revision", NEWEST.date])
        told = capsys.readouterr()
        assert done in (0, 1, 2)
        assert told.err.count("\n") == (done != 0), seed
        assert bool(told.out) == (done != 2)


def test_what_nobody_reckoned_with_is_told_of_the_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def surprised(*_: object, **__: object) -> None:
        raise TypeError("unhashable type: 'dict'\nand more")

    monkeypatch.setattr(bump, "carry", surprised)
    monkeypatch.setattr(check, "agreement", surprised)
    root, file = project(tmp_path), tmp_path / "odd.json"
    file.write_text(json.dumps(DOCUMENTS[0]), encoding="utf-8")
    told = f"{file}: is not in the shape of OpenAPI: TypeError: unhashable type: 'dict'\n"
    assert bump.main(root, [NEW, "--from", NEWEST.date, "--upstream-new", str(file)]) == 1
    assert told in capsys.readouterr().err
    assert check.main(root, ["--upstream", str(file)]) == 2
    assert capsys.readouterr().err == f"check: {told}"


@pytest.mark.parametrize("seed", range(8))
def test_a_bump_does_its_work_or_leaves_all_as_it_was(
    seed: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # What follows is made from a fragment that has been found sound.
    monkeypatch.setattr(codegen, "generate", lambda *_: [])
    root, odd = project(tmp_path), tmp_path / "odd.json"
    odd.write_text(spoiled(seed), encoding="utf-8")
    done = bump.main(root, [NEW, "--from", NEWEST.date, "--upstream-new", str(odd)])
    made = files_in(root)
    if done == 1:
        assert "The tree is as it was." in capsys.readouterr().err
        assert made == {NEWEST.file.name}
    else:
        assert done in (0, bump.EXIT_DECIDE)
        assert made == {NEWEST.file.name, f"{NEW}.yaml", "CHANGELOG.md"}

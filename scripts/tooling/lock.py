"""spec/lock.json: what was generated from what, and with which tools."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

TOOLS = ("openapi-python-client", "ruff")


def make(spec_dir: Path, tree: Mapping[str, bytes]) -> dict[str, Any]:
    """The lock for this spec folder and its generated tree."""
    codegen = spec_dir / "codegen"
    return {
        "fragments": {
            file.name: _digest(file.read_bytes()) for file in sorted(spec_dir.glob("*.yaml"))
        },
        "config": _digest((codegen / "config.yaml").read_bytes()),
        "templates": _digests(codegen / "templates"),
        "package": _digests(codegen / "package"),
        "generated": tree_digest(tree),
        "tools": {tool: version(tool) for tool in TOOLS},
    }


def _digests(folder: Path) -> dict[str, str]:
    return {file.name: _digest(file.read_bytes()) for file in sorted(folder.glob("*.jinja"))}


def tree_digest(tree: Mapping[str, bytes]) -> str:
    """One digest of all file names and contents."""
    lines = (f"{_digest(content)}  {name}\n" for name, content in sorted(tree.items()))
    return _digest("".join(lines).encode())


def text(lock: dict[str, Any]) -> str:
    """The lock as the text of its file."""
    return json.dumps(lock, indent=2) + "\n"


def differences(spec_dir: Path, expected: dict[str, Any]) -> list[str]:
    """How the lock file differs from `expected`, one sentence each."""
    file = spec_dir / "lock.json"
    if not file.exists():
        return ["lock.json is missing"]
    try:
        recorded = json.loads(file.read_bytes())
    except ValueError:
        return ["lock.json is no JSON"]
    if not isinstance(recorded, dict):
        return ["lock.json is no JSON object"]
    return [
        f"lock.json is out of date: {entry}"
        for key in sorted({*recorded, *expected})
        for entry in _entries(key, recorded.get(key), expected.get(key))
    ]


def _entries(key: str, recorded: Any, expected: Any) -> list[str]:
    if recorded == expected:
        return []
    if key == "tools" and isinstance(recorded, dict):
        return [
            f"it was made with {tool} {recorded.get(tool, '(none)')}, this is {found}"
            for tool, found in expected.items()
            if recorded.get(tool) != found
        ]
    if isinstance(recorded, dict) and isinstance(expected, dict):
        names = sorted({*recorded, *expected})
        return [f"{key} {name}" for name in names if recorded.get(name) != expected.get(name)]
    return [key]


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"

"""Updates the revision that the examples in the documentation pin."""

from __future__ import annotations

from pathlib import Path

from tooling.changes import exported_name

EXAMPLES = ("README.md", "overlay")
"""The places that have examples."""


def pin(root: Path, revision: str, other: str) -> None:
    """Change examples that pin `revision` to pin `other`."""
    for file in (root / "README.md", *(root / "overlay").rglob("*.py")):
        if not file.exists():
            continue
        text = file.read_text(encoding="utf-8")
        pinned = text.replace(f'revision="{revision}"', f'revision="{other}"')
        if file.name == "README.md":
            name, others = exported_name(revision), exported_name(other)
            pinned = pinned.replace(name, others).replace(name.lower(), others.lower())
        if pinned != text:
            file.write_text(pinned, encoding="utf-8")

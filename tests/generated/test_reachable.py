"""Every module of the wheel is found by tools that follow import statements (PyInstaller)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "klaviyo_variant_jobs": ROOT / "overlay" / "klaviyo_variant_jobs",
    "klaviyo_variant_jobs_api": ROOT / "generated" / "klaviyo_variant_jobs_api",
}
# Where programs start: what a service imports, and what `python -m` and the command run.
STARTS = (
    "klaviyo_variant_jobs",
    "klaviyo_variant_jobs.redis",  # Imported by those who share a quota,
    "klaviyo_variant_jobs.opentelemetry",  # by those who trace,
    "klaviyo_variant_jobs.sandbox.loops",  # and these by test suites.
    "klaviyo_variant_jobs.sandbox.pytest_plugin",
    "klaviyo_variant_jobs.sandbox",
    "klaviyo_variant_jobs.cli.__main__",
    "klaviyo_variant_jobs_api.client",
)


def modules() -> dict[str, Path]:
    """All modules of both packages by name."""
    found = {}
    for package, folder in PACKAGES.items():
        for file in folder.rglob("*.py"):
            parts = [package, *file.relative_to(folder).with_suffix("").parts]
            found[".".join(parts).removesuffix(".__init__")] = file
    return found


def named(module: str, file: Path) -> Iterator[str]:
    """What the module's import statements name, anywhere in it; not what only type checkers see."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    waiting: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            seen = node.body if ast.unparse(node.test).startswith("not") else node.orelse
            waiting += seen
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            whole = ".".join([*(base if node.level else []), *([node.module] if node.module else [])])
            yield whole
            yield from (f"{whole}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    "package",
    [
        "klaviyo_variant_jobs_api",
        "klaviyo_variant_jobs",
    ],
)
def test_every_module_is_reachable_by_import_statements(package: str) -> None:
    known = modules()
    reached: set[str] = set()
    waiting = list(STARTS)
    while waiting:
        module = waiting.pop()
        if module in known and module not in reached:
            reached.add(module)
            waiting += named(module, known[module])
            waiting.append(module.rpartition(".")[0])
    missed = known.keys() - reached
    assert sorted(name for name in missed if name.split(".")[0] == package) == []

"""Performance figures, one module each: `main(argv)` measures, prints, returns an exit code."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path


def _names() -> list[str]:
    found = pkgutil.iter_modules(__path__)
    return sorted(module.name for module in found if not module.name.startswith("_"))


def main(_root: Path, argv: Sequence[str]) -> int:
    """Run the named figure with the other arguments; without a name, list all figures."""
    if argv and argv[0] in _names():
        return int(importlib.import_module(f"{__name__}.{argv[0]}").main(argv[1:]))
    print("usage: scripts/bench NAME [options]\n")
    for name in _names():
        described = importlib.import_module(f"{__name__}.{name}").__doc__ or ""
        print(f"  {name:<10} {described.partition(chr(10))[0]}")
    return 0 if not argv or argv[0] in ("-h", "--help") else 2

"""Runs one of the commands in scripts/: `python -m tooling MODULE ARGUMENTS...`."""

import sys
from importlib import import_module
from pathlib import Path

sys.exit(import_module(f"tooling.{sys.argv[1]}").main(Path(__file__).parents[2], sys.argv[2:]))

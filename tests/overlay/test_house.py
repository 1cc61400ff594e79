"""The house: modules import downwards, httpx stays in one of them, and the core stays small."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import klaviyo_variant_jobs

HOUSE = Path(klaviyo_variant_jobs.__file__).parent
PACKAGE = "klaviyo_variant_jobs"
CORE = [
    "clock",
    "errors",
    "checkpoint",
    "auth",
    "rate_limits",
    "retry",
    "revisions",
    "decode",
    "exchange",
    "pagination",
    "iteration",
    "client",
]
BESIDE = {"cli", "sandbox"}
OPTIONAL = {"watch", "events", "opentelemetry", "redis", "redis_script"}
FRONT = ("__init__", "version")
LINES_OF_CODE = 1900


@attrs.frozen
class Import:
    name: str
    """Absolute."""
    is_lazy: bool
    """Within a function, so that it happens on first use."""
    is_for_types: bool


def files() -> list[Path]:
    return sorted(HOUSE.rglob("*.py"))


every_file = pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(HOUSE)))


def module_of(path: Path) -> str:
    """The first part of a file's name within the package; `__init__` for the front door."""
    return path.relative_to(HOUSE).with_suffix("").parts[0]


def files_of(module: str) -> list[Path]:
    return [path for path in files() if module_of(path) == module]


def imports(path: Path) -> Iterator[Import]:
    """What a file imports, anywhere in it."""
    package = (PACKAGE, *path.relative_to(HOUSE).parent.parts)
    yield from _imports(ast.parse(path.read_text()), package, lazy=False, types=False)


def _imports(
    node: ast.AST, package: tuple[str, ...], *, lazy: bool, types: bool
) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        guarded = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        names: list[str] = []
        if isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            base = package[: len(package) - child.level + 1] if child.level else ()
            parts = [*base, *filter(None, [child.module])]
            names = [".".join([*parts, alias.name]) for alias in child.names]
        yield from (Import(name, lazy, types) for name in names)
        yield from _imports(child, package, lazy=lazy or is_function, types=types or guarded)


def modules_used(path: Path, *, lazy: bool = True, types: bool = True) -> set[str]:
    """The other modules of the package that a file imports from."""
    found = {
        i.name.split(".")[1]
        for i in imports(path)
        if i.name.startswith(f"{PACKAGE}.")
        and (lazy or not i.is_lazy)
        and (types or not i.is_for_types)
    }
    return (found & {*CORE, *BESIDE, *OPTIONAL}) - {module_of(path)}


def test_every_module_of_the_design_exists_and_no_other() -> None:
    found = {module_of(path) for path in files()}
    assert found - OPTIONAL == {*CORE, *BESIDE, *FRONT}


@pytest.mark.parametrize("module", CORE)
def test_a_module_of_the_core_imports_only_those_above_it_in_the_table(module: str) -> None:
    above = set(CORE[: CORE.index(module)])
    # Errors carry a checkpoint, and a checkpoint that cannot be read is an error.
    for_types = {"checkpoint"} if module == "errors" else set()
    inside = files_of(module)
    assert inside
    for path in inside:
        assert modules_used(path) & set(CORE) <= above | for_types
        assert modules_used(path, types=False) & set(CORE) <= above


@pytest.mark.parametrize("module", [*CORE, *FRONT])
def test_the_core_loads_what_stands_beside_it_when_it_is_used(module: str) -> None:
    for path in files_of(module):
        assert modules_used(path) & {*BESIDE, "opentelemetry", "redis"} == set()
        assert modules_used(path, lazy=False, types=False) & OPTIONAL == set()


@every_file
def test_only_the_command_line_imports_the_sandbox_and_nothing_the_command_line(
    path: Path,
) -> None:
    assert "cli" not in modules_used(path)
    assert "sandbox" not in modules_used(path) or module_of(path) == "cli"


@every_file
def test_httpx_is_imported_where_something_is_sent(path: Path) -> None:
    if any(i.name.split(".")[0] in ("httpx", "httpx2", "httpcore", "h11") for i in imports(path)):
        assert module_of(path) in ("client", *BESIDE)


def test_only_the_clock_tells_the_time_and_rolls_the_dice() -> None:
    for module in [*CORE, *OPTIONAL, *FRONT]:
        for path in files_of(module) if module != "clock" else []:
            assert not {i.name.split(".")[0] for i in imports(path)} & {"random", "time"}


def code_lines(text: str) -> int:
    """Lines with code: not blank, no comment alone, no docstring."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            docstrings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    silent = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENCODING,
        tokenize.ENDMARKER,
    }
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in silent:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - docstrings)


def test_lines_of_code_are_counted_without_docstrings_comments_and_blanks() -> None:
    text = '"""Doc.\n\nMore."""\n\n# why\nx = (\n    1  # one\n)\n"""About x."""\n'
    assert code_lines(text) == 3


def test_the_core_stays_small() -> None:
    core = [path for module in (*CORE, *FRONT) for path in files_of(module)]
    assert sum(code_lines(path.read_text()) for path in core) <= LINES_OF_CODE

"""Makes generated/ from spec/: runs openapi-python-client per fragment, and formats the tree."""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import openapi_python_client as generator
from openapi_python_client.config import Config, ConfigFile, MetaType
from openapi_python_client.parser import GeneratorData
from openapi_python_client.parser.errors import GeneratorError

from tooling import lock, python_text
from tooling.changes import changes_between, in_python, python_name
from tooling.client_part import client_part
from tooling.fragment import OPERATION, Fragment, FragmentError, Parameter, fragments
from tooling.model_code import classes
from tooling.python_text import UnusableTextError, docstring, literal
from tooling.schema import DocumentError
from tooling.terminal import one_line

PACKAGE = "klaviyo_variant_jobs_api"
RUNTIME = ("client.py", "errors.py", "types.py")
OWN_MODULES = {
    "__init__.py": "init.py.jinja",
    "changes.py": "changes.py.jinja",
    "fitting.py": "fitting.py.jinja",
    "registry.py": "registry.py.jinja",
    "transport.py": "transport.py.jinja",
}

FILTERS = {"docstring": docstring, "literal": literal, "name": python_text.name}

# ruff 0.6.9 to 0.17.6 give the same output with these; the default post hooks gave four outputs.
_RUFF = (
    ("check", "--fix-only", "--select", "F401,I"),
    ("format", "--line-length", "100"),
)
_RUFF_OPTIONS = ("--isolated", "--no-cache", "--target-version", "py311", ".")


class GenerationError(Exception):
    """The generator or the formatter failed or warned: a warning means that code is missing."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message, 1_000))


def generate(spec_dir: Path, target: Path) -> list[str]:
    """Write the generated tree to `target` (the folder generated/), and the lock to `spec_dir`.

    Stale files are removed. Nothing is written if generation fails.

    Returns:
        The files that were written or removed, relative to `target`.
    Raises:
        FragmentError, GenerationError: the message says what to correct.
    """
    tree = render(spec_dir)
    changed = sorted(_differences(tree, target))
    for name in changed:
        file = target / name
        if name in tree:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(tree[name])
        else:
            file.unlink()
            _remove_if_empty(file.parent, target)
    (spec_dir / "lock.json").write_text(lock.text(lock.make(spec_dir, tree)), encoding="utf-8")
    return changed


def check(spec_dir: Path, target: Path) -> list[str]:
    """How `target` and the lock differ from the generated tree, one sentence per file."""
    tree = render(spec_dir)
    found = [
        f"{target.name}/{name} {what}" for name, what in sorted(_differences(tree, target).items())
    ]
    return found + [
        f"{spec_dir.name}/{what}" for what in lock.differences(spec_dir, lock.make(spec_dir, tree))
    ]


def render(spec_dir: Path) -> dict[str, bytes]:
    """The content of all files of generated/, by name; nothing is written."""
    return render_fragments(spec_dir, fragments(spec_dir))


def render_fragments(spec_dir: Path, revisions: Sequence[Fragment]) -> dict[str, bytes]:
    """As `render` for these fragments, with the templates and the config of `spec_dir`."""
    with tempfile.TemporaryDirectory(prefix="regenerate-") as scratch:
        package = Path(scratch) / PACKAGE
        package.mkdir()
        for revision in revisions:
            _run_generator(spec_dir, revision, package / revision.package)
            _tidy(package / revision.package)
        for name in RUNTIME:
            # Shared by all revisions: copies per revision would be distinct classes.
            (package / revisions[-1].package / name).replace(package / name)
        for revision in revisions[:-1]:
            for name in RUNTIME:
                (package / revision.package / name).unlink()
        for module, template in OWN_MODULES.items():
            try:
                text = _render_template(spec_dir, template, revisions)
            except DocumentError as error:
                raise FragmentError(
                    f"{revisions[-1].file.name} or an older one: {error}"
                ) from error
            (package / module).write_text(text, encoding="utf-8")
        _stamp(package, revisions)
        _format(package)
        (package / "py.typed").touch()
        return {
            file.relative_to(scratch).as_posix(): file.read_bytes()
            for file in sorted(package.rglob("*"))
            if file.is_file()
        }


def _run_generator(spec_dir: Path, revision: Fragment, target: Path) -> None:
    config = Config.from_sources(
        config_file=ConfigFile.load_from_path(spec_dir / "codegen" / "config.yaml"),
        meta_type=MetaType.NONE,
        document_source=revision.file,
        file_encoding="utf-8",
        overwrite=False,
        output_path=target,
    )
    document = client_part(revision)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            complaints = _build(spec_dir, revision, document, config)
    except jinja2.TemplateError as error:
        raise GenerationError(f"the templates on {revision.file.name}: {error}") from error
    except UnusableTextError as error:
        raise FragmentError(f"{revision.file.name}: {error}") from error
    except Exception as error:  # The generator may raise anything for a hostile document.
        raise GenerationError(
            f"openapi-python-client on {revision.file.name}: {type(error).__name__}: {error}"
        ) from error
    if complaints:
        told = "; ".join(f"{one.header}: {one.detail}" for one in complaints)
        raise GenerationError(f"openapi-python-client on {revision.file.name}: {told}")


def _build(
    spec_dir: Path, revision: Fragment, document: dict[str, Any], config: Config
) -> Sequence[GeneratorError]:
    openapi = GeneratorData.from_dict(document, config=config)
    if isinstance(openapi, GeneratorError):
        return [openapi]
    project = generator.Project(
        openapi=openapi,
        config=config,
        custom_template_path=spec_dir / "codegen" / "templates",
    )
    enums, models = classes(openapi)
    if {"Job", "JobPage"} - {model.name for model in models if model.members}:
        return [GeneratorError(header="Lost", detail="Job or JobPage has no members")]
    operation = document["paths"][revision.path]["get"]
    project.env.filters.update(FILTERS)
    project.env.globals.update(
        revision=revision,
        enums=enums,
        models=models,
        description=str(document["info"].get("description", "")),
        arguments_docstring=docstring(
            f"{operation.get('summary', '')}.",
            4,
            more=str(operation.get("description", "")),
            arguments=[(one.keyword, one.words) for one in revision.parameters],
        ),
    )
    return project.build()


def _tidy(package: Path) -> None:
    # Our template puts all classes into models/__init__.py; drop the other files.
    written = (package / "models" / "__init__.py").read_bytes()
    shutil.rmtree(package / "models")
    (package / "models.py").write_bytes(written)


def _render_template(spec_dir: Path, template: str, revisions: Sequence[Fragment]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(spec_dir / "codegen" / "package"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(FILTERS)
    newest = revisions[-1].document
    return environment.get_template(template).render(
        revisions=revisions,
        parameters=_all_parameters(revisions),
        operation=OPERATION,
        changes={one.date: changes_between(one.document, newest) for one in revisions},
        python_name=python_name,
        in_python=in_python,
    )


def _all_parameters(revisions: Sequence[Fragment]) -> list[Parameter]:
    """The parameters of all revisions, each as in the newest revision that has it."""
    found = {one.keyword: one for revision in revisions for one in revision.parameters}
    return sorted(found.values(), key=lambda one: (one.place != "query", one.keyword))


def _stamp(package: Path, revisions: Sequence[Fragment]) -> None:
    sources = {revision.package: f"spec/{revision.file.name}" for revision in revisions}
    sources |= {name: f"spec/codegen/templates/{name}.jinja" for name in RUNTIME}
    for file in package.rglob("*.py"):
        source = sources.get(file.relative_to(package).parts[0], "spec/*.yaml")
        text = file.read_text(encoding="utf-8")
        stamp = f"# Generated by scripts/regenerate from {source}. Do not edit.\n"
        file.write_text(stamp + text, encoding="utf-8")


def _format(package: Path) -> None:
    for command in _RUFF:
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *_RUFF_OPTIONS],
            cwd=package.parent,  # Inside the package, types.py would hide the standard module.
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise GenerationError(f"ruff {command[0]} on the generated tree:\n{done.stderr}")


def _differences(tree: dict[str, bytes], target: Path) -> dict[str, str]:
    found = _files(target)
    edited = [name for name in tree.keys() & found.keys() if tree[name] != found[name].read_bytes()]
    return {
        **dict.fromkeys(tree.keys() - found.keys(), "is missing"),
        **dict.fromkeys(found.keys() - tree.keys(), "is stale: nothing in spec/ makes it"),
        **dict.fromkeys(edited, "differs from what spec/ makes"),
    }


def _files(target: Path) -> dict[str, Path]:
    return {
        file.relative_to(target).as_posix(): file
        for file in target.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def _remove_if_empty(folder: Path, target: Path) -> None:
    while folder != target and all(child.name == "__pycache__" for child in folder.iterdir()):
        shutil.rmtree(folder)
        folder = folder.parent


def main(root: Path, arguments: Sequence[str]) -> int:
    """The command scripts/regenerate: 0 done or up to date, 1 out of date or failed, 2 usage."""
    parser = argparse.ArgumentParser(prog="regenerate", description="Write generated/ from spec/.")
    parser.add_argument("--check", action="store_true", help="write nothing, report what differs")
    only_check = parser.parse_args(arguments).check
    spec_dir, target = root / "spec", root / "generated"
    try:
        if only_check:
            return _report_check(check(spec_dir, target))
        changed = generate(spec_dir, target)
    except (FragmentError, GenerationError) as error:
        print(f"regenerate: nothing was written: {error}", file=sys.stderr)
        return 1
    for name in changed:
        print(f"{'wrote' if (target / name).exists() else 'removed'} {target.name}/{name}")
    print(f"generated/ is what spec/ makes ({len(changed)} files changed)")
    return 0


def _report_check(found: list[str]) -> int:
    if not found:
        print("generated/ is what spec/ makes, byte for byte")
        return 0
    for line in found:
        print(line, file=sys.stderr)
    print("Changes belong in spec/; then run scripts/regenerate.", file=sys.stderr)
    return 1

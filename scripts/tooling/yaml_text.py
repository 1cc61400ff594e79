"""Edits YAML in place, line by line, so that comments, order and spelling of all else stay."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

Path: TypeAlias = "tuple[str | int, ...]"

# The loader lets through whatever int(), date() and the like raise for text that they do not read.
NO_YAML = (YAMLError, LookupError, RecursionError, TypeError, ValueError)

_MISREAD = re.compile(r"^(null|true|false|[\d.:_-]+)$|^#|\[")


def yaml_fault(error: Exception) -> str:
    """What is wrong with a text that is no YAML, in one line that says where if that is known."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return f"{type(error).__name__}: {error}".partition("\n")[0]


class YamlText:
    """A YAML document as text. Paths are the keys and list positions that lead to a value."""

    def __init__(self, text: str) -> None:
        self._read(text.splitlines())

    def _read(self, lines: list[str]) -> None:
        self._lines = lines
        self._root: Node = YAML().compose(io.StringIO(self.text))
        self.data: Any = YAML(typ="safe").load(self.text)

    @property
    def text(self) -> str:
        """The document as it stands now."""
        return "\n".join(self._lines) + "\n"

    def get(self, path: Path) -> Any:
        """The plain value at `path`, None when there is none."""
        found = self.data
        for step in path:
            try:
                found = found[step]
            except (KeyError, IndexError, TypeError):
                return None
        return found

    def remove(self, paths: Iterable[Path]) -> None:
        """Take values out, with the comments right above them.

        A mapping or a list that is left empty goes as well.
        """
        doomed = self._with_emptied_parents(set(paths))
        for start, end in sorted({self._span(path) for path in doomed}, reverse=True):
            start = self._comments_above(start)
            del self._lines[start:end]
            if 0 < start < len(self._lines) and not (self._lines[start] or self._lines[start - 1]):
                del self._lines[start]
        self._read(self._lines)

    def _with_emptied_parents(self, paths: set[Path]) -> set[Path]:
        for path in sorted(paths, key=len, reverse=True):
            parent = path[:-1]
            children = self.get(parent)
            steps = range(len(children)) if isinstance(children, list) else children
            if parent and all((*parent, step) in paths for step in steps):
                return self._with_emptied_parents(
                    {one for one in paths if one[: len(parent)] != parent} | {parent}
                )
        return {path for path in paths if not any(path[:n] in paths for n in range(len(path)))}

    def set(self, path: Path, value: Any) -> None:
        """Write `value` at `path`, in the place of the old one or else behind its last sibling."""
        if self.get(path) is None and path[-1] not in (self.get(path[:-1]) or {}):
            self.insert(path[:-1], path[-1], value)
            return
        start, end = self._span(path)
        column = self._key_column(path)
        prefix = self._lines[start][:column]
        lines = _rendered({path[-1]: value}, column)
        self._lines[start:end] = [prefix + lines[0].lstrip(), *lines[1:]]
        self._read(self._lines)

    def insert(
        self,
        parent: Path,
        key: str | int,
        value: Any,
        *,
        after: str | int | None = None,
        blank: bool = False,
    ) -> None:
        """Add a key to the mapping at `parent`: behind `after`, or as the last one."""
        siblings: list[str | int] = list(self.get(parent))
        sibling = after if after is not None and after in siblings else siblings[-1]
        end = self._span((*parent, sibling))[1]
        lines = _rendered({key: value}, self._key_column((*parent, sibling)))
        self._lines[end:end] = ["", *lines] if blank else lines
        self._read(self._lines)

    def append(self, path: Path, values: Iterable[Any], *, after: int = -1) -> None:
        """Add items to the list at `path`, behind the last one or the one with position `after`."""
        items = self._node(path)
        if _on_one_line(items):
            self.set(path, flow([*self.get(path), *values]))
            return
        last = items.value[after]
        end = self._span((*path, len(items.value) - 1 if after < 0 else after))[1]
        dash = self._lines[last.start_mark.line].rindex("-", 0, last.start_mark.column)
        for value in values:
            lines = _rendered([value], dash)
            self._lines[end:end] = lines
            end += len(lines)
        self._read(self._lines)

    def update_list(self, path: Path, values: list[Any]) -> None:
        """Make the list at `path` hold exactly `values`; the items it keeps stay where they are."""
        ours = self.get(path) or []
        kept = [value for value in ours if value in values]
        came = [quoted(value) for value in values if value not in ours]
        if not kept or _on_one_line(self._node(path)):
            self.set(path, flow([*kept, *came]))
            return
        if came:
            self.append(path, came)
        self.remove((*path, n) for n, value in enumerate(ours) if value not in values)

    def rename(self, path: Path, key: str) -> None:
        """Give the last key of `path` another name."""
        node = self._key(path)
        line = self._lines[node.start_mark.line]
        start, end = node.start_mark.column, node.end_mark.column
        spelled = _rendered({key: 0}, 0)[0].removesuffix(": 0")
        self._lines[node.start_mark.line] = line[:start] + spelled + line[end:]
        self._read(self._lines)

    def _node(self, path: Path) -> Node:
        node: Node = self._root
        for step in path:
            if isinstance(node, SequenceNode):
                node = node.value[step]
            else:
                node = next(value for key, value in node.value if key.value == str(step))
        return node

    def _key(self, path: Path) -> Node:
        parent = self._node(path[:-1])
        if isinstance(parent, MappingNode):
            key: Node = next(key for key, _ in parent.value if key.value == str(path[-1]))
            return key
        item: Node = parent.value[path[-1]]
        return item

    def _key_column(self, path: Path) -> int:
        column: int = self._key(path).start_mark.column
        return column

    def _span(self, path: Path) -> tuple[int, int]:
        start, end = self._key(path).start_mark.line, _last_line(self._node(path))
        while end > start and not self._is_content(end):
            end -= 1
        return start, end + 1

    def _is_content(self, number: int) -> bool:
        line = self._lines[number].strip() if number < len(self._lines) else ""
        return bool(line) and not line.startswith("#")

    def _comments_above(self, start: int) -> int:
        column = len(self._lines[start]) - len(self._lines[start].lstrip())
        while start and self._lines[start - 1].startswith(" " * column + "#"):
            start -= 1
        return start


def _on_one_line(node: Node) -> bool:
    return isinstance(node, MappingNode | SequenceNode) and bool(node.flow_style)


def _last_line(node: Node) -> int:
    if not isinstance(node, ScalarNode) and not _on_one_line(node) and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(node, MappingNode) else last)
    line: int = node.end_mark.line
    # A block scalar ends where the next line starts.
    block = isinstance(node, ScalarNode) and node.style in ("|", ">")
    return line - 1 if block and not node.end_mark.column else line


def flow(values: Iterable[Any]) -> CommentedSeq:
    """A list to be written on one line."""
    sequence = CommentedSeq(quoted(value) for value in values)
    sequence.fa.set_flow_style()
    return sequence


def quoted(value: Any) -> Any:
    """Text that YAML would or a reader might take for something else, in double quotes."""
    if isinstance(value, str) and _MISREAD.search(value):
        return DoubleQuotedScalarString(value)
    return value


def _rendered(value: Any, column: int) -> list[str]:
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 100 - column
    out = io.StringIO()
    yaml.dump(value, out)
    lines = out.getvalue().splitlines()
    if isinstance(value, list):
        lines = [line[2:] for line in lines]
    return [" " * column + line if line else line for line in lines]

"""Reads and writes the YAML of a fragment; what was not edited keeps its spelling.

ruamel.yaml keeps quotes and styles. But it attaches a comment to the node before it, and removes it
with that node. So comments are taken out here, and put back above the node that follows them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from attrs import field, frozen
from ruamel.yaml import YAML
from ruamel.yaml.comments import Comment, CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, ScalarString

Container: TypeAlias = "CommentedMap | CommentedSeq"

# The loader does not catch what int(), date() and the like raise for invalid text.
NO_YAML = (YAMLError, AttributeError, LookupError, RecursionError, TypeError, ValueError)

_MISREAD = re.compile(r"^(null|true|false|[\d.:_-]+)$|^#|\[")


def yaml_fault(error: Exception) -> str:
    """The error in a text that is not YAML, in one line, with its line number if known."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return f"{type(error).__name__}: {error}".partition("\n")[0]


@frozen
class RoundTrip:
    """A document to edit in place, with the comments and blank lines above and beside its parts."""

    data: CommentedMap
    _above: dict[tuple[int, Any], list[str]] = field(factory=dict)
    _beside: dict[tuple[int, Any], str] = field(factory=dict)
    # Keeps removed containers alive: their id() must not be used again.
    _parents: list[Container] = field(factory=list)

    @classmethod
    def of(cls, text: str) -> RoundTrip:
        """Read a document, which must be a mapping."""
        found = cls(_yaml().load(text))
        lines, taken = text.splitlines(), set[int]()
        for container, key, line in _parts(found.data):
            start = line
            while start and start - 1 not in taken and _is_remark(lines[start - 1]):
                start -= 1
            taken.update(range(start, line + 1))
            if start < line:
                found._above[_name(container, key)] = lines[start:line]
            beside = _remark_beside(container, key, line)
            if beside:
                found._beside[_name(container, key)] = beside
        found._parents.extend({id(one): one for one, _, _ in _parts(found.data)}.values())
        for container in found._parents:
            setattr(container, Comment.attrib, Comment())
        return found

    @property
    def text(self) -> str:
        """The document in its current state."""
        out = io.StringIO()
        _yaml().dump(self.data, out)
        lines = out.getvalue().splitlines()
        places = [line for _, _, line in _parts(_yaml().load(out.getvalue()))]
        ours = [(container, key) for container, key, _ in _parts(self.data)]
        for (container, key), line in reversed(list(zip(ours, places, strict=True))):
            name = _name(container, key)
            if name in self._beside:
                lines[line] += f" {self._beside[name]}"
            lines[line:line] = self._above.get(name, [])
        return "\n".join(lines) + "\n"

    def insert(
        self, parent: CommentedMap, key: str, value: Any, *, after: str | None = None
    ) -> None:
        """Add a key to a mapping, behind `after` or at the end.

        It gets a blank line above if the last key of the mapping has one.
        """
        keys = list(parent)
        neighbour = after if after in keys else keys[-1] if keys else None
        parent.insert(keys.index(neighbour) + 1 if keys else 0, quoted(key), value)
        above = self._above.get((id(parent), keys[-1]), []) if keys else []
        if "" in above:
            self._above[id(parent), key] = [""]

    def rename(self, parent: CommentedMap, key: str, name: str) -> None:
        """Rename a key and keep its position."""
        position, value = list(parent).index(key), parent.pop(key)
        parent.insert(position, quoted(name), value)
        if (id(parent), key) in self._above:
            self._above[id(parent), name] = self._above.pop((id(parent), key))


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 120
    return yaml


def _parts(data: Any) -> Iterator[tuple[Container, Any, int]]:
    """All keys and items in the order of the text, with their lines as read."""
    positions = data.lc.data or {}
    for key in data if isinstance(data, CommentedMap) else range(len(data)):
        yield data, key, positions[key][0] if key in positions else 0
        if isinstance(data[key], CommentedMap | CommentedSeq):
            yield from _parts(data[key])


def _name(container: Container, key: Any) -> tuple[int, Any]:
    # List items are identified by the item, since their positions change.
    if isinstance(container, CommentedMap):
        return id(container), key
    item = container[key]
    return (id(item), None) if isinstance(item, dict | list) else (id(container), item)


def _is_remark(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _remark_beside(container: Container, key: Any, line: int) -> str:
    for token in container.ca.items.get(key, ()):
        for one in token if isinstance(token, list) else [token]:
            if one is not None and one.start_mark.line == line and one.value.startswith("#"):
                return str(one.value).partition("\n")[0]
    return ""


# The spelling of values in fragments ------------------------------------------------------------


def flow(values: Iterable[Any]) -> CommentedSeq:
    """A list to be written on one line."""
    sequence = CommentedSeq(quoted(value) for value in values)
    sequence.fa.set_flow_style()
    return sequence


def quoted(value: Any) -> Any:
    """The value; text that looks like another YAML type is put in double quotes."""
    if isinstance(value, str) and not isinstance(value, ScalarString) and _MISREAD.search(value):
        return DoubleQuotedScalarString(value)
    return value


def spelled(value: Any) -> Any:
    """A copy of a plain value, spelled as in the handwritten fragments."""
    if isinstance(value, dict):
        return CommentedMap((quoted(key), spelled(one)) for key, one in value.items())
    if isinstance(value, list | tuple):
        scalars = not any(isinstance(one, dict | list | tuple) for one in value)
        if scalars and not (isinstance(value, CommentedSeq) and not value.fa.flow_style()):
            return flow(value)
        return CommentedSeq(spelled(one) for one in value)
    return quoted(value)

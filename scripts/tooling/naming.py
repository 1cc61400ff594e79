"""Names for components that upstream adds."""

from __future__ import annotations

from collections.abc import Container

# These names need the name of their owner in front.
_VAGUE = frozenset({"attributes", "data", "errors", "included", "links", "meta", "source"})
_ROOTS = {"200": "Page", "200.data[]": "Job", "4XX": "Error", "5XX": "Error"}


def component_name(where: str, taken: Container[str]) -> str:
    """A free name for the object at `where`: `200.meta` is `PageMeta`.

    It depends on the place only, so that renamed components upstream do not change our names.
    """
    parent, _, last = where.rstrip("[]").rpartition(".")
    word = _pascal(_singular(last) if where.endswith("[]") else last)
    if not parent:
        name = f"Answer{last}"
    elif parent.endswith(".relationships"):
        name = _pascal(_singular(last)) + "Relationship"
    elif ".relationships." in where and where.endswith(".data[]"):
        name = _pascal(_singular(parent.rpartition(".")[2])) + "Reference"
    elif ".relationships." in where and last == "links":
        name = "RelationshipLinks"
    elif last in _VAGUE or last == "relationships":
        owner = _ROOTS.get(parent) or _pascal(_singular(parent.rstrip("[]").rpartition(".")[2]))
        name = owner + word
    else:
        name = word
    if name not in taken:
        return name
    return next(f"{name}{number}" for number in range(2, 1000) if f"{name}{number}" not in taken)


def _singular(word: str) -> str:
    return f"{word[:-3]}y" if word.endswith("ies") else word.removesuffix("s")


def _pascal(word: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in word.replace("-", "_").split("_"))

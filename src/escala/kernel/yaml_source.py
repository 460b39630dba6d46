"""A YAML file as plain data in which every value remembers where it was written."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

from escala.errors import ConfigError
from escala.kernel.environment import substituted
from escala.kernel.plain_scalar import resolved
from escala.kernel.problem import BROKEN, Mark, Path, Problem
from escala.kernel.yaml_nodes import LARGEST_FILE, Node, nodes


class Document:
    """Plain data (`value`), the marks of all of it, and the problems found so far.

    A `Source` for the reader. `${NAME}` in values is replaced from the environment; the text as
    it was written stays known, so that errors show the name and not what it stands for.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.value: Any = None
        self.problems: list[Problem] = []
        self.marks: dict[Path, Mark] = {(): Mark(source=name)}
        self.key_marks: dict[Path, Mark] = {}
        self.written: dict[Path, str] = {}

    def mark(self, path: Path, *, key: bool = False) -> Mark:
        """Where this was written, or the nearest thing around it."""
        if key and path in self.key_marks:
            return self.key_marks[path]
        while path not in self.marks:
            path = path[:-1]
        return self.marks[path]

    def spelled(self, path: Path) -> str | None:
        """The text as written of a value that the environment supplied."""
        return self.written.get(path)

    def report(self, mark: Mark, path: Path, message: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(mark=mark, path=path, message=message))


def load_yaml(path: str | PathLike[str], environ: Mapping[str, str]) -> Document:
    """Read a YAML file. Raises `ConfigError` when it cannot be read or is no YAML."""
    name = fspath(path)
    try:
        with open(name, "rb") as file:  # noqa: PTH123  the name stays as the user wrote it
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"{name}: expected a readable file, found: {reason}") from None
    return parse_yaml(data, name, environ)


def parse_yaml(data: bytes, name: str, environ: Mapping[str, str]) -> Document:
    """The document in this text; problems that leave the rest readable are collected in it."""
    root, problems = nodes(data, name)
    document = Document(name)
    document.problems += problems
    if root is not None:
        document.value = _Planting(document, environ).plant(root, ())
    return document


class _Planting:
    """Writes nodes into a document. Recursion is safe: the depth of nodes is bounded."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self.document, self.environ = document, environ

    def plant(self, node: Node, path: Path) -> Any:  # noqa: ANN401  plain data
        self.document.marks[path] = node.mark
        if node.kind == "missing":
            return BROKEN
        if node.kind == "scalar":
            return self._scalar(node, path)
        if node.kind == "list":
            return [self.plant(item, (*path, at)) for at, item in enumerate(node.items)]
        return {
            key: self._entry(key_mark, item, (*path, key))
            for key, (key_mark, item) in self._entries(node, path).items()
        }

    def _entry(self, key_mark: Mark, item: Node, path: Path) -> Any:  # noqa: ANN401  plain data
        self.document.key_marks[path] = key_mark
        return self.plant(item, path)

    def _scalar(self, node: Node, path: Path) -> Any:  # noqa: ANN401  plain data
        if "${" not in node.text:
            return resolved(node.text) if node.plain else node.text
        text, missing = substituted(node.text, self.environ)
        for message in missing:
            self.document.report(node.mark, path, message)
        self.document.written[path] = node.text
        return BROKEN if missing else text

    def _entries(self, node: Node, path: Path) -> dict[str, tuple[Mark, Node]]:
        """Keys with what they hold; what is merged in with `<<` yields to keys written here."""
        own: dict[str, tuple[Mark, Node]] = {}
        merged: dict[str, tuple[Mark, Node]] = {}
        for key, item in zip(node.items[::2], node.items[1::2], strict=True):
            if key.kind != "scalar":
                self.document.report(key.mark, path, f"expected text as a key, found a {key.kind}")
            elif key.text == "<<" and key.plain:
                for each in item.items if item.kind == "list" else [item]:
                    if each.kind == "mapping":
                        merged = {**self._entries(each, path), **merged}
                    else:
                        found = f"expected a mapping to merge, found a {each.kind}"
                        self.document.report(each.mark, path, found)
            elif key.text in own:
                first = own[key.text][0].line
                message = (
                    f"expected each key once, found {key.text!r} again (first in line {first})"
                )
                self.document.report(key.mark, path, message)
            else:
                own[key.text] = (key.mark, item)
        return {**merged, **own}

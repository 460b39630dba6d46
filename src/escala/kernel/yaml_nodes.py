"""YAML text as nodes that remember line and column; what is dangerous in YAML ends here.

Built on the parser's flat stream of events instead of its own tree: no recursion, so no depth
of nesting can exhaust the stack; aliases are counted as if written out, so a small file cannot
stand for a huge one; and no tag can make an object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, NoReturn

import msgspec

from escala.errors import ConfigError
from escala.kernel.problem import Mark, Problem
from escala.kernel.wrong_value import shown

LARGEST_FILE = 1024 * 1024
MOST_NODES = 100_000
DEEPEST = 40
_TOO_DEEP = f"expected at most {DEEPEST} levels of nesting, found more"

_FORBIDDEN = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TEXT_TAGS = {"!", "tag:yaml.org,2002:str"}
_COLLECTION_TAGS = {None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


class Node(msgspec.Struct, kw_only=True, eq=False):
    """A scalar, list or mapping; `size` and `depth` are those with all aliases written out.

    An alias of nothing is a node of the kind "missing".
    """

    kind: Literal["scalar", "list", "mapping", "missing"]
    mark: Mark
    text: str = ""
    plain: bool = False
    items: list[Node] = []
    size: int = 1
    depth: int = 1


def nodes(data: bytes, name: str) -> tuple[Node | None, list[Problem]]:
    """The one document in this text, `None` when there is none, and what is wrong with it.

    Raises `ConfigError` when the text is no YAML at all, or more than any configuration needs.
    """
    if len(data) > LARGEST_FILE:
        _refuse(Mark(source=name), f"expected at most {LARGEST_FILE} bytes, found more")
    text = _decoded(data, name)
    builder = _Builder(name)
    for event in _events(text, name):
        builder.take(event)
    return builder.root, builder.problems


class _Builder:
    """Takes events one by one; open collections are on a stack."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._open: list[tuple[Node, str | None]] = []
        self._anchors: dict[str, Node] = {}

    def take(self, event: Any) -> None:  # noqa: ANN401  PyYAML's own classes
        mark = _mark(self.name, event.start_mark)
        match type(event).__name__:
            case "ScalarEvent":
                text_tag = event.tag in _TEXT_TAGS
                plain = event.implicit[0] and not text_tag
                node = Node(kind="scalar", mark=mark, text=event.value, plain=plain)
                if not text_tag:
                    self._tag(event.tag, mark)
                self._add(node, event.anchor, mark)
            case "MappingStartEvent" | "SequenceStartEvent" as kind:
                if event.tag not in _COLLECTION_TAGS:
                    self._tag(event.tag, mark)
                node = Node(kind="mapping" if kind[0] == "M" else "list", mark=mark, items=[])
                self._open.append((node, event.anchor))
                if len(self._open) > DEEPEST:  # at once: parsers take long over what is deep
                    self._too_deep(mark)
            case "MappingEndEvent" | "SequenceEndEvent":
                node, anchor = self._open.pop()
                self._add(node, anchor, node.mark)
            case "AliasEvent":
                self._alias(event.anchor, mark)
            case "DocumentStartEvent" if self.root is not None:
                _refuse(mark, "expected one YAML document, found a second one")
            case _:
                pass  # the ends of documents and the stream

    def _alias(self, anchor: str, mark: Mark) -> None:
        node = self._anchors.get(anchor)
        if node is None:
            self._report(mark, f"expected an anchor '&{anchor}' before its alias, found none")
            node = Node(kind="missing", mark=mark)
        self._add(node, None, mark)

    def _add(self, node: Node, anchor: str | None, mark: Mark) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._open:
            self.root = node
            return
        parent = self._open[-1][0]
        parent.items.append(node)
        parent.size += node.size
        parent.depth = max(parent.depth, node.depth + 1)
        if parent.size > MOST_NODES:
            found = "found more (an alias counts as if written out)"
            _refuse(mark, f"expected at most {MOST_NODES} values, {found}")
        if parent.depth > DEEPEST:
            self._too_deep(mark)

    def _too_deep(self, mark: Mark) -> NoReturn:
        _refuse(mark, _TOO_DEEP)

    def _tag(self, tag: str | None, mark: Mark) -> None:
        if tag is not None:
            written = tag.replace("tag:yaml.org,2002:", "!!")
            self._report(mark, f"expected a plain value, found the tag {written}")

    def _report(self, mark: Mark, message: str) -> None:
        self.problems.append(Problem(mark=mark, message=message))


def _events(text: str, name: str) -> Iterator[Any]:
    try:
        import yaml
    except ImportError:
        missing = 'reading YAML needs PyYAML, which is not installed: pip install "escala[serve]"'
        raise ConfigError(f"{name}: {missing}") from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        yield from yaml.parse(text, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = _mark(name, mark) if mark else Mark(source=name)
        reason = getattr(error, "problem", None) or str(error)
        if "nesting depth" in reason:  # libyaml 0.2.6 has a limit of its own, and looks ahead
            _refuse(place, _TOO_DEEP)
        _refuse(place, f"expected YAML, found an error in it: {reason}")


def _decoded(data: bytes, name: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        _refuse(
            _place(name, before), f"expected UTF-8 text, found the byte 0x{data[error.start]:02x}"
        )
    if odd := _FORBIDDEN.search(text):
        _refuse(
            _place(name, text[: odd.start()]), f"expected printable text, found {shown(odd[0])}"
        )
    return text


def _place(name: str, before: str) -> Mark:
    line = before.count("\n") + 1
    return Mark(source=name, line=line, column=len(before) - before.rfind("\n"))


def _mark(name: str, mark: Any) -> Mark:  # noqa: ANN401  PyYAML's own class
    return Mark(source=name, line=mark.line + 1, column=mark.column + 1)


def _refuse(mark: Mark, message: str) -> NoReturn:
    raise ConfigError(f"{mark}: {message}")

"""Every example in the documentation runs, and every stack in it passes `escala check`."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)[^\n]*\n(?P<body>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Example:
    page: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def examples() -> Iterator[Example]:
    for page in PAGES:
        text = page.read_text() if page.exists() else ""
        for block in FENCE.finditer(text):
            indent = len(block["indent"])
            body = "".join(line[indent:] or "\n" for line in block["body"].splitlines(True))
            line = text.count("\n", 0, block.start("body")) + 1
            yield Example(page, line, block["language"], body)


EXAMPLES = list(examples())
PYTHON = [each for each in EXAMPLES if each.language == "python"]
STACK = re.compile(r"^listen:", re.MULTILINE)
STACKS = [each for each in EXAMPLES if each.language == "yaml" and STACK.search(each.text)]


def test_there_are_examples() -> None:
    assert PYTHON
    assert STACKS


@pytest.mark.live  # a reader runs them in real time, and so does this: a retry's short wait is real
@pytest.mark.parametrize("example", PYTHON, ids=lambda each: each.name)
def test_python_example_runs(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    # A module of its own, so that annotations resolve; blank lines, so that tracebacks point
    # into the page.
    module = types.ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", module)
    source = "\n" * (example.line - 1) + example.text
    exec(compile(source, str(example.page), "exec", dont_inherit=True), vars(module))  # noqa: S102


@pytest.mark.parametrize("example", STACKS, ids=lambda each: each.name)
def test_stack_example_is_valid(
    example: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from escala.cli import main

    stack = tmp_path / "stack.yaml"
    stack.write_text(example.text)
    code: str | int | None
    try:
        code = main(["check", str(stack)])
    except SystemExit as left:
        code = left.code
    assert not code, capsys.readouterr()

"""Configuration from environment variables: `${NAME}` in a file, and fields laid over it.

`ESCALA__upstreams__shop__health__interval=1s` sets the field at that path: two underscores are
a step, upper and lower case are the same, `-` in a name may be written `_`, and a number picks
an item of a list that is there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from escala.kernel.problem import Mark, Path
from escala.kernel.wrong_value import shown

if TYPE_CHECKING:
    from escala.kernel.yaml_source import Document

PREFIX = "ESCALA__"

_REFERENCE = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}]*)?\})?")


def substituted(text: str, environ: Mapping[str, str]) -> tuple[str, list[str]]:
    """The text with `${NAME}` and `${NAME:-default}` replaced, and what was missing.

    The default also stands for a variable that is empty, as in a shell; `$${` is a plain `${`.
    """
    missing: list[str] = []

    def value(reference: re.Match[str]) -> str:
        name, default = reference["name"], reference["default"]
        if reference[0] == "$${":
            return "${"
        if name is None:
            missing.append(f"expected ${{NAME}} or ${{NAME:-default}}, found {shown(text)}")
        elif default is not None:
            return environ.get(name) or default.removeprefix(":-")
        elif name not in environ:
            missing.append(f"expected the environment variable {name} to be set, found it unset")
        else:
            return environ[name]
        return ""

    return _REFERENCE.sub(value, text), missing


def overlay(document: Document, environ: Mapping[str, str]) -> None:
    """Lay every `ESCALA__…` variable over the document; what does not fit is reported in it."""
    seen: dict[Path, str] = {}
    for name in sorted(each for each in environ if each.upper().startswith(PREFIX)):
        mark = Mark(source=name)
        steps = name[len(PREFIX) :].lower().split("__")
        if not all(steps):
            message = f"expected {PREFIX}field__field, found an empty step"
            document.report(mark, (), message)
            continue
        path = _set(document, steps, environ[name], mark)
        if path in seen:
            document.report(mark, path, f"expected one variable, found {seen[path]} as well")
        elif path:
            seen[path] = name


def _set(document: Document, steps: list[str], text: str, mark: Mark) -> Path:
    """Put the text at the path that these steps name; returns that path, () if there is none."""
    if document.value is None:
        document.value = {}
    path: Path = ()
    at = document.value
    for step in steps[:-1]:
        key = _key(at, step)
        if key is None:
            return _misfit(document, at, step, path, mark)
        if isinstance(at, dict) and at.get(key) is None:
            at[key] = {}
            document.marks[(*path, key)] = document.key_marks[(*path, key)] = mark
        at, path = at[key], (*path, key)
    key = _key(at, steps[-1])
    if key is None:
        return _misfit(document, at, steps[-1], path, mark)
    at[key], path = text, (*path, key)
    document.marks[path] = document.key_marks[path] = mark
    document.written[path] = text
    return path


def _key(at: Any, step: str) -> Any:  # noqa: ANN401  plain data
    """The key or index that a step means here, `None` if it cannot mean one."""
    if isinstance(at, list):
        return next((index for index in range(len(at)) if str(index) == step), None)
    if not isinstance(at, dict):
        return None
    folded = step.replace("-", "_")
    return next((key for key in at if key.lower().replace("-", "_") == folded), step)


def _misfit(document: Document, at: Any, step: str, path: Path, mark: Mark) -> Path:  # noqa: ANN401  plain data
    if isinstance(at, list):
        last = len(at) - 1
        expected = f"an index from 0 to {last}" if at else "a list that is not empty"
    else:
        expected, step = "a mapping", document.spelled(path) or at
    document.report(mark, path, f"expected {expected}, found {shown(step)}")
    return ()

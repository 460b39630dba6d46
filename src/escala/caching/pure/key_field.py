"""Reads a template such as "order:{order.id}" into its fields, and refuses what is ambiguous."""

from __future__ import annotations

from keyword import iskeyword
from string import Formatter
from typing import NamedTuple

from escala.errors import ConfigError
from escala.kernel.wrong_value import shown


class Field(NamedTuple):
    """One "{path}" and the text before it; the last of a template may be text alone."""

    before: str
    path: str

    @property
    def root(self) -> str:
        """The argument: "order" of "order.id"."""
        return self.path.partition(".")[0]


def fields_of(template: str) -> tuple[Field, ...]:
    """The fields of a template. Raises `ConfigError` that says what is wrong with it.

    Between two fields there must be a ":", which no value's text holds; else "{a}{b}" would be
    the same for "1", "23" and "12", "3". Braces are doubled to stand for themselves.
    """
    if not isinstance(template, str):
        raise ConfigError(f"key: expected text such as 'user:{{id}}', found {shown(template)}")
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(f"{shown(template)}: {error}; double a brace to mean itself") from error
    fields: list[Field] = []
    before = ""
    for text, path, spec, conversion in parsed:
        before += text
        if path is None:
            continue
        if fields and ":" not in before:
            raise ConfigError(
                f"{shown(template)}: expected ':' between {{{fields[-1].path}}} and {{{path}}}; "
                "without it two different calls could have one key"
            )
        if spec or conversion or not _is_path(path):
            raise ConfigError(
                f"{shown(template)}: expected an argument such as {{id}} or {{order.id}}; found "
                f"{_spelled(path, spec, conversion)}"
            )
        fields.append(Field(before, path))
        before = ""
    if "%" in "".join([field.before for field in fields]) + before:
        raise ConfigError(f"{shown(template)}: expected no '%' beside the arguments, found one")
    if before:
        fields.append(Field(before, ""))
    return tuple(fields)


def _is_path(path: str) -> bool:
    return all(part.isidentifier() and not iskeyword(part) for part in path.split("."))


def _spelled(path: str, spec: str | None, conversion: str | None) -> str:
    marks = (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
    return f"{{{path}{marks}}}"

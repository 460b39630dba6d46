"""Writes the function that builds a key, with the signature of the function it is for.

So that a hit pays for a call and an f-string, and not for binding arguments by name. Only names
that Python itself takes for identifiers get into the code; all else is a value beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import Parameter, Signature, signature
from typing import Any

from escala.caching.pure.key_field import Field
from escala.caching.pure.key_text import LONGEST, shortened, value_text, values_text
from escala.errors import ConfigError

_STARS: dict[Any, str] = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}


class KeyCode:
    """The code of one function: its lines, and the values that it uses by name.

    `more`: names that the code has beside the function's arguments.
    """

    def __init__(self, fn: Callable[..., Any], *more: str) -> None:
        self.fn_name: str = getattr(fn, "__name__", type(fn).__name__)
        try:
            self.signature: Signature = signature(fn)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{self.fn_name}: {error}; wrap it in a function") from error
        self.own = "_escala_"
        while any(name.startswith(self.own) for name in (*self.parameters, *more)):
            self.own += "_"
        self.lines: list[str] = []
        known = {"type": type, "len": len, "int": int, "str": str, "text": value_text}
        known |= {"texts": values_text, "short": shortened}
        self.values: dict[str, Any] = {self.own + name: value for name, value in known.items()}

    @property
    def parameters(self) -> dict[str, Parameter]:
        """What the function takes, by name."""
        return dict(self.signature.parameters)

    def check(self, template: str, fields: Iterable[Field], *more: str) -> None:
        """Refuse fields that name nothing."""
        named = {field.root for field in fields if field.path}
        if unknown := sorted(named - {*self.parameters, *more}):
            takes = ", ".join([*self.parameters, *more]) or "nothing"
            raise ConfigError(
                f"{template!r}: expected arguments of {self.fn_name}, which takes {takes}; "
                f"found {', '.join(unknown)}"
            )

    def check_all(self, template: str, fields: Iterable[Field], *more: str) -> None:
        """Also refuse arguments of any number that the key would not tell apart."""
        self.check(template, fields, *more)
        named = {field.path for field in fields}
        for name, parameter in self.parameters.items():
            stars = _STARS.get(parameter.kind, "")
            if stars == "**" or (stars and name not in named):
                raise ConfigError(
                    f"{template!r}: expected a function whose arguments can be named; found "
                    f"{stars}{name} of {self.fn_name}, which may hold what the key does not"
                )

    def key(self, fields: tuple[Field, ...], number: int, indent: str = "    ") -> str:
        """Add the lines that build one key, and say the name that it has then."""
        own, text = self.own, ""
        for at, field in enumerate(fields):
            text += field.before.replace("{", "{{").replace("}", "}}")
            if not field.path:
                continue
            name = f"{own}{number}_{at}"
            text += f"{{{name}}}"
            parameter = self.parameters.get(field.path)
            if parameter is not None and parameter.kind is Parameter.VAR_POSITIONAL:
                self.lines.append(f"{indent}{name} = {own}texts({field.path}, {field.path!r})")
                continue
            other = f"{own}type({name}) is not {own}str or ':' in {name} or '%' in {name}"
            self.lines += [
                f"{indent}{name} = {field.path}",
                f"{indent}if {own}type({name}) is not {own}int and ({other}):",
                f"{indent}    {name} = {own}text({name}, {field.path!r})",
            ]
        key = f"{own}key{number}"
        self.lines += [
            f"{indent}{key} = f{text!r}",
            f"{indent}if {own}len({key}) > {LONGEST}:",
            f"{indent}    {key} = {own}short({key})",
        ]
        return key

    def made(self, *before: str) -> Callable[..., Any]:
        """The function. `before` are arguments by position that stand before the others."""
        source = [f"def {self.own}made({self._takes(before)}):", *self.lines]
        exec(compile("\n".join(source), "<escala key>", "exec"), self.values)  # noqa: S102
        made: Callable[..., Any] = self.values[self.own + "made"]
        made.__name__ = made.__qualname__ = self.fn_name
        return made

    def passed_on(self, **instead: str) -> str:
        """The arguments as they are passed to the function itself, with some replaced."""
        passed = []
        for name, parameter in self.parameters.items():
            mark = _STARS.get(parameter.kind, "")
            if parameter.kind is Parameter.KEYWORD_ONLY:
                mark = f"{name}="
            passed.append(mark + instead.get(name, name))
        return ", ".join(passed)

    def _takes(self, before: tuple[str, ...]) -> str:
        """The arguments as they stand in the function's head."""
        takes, by_position, by_name = list(before), len(before), False
        for at, (name, parameter) in enumerate(self.parameters.items()):
            if parameter.kind is Parameter.POSITIONAL_ONLY:
                by_position = len(before) + at + 1
            if parameter.kind is Parameter.KEYWORD_ONLY and not by_name:
                takes.append("*")
            by_name |= parameter.kind in {Parameter.KEYWORD_ONLY, Parameter.VAR_POSITIONAL}
            taken = _STARS.get(parameter.kind, "") + name
            if parameter.default is not Parameter.empty:
                self.values[f"{self.own}default{at}"] = parameter.default
                taken += f"={self.own}default{at}"
            takes.append(taken)
        if by_position:
            takes.insert(by_position, "/")
        return ", ".join(takes)

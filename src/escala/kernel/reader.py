"""Reads plain data into structs and collects every problem, instead of stopping at the first."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, Self, Union, get_args, get_origin

import msgspec

from escala.kernel.describe import described, lengths
from escala.kernel.plain_scalar import resolved
from escala.kernel.problem import BROKEN, Path, Problem, Source
from escala.kernel.scalar import decode
from escala.kernel.wrong_value import WrongValue, not_among, sentence, shown

_SEQUENCES: dict[Any, Callable[[list[Any]], Any]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
}


class Draft(SimpleNamespace):
    """A struct with something `BROKEN` in it, for checks that can still look at the rest."""


class Composite(ABC):
    """A type with a grammar of its own in configuration, such as an entry of `policies`."""

    @classmethod
    @abstractmethod
    def read(cls, reader: Reader, value: object, path: Path) -> Self:
        """Make one from plain data, or report to the reader and return `BROKEN`."""

    @abstractmethod
    def plain(self) -> object:
        """What `read` would make this from."""

    @classmethod
    @abstractmethod
    def schema(cls, of: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """The JSON Schema of what `read` takes; `of` gives that of any other type."""


class Reader:
    """One pass over the data of one source; `problems` holds all that was found.

    A struct's class variable `shorthand` names the field that a bare value fills, so that
    `10.0.0.1:80` reads as `{url: "10.0.0.1:80"}`.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self._broken = 0

    def report(self, path: Path, message: str, *, key: bool = False) -> Any:  # noqa: ANN401
        """Note a problem; returns `BROKEN`, for the caller to return in turn."""
        mark = self.source.mark(path, key=key)
        self.problems.append(Problem(mark=mark, path=path, message=message))
        self._broken += 1
        return BROKEN

    def wrong(self, path: Path, expected: str, value: object) -> Any:  # noqa: ANN401
        """Note that a value is not the expected one; returns `BROKEN`."""
        hidden = self.source.spelled(path)
        return self.report(path, sentence(expected, shown(value if hidden is None else hidden)))

    def read(self, kind: Any, value: object, path: Path = ()) -> Any:  # noqa: ANN401
        """The value as this type; what cannot be read is reported and comes back `BROKEN`."""
        if value is BROKEN:
            return self._passed(value)
        bare = _bare(kind)
        if _nullable(bare):
            missing = value is None or self._adapted(value, path) is None
            return None if missing else self.read(_without_none(bare), value, path)
        if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
            return self.struct(bare, value, path, shorthand=getattr(bare, "shorthand", None))
        if isinstance(bare, type) and issubclass(bare, Composite):
            return bare.read(self, value, path)
        return self._inside(bare)(kind, value, path)

    def _passed(self, value: Any) -> Any:  # noqa: ANN401
        self._broken += value is BROKEN
        return value

    def _inside(self, bare: Any) -> Callable[[Any, object, Path], Any]:  # noqa: ANN401
        if get_origin(bare) is dict:
            return self._mapping
        if get_origin(bare) in _SEQUENCES and get_args(bare)[1:] in {(), (...,)}:
            return self._sequence
        return self._leaf

    def struct(
        self, kind: type[msgspec.Struct], value: object, path: Path, *, shorthand: str | None = None
    ) -> Any:  # noqa: ANN401  the struct, or a Draft of it
        """A struct from a mapping, or from a bare value where the struct has a shorthand."""
        if value is BROKEN or isinstance(value, kind):
            return self._passed(value)
        bare = not isinstance(value, Mapping)
        if bare and (shorthand is None or value is None or isinstance(value, (list, tuple))):
            return self.wrong(path, "a mapping", value)
        given: Mapping[Any, object] = value if isinstance(value, Mapping) else {shorthand: value}
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        before, found = self._broken, dict[str, Any]()
        for key, item in given.items():
            at = path if bare else (*path, key)
            if key in fields:
                found[fields[key].name] = self.read(fields[key].type, item, at)
            else:
                self.report(at, not_among("fields", fields, str(key)), key=True)
        for name, field in fields.items():
            if field.required and field.name not in found:
                self.report(path, f"expected the field '{name}', found none")
        return self._made(kind, found, path) if self._broken == before else _draft(kind, found)

    def _made(self, kind: type[msgspec.Struct], found: dict[str, Any], path: Path) -> Any:  # noqa: ANN401
        try:
            return kind(**found)
        except (ValueError, TypeError) as error:  # a rule between fields, from __post_init__
            return self.report(path, str(error))

    def _sequence(self, kind: Any, value: object, path: Path) -> Any:  # noqa: ANN401
        if not isinstance(value, (list, tuple)):
            return self.wrong(path, "a list", value)
        if expected := lengths(kind, len(value)):
            return self.report(path, f"expected {expected}, found {len(value)}")
        bare, before = _bare(kind), self._broken
        item = get_args(bare)[0]
        items = [self.read(item, each, (*path, at)) for at, each in enumerate(value)]
        return _SEQUENCES[get_origin(bare)](items) if self._broken == before else items

    def _mapping(self, kind: Any, value: object, path: Path) -> Any:  # noqa: ANN401
        if not isinstance(value, Mapping):
            return self.wrong(path, "a mapping", value)
        if expected := lengths(kind, len(value)):
            return self.report(path, f"expected {expected}, found {len(value)}")
        key, item = get_args(_bare(kind))
        found = {}
        for name, each in value.items():
            found[self._key(key, name, (*path, name))] = self.read(item, each, (*path, name))
        return found

    def _key(self, kind: Any, name: object, path: Path) -> Any:  # noqa: ANN401
        try:
            return _converted(kind, name)
        except WrongValue as error:
            self.report(path, str(error), key=True)
            return name

    def _leaf(self, kind: Any, value: object, path: Path) -> Any:  # noqa: ANN401
        try:
            return _converted(kind, value)
        except WrongValue as error:
            expected = error.expected
        adapted = self._adapted(value, path)
        if adapted is not value:
            with suppress(WrongValue):
                return _converted(kind, adapted)
        return self.wrong(path, expected, value)

    def _adapted(self, value: object, path: Path) -> object:
        """What the environment supplied is text; where text will not do, it may be a number."""
        if isinstance(value, str) and self.source.spelled(path) is not None:
            return resolved(value)
        return value


def _converted(kind: Any, value: object) -> Any:  # noqa: ANN401  any annotation
    expected = None
    try:
        if not isinstance(value, float) or math.isfinite(value):
            return msgspec.convert(value, kind, dec_hook=decode)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, WrongValue):
            expected = error.__cause__.expected
    raise WrongValue(expected or described(kind), value)


def _draft(kind: type[msgspec.Struct], found: dict[str, Any]) -> Draft:
    draft = Draft(**found)
    for field in msgspec.structs.fields(kind):
        if field.name not in found:
            made = field.default_factory
            default = field.default if made is msgspec.NODEFAULT else made()
            setattr(draft, field.name, BROKEN if field.required else default)
    return draft


def _bare(kind: Any) -> Any:  # noqa: ANN401  any annotation
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _nullable(bare: Any) -> bool:  # noqa: ANN401  any annotation
    return get_origin(bare) in {Union, UnionType} and NoneType in get_args(bare)


def _without_none(bare: Any) -> Any:  # noqa: ANN401  any annotation
    return Union[tuple(each for each in get_args(bare) if each is not NoneType)]  # noqa: UP007

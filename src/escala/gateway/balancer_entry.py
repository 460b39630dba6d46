"""The balancing algorithm of an upstream: `least_connections`, or `peak_ewma: {decay: 10s}`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from escala.balancing.balancer import BALANCERS, Balancer, balancer_class
from escala.errors import ConfigError
from escala.kernel import registry
from escala.kernel.problem import BROKEN, Path
from escala.kernel.reader import Composite, Draft, Reader
from escala.kernel.schema import any_of
from escala.kernel.writer import differing, plain
from escala.kernel.wrong_value import not_among, shown


class BalancerEntry(Composite):
    """A balancer by its name, with options of that balancer's own struct."""

    __slots__ = ("name", "options")

    def __init__(self, name: str, options: msgspec.Struct | None = None) -> None:
        self.name = name
        self.options = balancer_class(name).Options() if options is None else options

    @property
    def kind(self) -> type[Balancer]:
        """The balancer's class."""
        return balancer_class(self.name)

    def build(self) -> Balancer:
        """Make the balancer."""
        return self.kind.build(self.options)

    @classmethod
    def read(cls, reader: Reader, value: object, path: Path) -> Any:  # noqa: ANN401
        """From a name, or a mapping of one name to its options."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            name, given, at = value, None, path
        elif isinstance(value, Mapping) and len(value) == 1:
            ((name, given),) = value.items()
            at = (*path, name)
        else:
            found = f"a mapping of {len(value)}" if isinstance(value, Mapping) else shown(value)
            expected = "a balancer such as 'round_robin' or one 'name: options'"
            return reader.report(path, f"expected {expected}, found {found}")
        known = registry.names(BALANCERS)
        if name not in known:
            return reader.report(at, not_among("balancers", known, str(name)), key=at != path)
        try:
            kind = balancer_class(name)
        except ConfigError as error:
            return reader.report(at, str(error), key=at != path)
        given = {} if given is None else given
        shorthand = getattr(kind.Options, "shorthand", None)
        options = reader.struct(kind.Options, given, at, shorthand=shorthand)
        return BROKEN if options is BROKEN or isinstance(options, Draft) else cls(name, options)

    def plain(self) -> object:
        """The entry with the options that differ from their defaults."""
        given = differing(self.options)
        return {self.name: plain(given)} if given else self.name

    @classmethod
    def schema(cls, of: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """One choice for each installed balancer."""
        names = registry.names(BALANCERS)
        choices: list[dict[str, Any]] = [{"type": "string", "enum": list(names)}]
        for name in names:
            values = any_of(of(balancer_class(name).Options), {"type": "null"})
            entry = {"type": "object", "properties": {name: values}, "required": [name]}
            choices.append({**entry, "additionalProperties": False})
        return {"oneOf": choices}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BalancerEntry):
            return NotImplemented
        return (self.name, self.options) == (other.name, other.options)

    def __hash__(self) -> int:
        return hash((self.name, self.options))

    def __repr__(self) -> str:
        return f"BalancerEntry({self.name!r}, {self.options!r})"

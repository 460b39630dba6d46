"""One entry in a route's `policies`: `retry: {attempts: 3}`, `timeout: 1s` or just `cache`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from escala.errors import ConfigError
from escala.kernel import registry
from escala.kernel.policy import Policy, Scope
from escala.kernel.problem import BROKEN, Path
from escala.kernel.reader import Composite, Draft, Reader
from escala.kernel.schema import any_of
from escala.kernel.writer import differing, plain
from escala.kernel.wrong_value import shown


class PolicyEntry(Composite):
    """A policy by its name, with options of that policy's own struct."""

    __slots__ = ("name", "options")

    def __init__(self, name: str, options: msgspec.Struct) -> None:
        self.name, self.options = name, options

    @property
    def kind(self) -> type[Policy]:
        """The policy's class."""
        return registry.policy(self.name)

    def build(self, scope: Scope) -> Policy:
        """Make the policy."""
        return self.kind.build(self.options, scope)

    @classmethod
    def read(cls, reader: Reader, value: object, path: Path) -> Any:  # noqa: ANN401
        """From a name, or a mapping of one name to its options or to the one that matters."""
        if isinstance(value, str):
            name, given = value, None
        elif isinstance(value, Mapping) and len(value) == 1:
            ((name, given),) = value.items()
        else:
            found = f"a mapping of {len(value)}" if isinstance(value, Mapping) else shown(value)
            expected = "a policy such as 'cache' or one 'name: options'"
            return reader.report(path, f"expected {expected}, found {found}")
        at = (*path, name)
        try:
            kind = registry.policy(name)
        except ConfigError as error:
            return reader.report(at, str(error), key=True)
        given = {} if given is None else given
        options = reader.struct(kind.Options, given, at, shorthand=kind.shorthand)
        return BROKEN if options is BROKEN or isinstance(options, Draft) else cls(name, options)

    def plain(self) -> object:
        """The entry with the options that differ from their defaults."""
        given = differing(self.options)
        return {self.name: plain(given)} if given else self.name

    @classmethod
    def schema(cls, of: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """One choice for each installed policy."""
        choices: list[dict[str, Any]] = []
        bare = []
        for name, kind in sorted(registry.policies().items()):
            fields = {field.name: field for field in msgspec.structs.fields(kind.Options)}
            values = of(kind.Options)
            if kind.shorthand is not None:
                values = any_of(values, of(fields[kind.shorthand].type))
            if not any(field.required for field in fields.values()):
                bare.append(name)
                values = any_of(values, {"type": "null"})
            entry = {"type": "object", "properties": {name: values}, "required": [name]}
            choices.append({**entry, "additionalProperties": False})
        names = [{"type": "string", "enum": bare}] if bare else []
        return {"oneOf": [*choices, *names]}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PolicyEntry):
            return NotImplemented
        return (self.name, self.options) == (other.name, other.options)

    def __hash__(self) -> int:
        return hash((self.name, self.options))

    def __repr__(self) -> str:
        return f"PolicyEntry({self.name!r}, {self.options!r})"

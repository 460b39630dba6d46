"""The keys of a call that asks for many things at once: "order:{id}" of `orders(ids)`."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter
from typing import Any

from escala.caching.pure.key_code import KeyCode
from escala.caching.pure.key_field import fields_of
from escala.errors import ConfigError


class BatchTemplate:
    """A key with one field for an item of a list, and others for arguments as they are.

    The item is the field that is no argument of the function: "{id}", or "{order.id}" for items
    with attributes. The list is the argument called as the item with an "s" (`ids`, `orders`),
    or the only one that is left when the others are named; `items` says it where neither holds.

    >>> def orders(ids, lang="en"): ...
    >>> bound = BatchTemplate("order:{id}:{lang}").bind(orders)
    >>> bound.keys([1, 2])
    ([1, 2], ['order:1:en', 'order:2:en'])
    """

    __slots__ = ("fields", "text")

    def __init__(self, text: str) -> None:
        self.fields = fields_of(text)
        self.text = text

    def bind(self, fn: Callable[..., Any], items: str | None = None) -> BoundBatch:
        """What takes a call apart and puts it together again. Raises `ConfigError`."""
        roots = dict.fromkeys(field.root for field in self.fields if field.path)
        code = KeyCode(fn, *roots)
        takes = code.parameters
        strange = [root for root in roots if root not in takes]
        if len(strange) != 1:
            found = ", ".join(strange) or "none"
            raise ConfigError(
                f"{self.text!r}: expected one field for an item of the list that {code.fn_name} "
                f"takes, such as {{id}} for ids; found {found}"
            )
        (item,) = strange
        code.check_all(self.text, self.fields, item)
        listed = _listed(self.text, code, item, set(roots), items)
        own = code.own
        code.lines += [f"    {own}items = {own}listed({listed}, {listed!r})", f"    {own}keys = []"]
        code.lines.append(f"    for {item} in {own}items:")
        key = code.key(self.fields, 0, "        ")
        code.lines.append(f"        {own}keys.append({key})")
        code.lines.append(f"    return {own}items, {own}keys")
        code.values[f"{own}listed"] = _as_list
        keys = code.made()
        call = KeyCode(fn, *roots)
        passed = call.passed_on(**{listed: f"{own}items"})
        call.lines.append(f"    return {own}fn({passed})")
        call.values[f"{own}fn"] = fn
        return BoundBatch(listed, keys, call.made(f"{own}items"))

    def __repr__(self) -> str:
        return f"BatchTemplate({self.text!r})"


class BoundBatch:
    """A batch template for one function; each is called with the arguments of that function."""

    __slots__ = ("call", "items", "keys")

    def __init__(
        self,
        items: str,
        keys: Callable[..., tuple[list[Any], list[str]]],
        call: Callable[..., Any],
    ) -> None:
        self.items = items
        """The name of the argument that is the list."""
        self.keys = keys
        """The items as a list, and the key of each."""
        self.call = call
        """Calls the function for some items: `call(missing, *args, **kwargs)`."""


def _listed(text: str, code: KeyCode, item: str, named: set[str], items: str | None) -> str:
    """Which argument is the list."""
    able = [
        name
        for name, parameter in code.parameters.items()
        if name not in named and parameter.kind is not Parameter.VAR_POSITIONAL
    ]
    likely = f"{item}s" if items is None else items
    if likely in able:
        return likely
    if items is None and len(able) == 1:
        return able[0]
    found = ", ".join(able) or "none"
    wanted = f"an argument {likely!r} of {code.fn_name} that is the list"
    raise ConfigError(f"{text!r}: expected {wanted}; found {found}")


def _as_list(items: Any, name: str) -> list[Any]:  # noqa: ANN401
    if isinstance(items, (str, bytes)):
        raise TypeError(f"{name}: expected a list, found {type(items).__name__}")
    return list(items)

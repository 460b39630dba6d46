"""Which calls share a cached value: those for which a text such as "user:{id}" is the same."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any

from escala.caching.pure.key_code import KeyCode
from escala.caching.pure.key_field import fields_of


class KeyTemplate:
    """A key with arguments in it: `KeyTemplate("user:{id}").bind(fn)(7) == "user:7"`.

    A field names an argument, or an attribute of one: "{order.customer_id}". Its value is text,
    a number, a bool, a UUID, a date or time, a `Decimal`, an enum (its value) or `None`; for any
    other type the call raises `TypeError`. A ":" or "%" in a value is written as "%3A" or "%25",
    so different values never give one key. What counts is the text: 1 and "1" are one key, as
    are a UUID and its text, so that a key written by hand is found. `None` is "%none", and so is
    not the text "None"; `*args` is each value with a comma before it.

    Arguments that no field names do not count, `self` for instance. A key of more than 200
    characters is replaced by its first 166, "%#" and a digest of 128 bits of the whole.

    >>> def price(item, *, currency="EUR"): ...
    >>> key = KeyTemplate("price:{item}:{currency}").bind(price)
    >>> key("a:b"), key(7, currency=None)
    ('price:a%3Ab:EUR', 'price:7:%none')
    """

    __slots__ = ("fields", "text")

    def __init__(self, text: str) -> None:
        self.fields = fields_of(text)
        self.text = text

    def bind(self, fn: Callable[..., Any]) -> Callable[..., str]:
        """What builds the key, called as `fn` is. Raises `ConfigError` for an unknown argument."""
        code = KeyCode(fn)
        code.check_all(self.text, self.fields)
        return self._built(code)

    def fill(self, **values: object) -> str:
        """The key for these values: `KeyTemplate("user:{id}").fill(id=7) == "user:7"`."""
        roots = dict.fromkeys(field.root for field in self.fields if field.path)

        def fill() -> None: ...

        fill.__signature__ = Signature(  # type: ignore[attr-defined]
            [Parameter(root, Parameter.KEYWORD_ONLY) for root in roots]
        )
        return self._built(KeyCode(fill))(**values)

    def __repr__(self) -> str:
        return f"KeyTemplate({self.text!r})"

    def _built(self, code: KeyCode) -> Callable[..., str]:
        key = code.key(self.fields, 0)
        code.lines.append(f"    return {key}")
        return code.made()

"""What a cached value belongs to, such as "customer:{result.customer_id}", to invalidate by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from escala.caching.pure.key_code import KeyCode
from escala.caching.pure.key_field import fields_of
from escala.errors import ConfigError

_RESULT = "result"


class TagTemplate:
    """Tags with arguments in them, or with `result`, what the function returned.

    As in `KeyTemplate`. A result of `None` has no attributes, so what names it is left out then.

    >>> def order(id): ...
    >>> tags = TagTemplate("orders", "order:{id}:{result.real}").bind(order)
    >>> tags(5, id=7), tags(None, 7)
    (('orders', 'order:7:5'), ('orders',))
    """

    __slots__ = ("fields", "names_result", "texts")

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.fields = [fields_of(text) for text in texts]
        self.names_result = any(field.root == _RESULT for one in self.fields for field in one)

    def bind(self, fn: Callable[..., Any]) -> Callable[..., tuple[str, ...]]:
        """What builds the tags, called as `fn` is, with the result before all arguments.

        Raises `ConfigError` for an unknown argument, and for an argument that is called `result`
        when a tag names that.
        """
        code = KeyCode(fn)
        if self.names_result and _RESULT in code.parameters:
            raise ConfigError(
                f"{self.texts}: expected {{result}} to be what {code.fn_name} returns, found an "
                "argument of that name; rename the argument"
            )
        result = _RESULT if self.names_result else f"{code.own}result"
        code.lines.append(f"    {code.own}tags = ()")
        for number, (text, fields) in enumerate(zip(self.texts, self.fields, strict=True)):
            code.check(text, fields, _RESULT)
            indent = "    "
            if any(field.root == _RESULT for field in fields):
                code.lines.append("    if result is not None:")
                indent = "        "
            tag = code.key(fields, number, indent)
            code.lines.append(f"{indent}{code.own}tags += ({tag},)")
        code.lines.append(f"    return {code.own}tags")
        return code.made(result)

    def __repr__(self) -> str:
        return f"TagTemplate({', '.join(map(repr, self.texts))})"

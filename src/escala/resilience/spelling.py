"""How a policy reads in a log or a debugger: as the constructor call that made it."""

from __future__ import annotations

import msgspec

from escala.kernel.policy import Policy
from escala.kernel.scalar import Scalar
from escala.kernel.writer import differing


def spelled(policy: Policy, options: msgspec.Struct, *, name: str, **code: object) -> str:
    """Only what differs from the defaults: `Retry(attempts=5, base='250ms')`.

    `code` are arguments that configuration cannot express, None when they are not given.
    """
    given = differing(options) | {key: value for key, value in code.items() if value is not None}
    if name != policy.kind:
        given["name"] = name
    first = given.pop(policy.shorthand, None) if policy.shorthand else None
    words = [] if first is None else [_word(first)]
    words += [f"{key}={_word(value)}" for key, value in given.items()]
    return f"{type(policy).__name__}({', '.join(words)})"


def _word(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_word, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, Scalar):
        return repr(value.text)
    return getattr(value, "__qualname__", None) or repr(value)

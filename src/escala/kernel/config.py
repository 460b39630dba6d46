"""Options from plain values: the one door for Python constructors, YAML and environment."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import msgspec

from escala.errors import ConfigError
from escala.kernel.scalar import decode

if TYPE_CHECKING:
    from collections.abc import Mapping

S = TypeVar("S", bound=msgspec.Struct)


def options(struct: type[S], values: Mapping[str, object], *, where: str) -> S:
    """Make an `Options` struct from plain values, or say all that is wrong with them.

    `where` names the caller, as in "Retry: attempts: expected an integer >= 1, found 0". Units
    may be text ("250ms"), plain numbers or already read. Raises `ConfigError`.
    """
    finite = all(math.isfinite(each) for each in values.values() if isinstance(each, float))
    try:
        if finite:
            return msgspec.convert(values, struct, dec_hook=decode)
    except msgspec.ValidationError as error:
        cause: msgspec.ValidationError | None = error
    else:
        cause = None
    # What msgspec found first is found again here, with everything else and in our words.
    from escala.kernel.problem import Caller, refuse
    from escala.kernel.reader import Reader

    reader = Reader(Caller(where))
    made: S = reader.struct(struct, values, ())
    refuse(reader.problems)
    if cause is not None:
        raise ConfigError(f"{where}: {cause}") from cause
    return made

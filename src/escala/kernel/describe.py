"""What a type expects, in words: `Annotated[int, Meta(ge=1)]` is "an integer >= 1"."""

from __future__ import annotations

from typing import Any

import msgspec.inspect as mi

from escala.kernel.scalar import Scalar

_PLAIN: dict[type[mi.Type], str] = {
    mi.BoolType: "true or false",
    mi.NoneType: "nothing",
    mi.AnyType: "a value",
    mi.BytesType: "bytes",
    mi.StructType: "a mapping",
    mi.DictType: "a mapping",
    mi.ListType: "a list",
    mi.TupleType: "a list",
    mi.VarTupleType: "a list",
    mi.SetType: "a list",
    mi.FrozenSetType: "a list",
}


def described(kind: Any) -> str:  # noqa: ANN401  any annotation
    """What a value of this type looks like.

    `Meta(extra={"expected": "a name"})` beside a pattern says it better than the pattern.
    """
    return _words(mi.type_info(kind))


def info(kind: Any) -> mi.Type:  # noqa: ANN401  any annotation
    """What msgspec sees in an annotation, without the wrapper around extra metadata."""
    return bare(mi.type_info(kind))


def bare(kind: mi.Type) -> mi.Type:
    """The type inside msgspec's wrapper for titles, descriptions and examples."""
    while isinstance(kind, mi.Metadata):
        kind = kind.type
    return kind


def lengths(kind: Any, count: int) -> str:  # noqa: ANN401  any annotation
    """How many items a list or mapping must have, when `count` is not such a number."""
    seen = info(kind)
    least = getattr(seen, "min_length", None) or 0
    most = getattr(seen, "max_length", None)
    if count >= least and (most is None or count <= most):
        return ""
    if most is None:
        return f"at least {_items(least)}"
    return f"at most {_items(most)}" if not least else f"{least} to {_items(most)}"


def _items(count: int) -> str:
    return f"{count} item" if count == 1 else f"{count} items"


def _words(kind: mi.Type) -> str:
    match kind:
        case mi.Metadata(extra={"expected": str(told)}):
            words = told
        case mi.Metadata(type=inner):
            words = _words(inner)
        case mi.IntType() as number:
            words = f"an integer{_bounds(number)}"
        case mi.FloatType() as number:
            words = f"a number{_bounds(number)}"
        case mi.StrType() as text:
            words = _text(text)
        case mi.LiteralType(values=values):
            words = _choice(values)
        case mi.EnumType(cls=enum):
            words = _choice(tuple(member.value for member in enum))
        case mi.UnionType(types=types):
            words = " or ".join(_words(each) for each in types)
        case mi.CustomType(cls=cls):
            words = cls.expected if issubclass(cls, Scalar) else cls.__name__
        case other:
            words = _PLAIN.get(type(other), "a value")
    return words


def _choice(values: tuple[Any, ...]) -> str:
    quoted = ", ".join(repr(value) for value in values)
    return f"one of {quoted}" if len(values) > 1 else quoted


def _text(kind: mi.StrType) -> str:
    if kind.pattern is not None:
        return f"text that matches {kind.pattern}"
    if kind.max_length is not None:
        return f"text of {kind.min_length or 0} to {kind.max_length} characters"
    return "text that is not empty" if kind.min_length else "text"


def _bounds(kind: mi.IntType | mi.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge} to {kind.le}"
    signs = {">=": kind.ge, ">": kind.gt, "<=": kind.le, "<": kind.lt}
    limits = [f"{sign} {limit}" for sign, limit in signs.items() if limit is not None]
    return f" {' and '.join(limits)}" if limits else ""

"""The JSON Schema (2020-12) of a configuration struct, for editors and for other tools."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec
import msgspec.inspect as mi

from escala.kernel.describe import bare
from escala.kernel.field_docs import field_docs
from escala.kernel.reader import Composite
from escala.kernel.scalar import Scalar
from escala.kernel.writer import plain

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_VARIABLE = {"$ref": "#/$defs/variable"}
_VARIABLE_SCHEMA = {
    "description": "Text with ${NAME} or ${NAME:-default}, replaced from the environment.",
    "type": "string",
    "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
}
_ANY_TEXT = {"type": "string"}
# Free text takes a variable as it is, and nothing is what an empty variable stands for.
_NEED_NO_VARIABLE: tuple[dict[str, Any], ...] = ({}, _ANY_TEXT, {"type": "null"})
_LIMITS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_LENGTHS = {"min_length": "minLength", "max_length": "maxLength", "pattern": "pattern"}
_ITEMS = {"min_length": "minItems", "max_length": "maxItems"}
_PROPERTIES = {"min_length": "minProperties", "max_length": "maxProperties"}


def schema(struct: type[msgspec.Struct], *, title: str) -> dict[str, Any]:
    """The schema of a file that holds this struct."""
    writing = _Writing()
    top = writing.of(struct)
    defs = {**dict(sorted(writing.defs.items())), "variable": _VARIABLE_SCHEMA}
    return {"$schema": DIALECT, "title": title, **top, "$defs": defs}


def any_of(*choices: dict[str, Any]) -> dict[str, Any]:
    """A value that fits at least one of these schemas, written flat."""
    flat: list[dict[str, Any]] = []
    for choice in choices:
        flat += choice["anyOf"] if choice.keys() == {"anyOf"} else [choice]
    kept = [each for at, each in enumerate(flat) if each not in flat[:at]]
    return kept[0] if len(kept) == 1 else {"anyOf": kept}


class _Writing:
    """One pass over the types; structs become definitions that the rest refers to."""

    def __init__(self) -> None:
        self.defs: dict[str, dict[str, Any]] = {}
        self._names: dict[type, str] = {}

    def of(self, kind: Any) -> dict[str, Any]:  # noqa: ANN401  an annotation, or msgspec's view
        """The schema of any type."""
        match kind if isinstance(kind, mi.Type) else mi.type_info(kind):
            case mi.Metadata(type=inner, extra_json_schema=extra):
                written = self.of(inner) | (extra or {})
            case mi.StructType(cls=struct):
                written = self._reference(struct)
            case mi.CustomType(cls=custom) if issubclass(custom, Composite):
                written = custom.schema(self.of)
            case mi.UnionType(types=types):
                written = any_of(*map(self.of, types))
            case mi.DictType(key_type=key, value_type=value) as mapping:
                written = {"type": "object", "additionalProperties": self.of(value)}
                written |= _named(mapping, _PROPERTIES) | _names(key)
            case (
                mi.ListType(item_type=item)
                | mi.VarTupleType(item_type=item)
                | mi.SetType(item_type=item)
                | mi.FrozenSetType(item_type=item)
            ) as items:
                written = {"type": "array", "items": self.of(item)} | _named(items, _ITEMS)
            case leaf:
                written = _leaf(leaf)
                if written not in _NEED_NO_VARIABLE:
                    written = any_of(written, _VARIABLE)
        return written

    def _reference(self, struct: type[msgspec.Struct]) -> dict[str, Any]:
        if struct not in self._names:
            taken = set(self._names.values())
            short = struct.__qualname__.rpartition("<locals>.")[2]
            name = f"{struct.__module__}.{short}" if short in taken else short
            self._names[struct] = name
            self.defs[name] = self._struct(struct)
        return {"$ref": f"#/$defs/{self._names[struct]}"}

    def _struct(self, struct: type[msgspec.Struct]) -> dict[str, Any]:
        docs = field_docs(struct)
        properties = {}
        required = []
        shorthand = getattr(struct, "shorthand", None)
        for field in msgspec.structs.fields(struct):
            written = self.of(field.type)
            if field.name in docs:
                written = {"description": docs[field.name], **written}
            if field.required:
                required.append(field.encode_name)
            elif field.default is not None and field.default is not msgspec.NODEFAULT:
                written = {**written, "default": plain(field.default)}
            properties[field.encode_name] = written
        whole: dict[str, Any] = {"type": "object", "properties": properties}
        if required:
            whole["required"] = required
        whole["additionalProperties"] = False
        if shorthand is not None:
            whole = any_of(whole, _without(properties[shorthand], "default"))
        doc = inspect.getdoc(struct) or ""
        return {"description": " ".join(doc.split("\n\n")[0].split()), **whole}


def _leaf(kind: mi.Type) -> dict[str, Any]:
    """A value without parts."""
    match kind:
        case mi.CustomType(cls=custom) if issubclass(custom, Scalar):
            written = custom.schema()
        case mi.IntType() as number:
            written = {"type": "integer"} | _named(number, _LIMITS)
        case mi.FloatType() as number:
            written = {"type": "number"} | _named(number, _LIMITS)
        case mi.StrType() as text:
            written = {"type": "string"} | _named(text, _LENGTHS)
        case mi.BoolType():
            written = {"type": "boolean"}
        case mi.LiteralType(values=values):
            written = {"enum": list(values)}
        case mi.EnumType(cls=enum):
            written = {"enum": [member.value for member in enum]}
        case mi.NoneType():
            written = {"type": "null"}
        case _:
            written = {}
    return written


def _without(written: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in written.items() if name != key}


def _names(key: mi.Type) -> dict[str, Any]:
    written = _leaf(bare(key))
    return {} if written == _ANY_TEXT else {"propertyNames": written}


def _named(kind: mi.Type, names: dict[str, str]) -> dict[str, Any]:
    limits = {name: getattr(kind, field, None) for field, name in names.items()}
    return {name: limit for name, limit in limits.items() if limit is not None}

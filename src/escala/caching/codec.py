"""How values become the bytes that a shared store keeps, and values again."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from types import ModuleType
from typing import Any, Literal, Protocol, cast, runtime_checkable

from escala.caching.compression import compression_of
from escala.caching.frame import Frame
from escala.caching.msgspec_codec import FORMATS, MsgspecCodec
from escala.caching.signed_pickle import FORMAT as PICKLE
from escala.caching.signed_pickle import Secret, SignedPickle
from escala.errors import ConfigError
from escala.kernel.units import PositiveSize, Size
from escala.kernel.wrong_value import WrongValue, not_among, sentence, shown

_SCHEMAS = 2**32


@runtime_checkable
class Codec(Protocol):
    """Turns values into bytes and back. Threads and tasks share one."""

    def dumps(self, value: object, kind: Any, key: str) -> bytes:  # noqa: ANN401  any type form
        """The bytes of a value that is to come back as a `kind`, for this key.

        `kind` is the annotation of what the function returns, `None` if it has none. Raises
        `CannotEncode` for a value that would not come back as it is.
        """

    def loads(self, payload: bytes, kind: Any, key: str) -> object:  # noqa: ANN401
        """The value. Raises `Undecodable` for bytes that hold none, whatever they are."""


def codec_of(
    spec: str | Codec,
    *,
    secret: Secret | Sequence[Secret] | None = None,
    schema: int | str = 0,
    compression: str = "zlib",
    compress_above: float | str | None = "4KiB",
    max_size: float | str = "16MiB",
) -> Codec:
    """A codec by its name; one of your own is given back as it is.

    "msgpack" carries what msgspec carries: plain values, dataclasses, `Struct`s, dates, `UUID`s,
    `Decimal`s, enums, sets, and containers of them, each by the annotation of the function's
    result. Without an annotation only plain values come back as they went in, so all others are
    refused: a tuple would come back as a list. A time with a zone has to be in UTC. "json" is
    larger and slower, readable by others, and keeps a time's offset. "pickle" carries anything;
    it needs a `secret` of at least 32 bytes, and of several the first signs and all verify.

    Change `schema`, a number or any text, when the types have changed so that old values would
    be read wrongly; what another schema wrote counts as missing. Values of more than
    `compress_above` bytes are compressed (`None`: none are) with "zlib" or, where the package
    `zstandard` is installed, "zstd". Values of more than `max_size` bytes are refused, before
    and after compression. Raises `ConfigError`.

    >>> codec = codec_of("json")
    >>> codec.loads(codec.dumps({1, 2}, set[int], "k"), set[int], "k")
    {1, 2}
    >>> codec.dumps({1, 2}, None, "k")
    Traceback (most recent call last):
        ...
    escala.errors.CannotEncode: json cannot carry this set: set comes back as list; say what \
the function returns in its annotation
    """
    if not isinstance(spec, str):
        given: object = spec  # a module such as `json` and a class look like one, too
        if isinstance(given, (type, ModuleType)) or not isinstance(given, Codec):
            raise ConfigError(f"codec: {sentence('a name or a codec', shown(spec))}")
        return spec
    if spec not in (*FORMATS, "pickle"):
        raise ConfigError(f"codec: {not_among('codecs', (*FORMATS, 'pickle'), spec)}")
    if (spec == "pickle") is (secret is None):
        raise ConfigError(
            "secret: expected one, as in codec_of('pickle', secret=…), for codec 'pickle' runs "
            "code that it reads; found none"
            if secret is None
            else f"secret: expected none, for codec {spec!r} does not sign; found one"
        )
    frame = Frame(
        FORMATS.get(spec, PICKLE),
        _schema(schema),
        compression=compression_of(compression),
        above=None if compress_above is None else _size("compress_above", Size, compress_above),
        max_size=_size("max_size", PositiveSize, max_size),
    )
    if secret is not None:
        return SignedPickle(secret, frame)
    return MsgspecCodec(cast("Literal['msgpack', 'json']", spec), frame)


def _schema(schema: object) -> int:
    if isinstance(schema, str):
        return int.from_bytes(
            blake2b(schema.encode(errors="surrogatepass"), digest_size=4).digest()
        )
    if type(schema) is int and 0 <= schema < _SCHEMAS:
        return schema
    raise ConfigError(f"schema: {sentence('text or a number below 2**32', shown(schema))}")


def _size(name: str, kind: type[Size], value: float | str) -> int:
    try:
        return int(kind(value))
    except WrongValue as error:
        raise ConfigError(f"{name}: {error}") from error

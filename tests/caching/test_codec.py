"""Values come back as they went in, or are refused; bytes are a value, or `Undecodable`."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.caching.codec_values import (
    AHEAD,
    CHANGED,
    NOON,
    PLAIN,
    REFUSED,
    TYPED,
    Country,
    Line,
    Order,
    Picky,
)

from escala.caching.codec import Codec, codec_of
from escala.caching.compression import Zlib
from escala.caching.frame import Frame
from escala.caching.pure.blob import Header, Mark, pack, unpack
from escala.errors import CannotEncode, ConfigError, Undecodable

SECRET = "s" * 32
HEADER = Header(Mark(b"12345678", 7, 1.5), 60.0, 5.0, 0.25, ("a",), negative=False)


def made(name: str, **options: Any) -> Codec:
    secret = SECRET if name == "pickle" else None
    return codec_of(name, **{"secret": secret, **options})


def again(codec: Codec, value: object, kind: Any = None) -> object:
    return codec.loads(codec.dumps(value, kind, "k"), kind, "k")


@pytest.fixture(params=["msgpack", "json", "pickle"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["msgpack", "json"])
def typed(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def same(value: Any, back: Any) -> bool:
    """Equal, and of the same types as far as `repr` shows them."""
    return repr(value) == repr(back) or (value == back and isinstance(value, (int, set)))


@pytest.mark.parametrize("case", PLAIN)
def test_plain_values_come_back_without_an_annotation(name: str, case: str) -> None:
    value = PLAIN[case]
    back = again(made(name), value)
    assert repr(back) == repr(value)


@pytest.mark.parametrize("case", [case for case in TYPED if case != "no eq"])
def test_typed_values_come_back_by_their_annotation(name: str, case: str) -> None:
    value, kind = TYPED[case]
    back = again(made(name), value, kind)
    assert back == value
    assert type(back) is type(value) or kind is float
    assert same(value, back)


def test_a_value_without_equality_comes_back(typed: str) -> None:
    value, kind = TYPED["no eq"]
    assert vars(again(made(typed), value, kind)) == {"id": 3}


def test_bytes_need_no_annotation_in_msgpack_alone() -> None:
    assert again(made("msgpack"), b"x") == b"x"
    with pytest.raises(CannotEncode, match="bytes comes back as str"):
        made("json").dumps(b"x", None, "k")


@pytest.mark.parametrize("case", CHANGED)
def test_what_would_come_back_as_something_else_is_refused(typed: str, case: str) -> None:
    value, kind, said = CHANGED[case]
    with pytest.raises(CannotEncode) as caught:
        made(typed).dumps(value, kind, "k")
    text = str(caught.value)
    assert text.startswith(f"{typed} cannot carry this {type(value).__qualname__}: {said}")
    advice = "; say what the function returns in its annotation"
    assert text.endswith(advice) is (kind is None)
    assert kind is None or "; return what the annotation " in text


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_annotation_does_not_fit_is_refused(typed: str, case: str) -> None:
    value, kind, said = REFUSED[case]
    with pytest.raises(CannotEncode) as caught:
        made(typed).dumps(value, kind, "k")
    assert said in str(caught.value)


def test_the_refusal_names_the_annotation() -> None:
    for kind, shown in [
        (Order, "Order"),
        (Line, "Line"),
        (list[Order], "list[tests.caching.codec_values.Order]"),
    ]:
        with pytest.raises(CannotEncode) as caught:
            made("msgpack").dumps(Country.NL, kind, "k")
        assert str(caught.value).endswith(
            f"; return what the annotation {shown} says, or plain values"
        )


def test_a_time_comes_back_with_its_offset_or_not_at_all() -> None:
    there = NOON.astimezone(AHEAD)
    said = r"in value\.when, it comes back in another time zone: give it in UTC;"
    with pytest.raises(CannotEncode, match=said):
        made("msgpack").dumps(Line("a", Decimal(1), there), Line, "k")
    with pytest.raises(CannotEncode, match="another time zone"):
        made("msgpack").dumps(there, None, "k")
    back: Any = again(made("json"), there, type(there))
    assert back.isoformat() == there.isoformat()


def test_numbers_that_are_none_come_back_or_are_refused() -> None:
    for value in (float("nan"), float("inf")):
        back: Any = again(made("msgpack"), [value])
        assert repr(back) == repr([value])
        for kind in (None, list[float], list[float | None]):
            with pytest.raises(CannotEncode):
                made("json").dumps([value], kind, "k")


def test_cycles_and_depth_are_refused(name: str) -> None:
    value: list[Any] = []
    value.append(value)
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    if name != "pickle":  # which carries cycles
        with pytest.raises(CannotEncode):
            made(name).dumps(value, None, "k")
    with pytest.raises(CannotEncode):
        made(name).dumps(deep, None, "k")
    while deep:
        deep = deep.pop()


def test_deep_payloads_are_undecodable() -> None:
    for name, open_, number in [("msgpack", b"\x91", 1), ("json", b"[", 2)]:
        payload = struct.pack(">BBI", number, 0, 0) + open_ * 100_000
        with pytest.raises(Undecodable, match=name):
            made(name).loads(payload, None, "k")


def test_reading_may_run_the_users_code_and_still_raises_nothing_else(typed: str) -> None:
    codec = made(typed)
    payload = codec.dumps({"id": -5}, None, "k")
    with pytest.raises(Undecodable, match=rf"^{typed}: -5$") as caught:
        codec.loads(payload, Picky, "k")
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_value_that_cannot_be_read_is_not_written(typed: str) -> None:
    value = Picky(5)
    value.id = -5
    with pytest.raises(CannotEncode, match=r"cannot carry this Picky: -5;"):
        made(typed).dumps(value, Picky, "k")


def test_what_pickle_cannot_carry_is_refused() -> None:
    with pytest.raises(
        CannotEncode, match=r"^pickle cannot carry this function: .*; return plain data$"
    ):
        made("pickle").dumps(lambda: None, None, "k")


class Unhashable:
    """Metadata of an annotation that no dict takes."""

    __hash__ = None  # type: ignore[assignment]


def test_any_number_of_annotations_is_bounded(typed: str) -> None:
    from typing import Annotated, Literal

    codec: Any = made(typed)
    for number in range(1024):
        assert again(codec, number, Literal[number]) == number
    assert len(codec._decoders) == 1024
    assert again(codec, "x", Literal["x"]) == "x"
    assert len(codec._decoders) == 1
    odd = Annotated[int, Unhashable()]
    before = len(codec._decoders)
    assert again(codec, 5, odd) == 5
    assert len(codec._decoders) == before


# Bytes


FUZZED = [
    (PLAIN["dict"], None),
    (TYPED["dataclass"][0], Order),
    ("x" * 50, str),
]


def payloads(name: str) -> list[tuple[bytes, Any, Any]]:
    found = []
    for options in ({}, {"compress_above": 10}, {"compress_above": 10, "compression": "zstd"}):
        codec = made(name, **options)
        for value, kind in FUZZED:
            found.append((codec.dumps(value, kind, "k"), value, kind))
    return found


def test_a_changed_byte_is_undecodable_or_at_least_no_other_error(name: str) -> None:
    codec, wrong = made(name), 0
    for payload, value, kind in payloads(name):
        for at in range(len(payload)):
            for flip in (1, 128, 255):
                changed = bytearray(payload)
                changed[at] ^= flip
                try:
                    wrong += codec.loads(bytes(changed), kind, "k") != value
                except Undecodable:
                    continue
    # A changed digit is another number; in a store the blob's checksum is what finds it.
    assert (wrong == 0) is (name == "pickle")


def test_a_changed_byte_in_a_blob_is_never_another_value(name: str) -> None:
    for payload, _, _ in payloads(name):
        blob = pack("k", HEADER, payload)
        for at in range(len(blob)):
            for flip in (1, 128, 255):
                changed = bytearray(blob)
                changed[at] ^= flip
                assert unpack("k", bytes(changed)) is None


def test_a_cut_payload_is_undecodable(name: str) -> None:
    codec = made(name)
    for payload, _, kind in payloads(name):
        for end in range(len(payload)):
            with pytest.raises(Undecodable):
                codec.loads(payload[:end], kind, "k")
        with pytest.raises(Undecodable):
            codec.loads(payload + b"x", kind, "k")


@given(st.binary(max_size=64), st.integers(0, 4), st.integers(0, 4), st.sampled_from([None, Order]))
def test_any_bytes_are_a_value_or_undecodable(body: bytes, form: int, way: int, kind: Any) -> None:
    for name in ("msgpack", "json", "pickle"):
        for payload in (body, struct.pack(">BBI", form, way, 0) + body):
            try:
                made(name).loads(payload, kind, "k")
            except Undecodable:
                continue
            assert name != "pickle"


def test_much_noise_is_undecodable(name: str) -> None:
    noise, codec = random.Random(5), made(name)
    for form in (1, 2, 3):
        for way in (0, 1, 2, 3):
            for size in (0, 31, 32, 33, 1000):
                payload = struct.pack(">BBI", form, way, 0) + noise.randbytes(size)
                with pytest.raises(Undecodable):
                    codec.loads(payload, dict[str, Order], "k")


# The header


def test_the_header_is_six_bytes(name: str) -> None:
    number = {"msgpack": b"\x01", "json": b"\x02", "pickle": b"\x03"}[name]
    payload = made(name, schema=258).dumps("x", None, "k")
    assert payload[:6] == number + b"\x00\x00\x00\x01\x02"
    packed = made(name, compress_above=10).dumps("x" * 100, None, "k")
    assert packed[:6] == number + b"\x01\x00\x00\x00\x00"
    packed = made(name, compress_above=10, compression="zstd").dumps("x" * 100, None, "k")
    assert packed[:6] == number + b"\x02\x00\x00\x00\x00"


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"", "a payload of 0 bytes is too short to be one"),
        (b"\x01\x00\x00\x00\x00", "a payload of 5 bytes is too short to be one"),
        (b"\x02\x00\x00\x00\x00\x00", "the payload is of format 2, and this codec reads 1"),
        (b"\x01\x03\x00\x00\x00\x00", "the payload's compression 3 cannot be read here"),
        (b"\x01\x00\x00\x00\x01\x02", "the payload is of schema 258, and this program reads 0"),
    ],
)
def test_another_header_is_undecodable(head: bytes, message: str) -> None:
    with pytest.raises(Undecodable) as caught:
        made("msgpack").loads(head, None, "k")
    assert str(caught.value) == message


def test_another_schema_is_undecodable(name: str) -> None:
    schemas: list[int | str] = [0, 1, 2**32 - 1, "", "v1", "v2", "\ud800"]
    for one in schemas:
        payload = made(name, schema=one).dumps("x", None, "k")
        for other in schemas:
            reader = made(name, schema=other)
            if one == other:
                assert reader.loads(payload, None, "k") == "x"
            else:
                with pytest.raises(Undecodable, match="schema"):
                    reader.loads(payload, None, "k")


@pytest.mark.parametrize("schema", [-1, 2**32, True, 1.0, None], ids=repr)
def test_a_schema_is_text_or_a_number(schema: Any) -> None:
    with pytest.raises(ConfigError, match=r"^schema: expected text or a number below 2\*\*32, f"):
        codec_of("msgpack", schema=schema)


# Compression


@pytest.mark.parametrize("compression", ["zlib", "zstd"])
def test_large_values_are_compressed(name: str, compression: str) -> None:
    codec = made(name, compression=compression, compress_above=100)
    for text in ("x" * 50, "x" * 10_000):
        payload = codec.dumps(text, None, "k")
        assert payload[1] == {"zlib": 1, "zstd": 2}[compression] * (len(text) > 100)
        assert len(payload) < 150
        assert made(name).loads(payload, None, "k") == text


def test_what_is_just_as_large_as_the_limit_is_not_compressed() -> None:
    codec = made("json", compress_above=100)
    assert codec.dumps("x" * 98, None, "k")[1] == 0  # and two quotes
    assert codec.dumps("x" * 99, None, "k")[1] == 1
    assert made("json").dumps("x" * 4094, None, "k")[1] == 0
    assert made("json").dumps("x" * 4095, None, "k")[1] == 1


def test_what_would_not_shrink_is_kept_as_it_is(name: str) -> None:
    noise = random.Random(5).randbytes(5000)
    payload = made(name, compress_above=0).dumps(noise, bytes, "k")
    if name != "json":  # whose base64 shrinks
        assert payload[1] == 0
    assert made(name).loads(payload, bytes, "k") == noise


def test_compression_can_be_turned_off(name: str) -> None:
    assert made(name, compress_above=None).dumps("x" * 10_000, None, "k")[1] == 0


def head(number: int) -> bytes:
    return struct.pack(">BBI", 2, number, 0)


def zipped(body: bytes) -> bytes:
    return head(1) + zlib.compress(body)


def test_max_size_is_what_a_value_may_take_and_no_more(name: str) -> None:
    for compression in ("zlib", "zstd"):
        small: Any = {"max_size": 1000, "compress_above": 10, "compression": compression}
        body = made(name, max_size=10_000).dumps("", None, "k")
        room = 1000 - (len(body) - 6 - (32 if name == "pickle" else 0))
        fits = next(n for n in range(room, 0, -1) if _fits(made(name, **small), "x" * n))
        assert room - fits <= 20  # what longer text needs beside itself
        large = made(name, **{**small, "max_size": 100_000})
        for over in (fits + 1, 50_000):
            with pytest.raises(CannotEncode, match=r"^the value takes \d+ bytes, and max_size is"):
                made(name, **small).dumps("x" * over, None, "k")
            for writer in (large, made(name, compress_above=None)):
                payload = writer.dumps("x" * over, None, "k")
                with pytest.raises(Undecodable, match=r"^the payload holds more than the 1000 byt"):
                    made(name, **small).loads(payload, None, "k")


def _fits(codec: Codec, text: str) -> bool:
    try:
        return codec.loads(codec.dumps(text, None, "k"), None, "k") == text
    except CannotEncode:
        return False


@pytest.mark.parametrize("compression", ["zlib", "zstd"])
def test_max_size_is_exact(compression: str) -> None:
    body = '"' + "x" * 998 + '"'
    large = made("json", compression=compression, compress_above=10)
    for writer in (large, made("json", compress_above=None)):
        payload = writer.dumps(body[1:-1], None, "k")
        assert made("json", max_size=1000).loads(payload, None, "k") == body[1:-1]
        with pytest.raises(Undecodable, match=r"more than the 999 bytes"):
            made("json", max_size=999).loads(payload, None, "k")
    assert made("json", max_size=1000, compress_above=None).dumps(body[1:-1], None, "k")
    with pytest.raises(CannotEncode) as caught:
        made("json", max_size=999).dumps(body[1:-1], None, "k")
    assert str(caught.value) == (
        "the value takes 1000 bytes, and max_size is 999; keep smaller values, or raise max_size"
    )


@pytest.mark.parametrize(("size", "number"), [(19, 1), (20, 0), (21, 0)])
def test_only_what_is_smaller_is_worth_it(size: int, number: int) -> None:
    class Resizing(Zlib):
        def compress(self, body: bytes) -> bytes:
            return bytes(size)

    frame = Frame(2, 0, compression=Resizing(), above=0, max_size=100)
    head, data = frame.wrap(b"x" * 20)
    assert (head[1], len(data)) == (number, min(size, 20))


@pytest.mark.parametrize("compression", ["zlib", "zstd"])
def test_a_bomb_takes_no_memory(compression: str) -> None:
    bomb = made("json", compression=compression, max_size="16MiB").dumps("x" * 2**23, None, "k")
    assert len(bomb) < 2**16
    codec = made("json", max_size="64KiB")
    tracemalloc.start()
    try:
        with pytest.raises(
            Undecodable, match=r"^the payload holds more than the 65536 bytes of ma"
        ):
            codec.loads(bomb, None, "k")
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 2**18


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (zipped(b"1")[:-1], "zlib: the stream does not end where the payload does"),
        (zipped(b"1") + b"x", "zlib: the stream does not end where the payload does"),
        (head(1), "zlib: the stream does not end where the payload does"),
        (head(1) + b"xx", "zlib: Error -3 while decompressing data: incorrect header check"),
        (head(2) + b"xx", "zstd: "),
        (head(2), "zstd: "),
    ],
)
def test_a_broken_stream_is_undecodable(payload: bytes, message: str) -> None:
    with pytest.raises(Undecodable) as caught:
        made("json").loads(payload, None, "k")
    assert str(caught.value).startswith(message)
    assert made("json").loads(zipped(b"1"), None, "k") == 1


def test_a_frame_of_unknown_size_is_not_read() -> None:
    import zstandard

    stream = zstandard.ZstdCompressor().compressobj()
    body = stream.compress(b"1") + stream.flush()
    with pytest.raises(Undecodable, match="holds more than"):
        made("json").loads(head(2) + body, None, "k")
    lying = bytearray(zstandard.ZstdCompressor().compress(b"1" * 10_000))
    assert zstandard.get_frame_parameters(bytes(lying)).content_size == 10_000
    size = lying.index((10_000 - 256).to_bytes(2, "little"))
    lying[size : size + 2] = b"\0\0"
    with pytest.raises(Undecodable, match=r"^zstd: "):
        made("json").loads(head(2) + bytes(lying), None, "k")


def test_without_zstandard_its_payloads_are_undecodable(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = made("json", compress_above=1, compression="zstd").dumps("x" * 100, None, "k")
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(Undecodable, match=r"^the payload's compression 2 cannot be read here$"):
        made("json").loads(payload, None, "k")
    with pytest.raises(
        ConfigError, match=r"^compression 'zstd' needs zstandard: pip install 'esca"
    ):
        made("json", compression="zstd")


# Options


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("yaml", {}, "codec: expected one of the codecs json, msgpack, pickle; found 'yaml'"),
        (None, {}, "codec: expected a name or a codec, found nothing"),
        (object, {}, "codec: expected a name or a codec, found <class 'object'>"),
        ("pickle", {}, "secret: expected one, as in codec_of('pickle', secret=…), for codec 'pick"),
        ("json", {"secret": SECRET}, "secret: expected none, for codec 'json' does not sign; foun"),
        ("json", {"compression": "lzma"}, "compression: expected one of the compressions zlib, z"),
        ("json", {"compress_above": -1}, "compress_above: expected a size such as"),
        ("json", {"max_size": 0}, "max_size: expected a size above zero such as"),
    ],
)
def test_wrong_options_are_refused(spec: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        codec_of(spec, **options)
    assert str(caught.value).startswith(message)


def test_a_codec_of_ones_own_is_taken_as_it_is() -> None:
    own = made("json")
    assert codec_of(own) is own


def test_a_codec_is_shown_by_its_name(name: str) -> None:
    secrets = ", secrets: 1" if name == "pickle" else ""
    assert repr(made(name)) == f"<codec {name}{secrets}>"

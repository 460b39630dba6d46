"""Pickle is read when we signed it for that very key, and not a step earlier."""

from __future__ import annotations

import hmac
import os
import pickle
from typing import Any

import pytest
from tests.caching.codec_values import Order

from escala.caching.codec import Codec, codec_of
from escala.errors import ConfigError, Undecodable

OLD, NEW = "o" * 32, b"n" * 32
SIGNATURE = r"^pickle: the signature is not one of ours for this key$"


def made(secret: Any = OLD, **options: Any) -> Codec:
    return codec_of("pickle", secret=secret, **options)


class Bomb:
    def __reduce__(self) -> Any:
        return (os.putenv, ("ESCALA_TEST_BOMB", "1"))


@pytest.fixture
def unpickled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []
    monkeypatch.setattr(pickle, "loads", found.append)
    return found


def test_anything_comes_back() -> None:
    for value in (Order(1), (1, {2}), len, {"a": Order}):
        codec = made()
        assert codec.loads(codec.dumps(value, None, "k"), None, "k") == value


def test_the_signature_is_over_the_key_the_header_and_the_bytes() -> None:
    payload = made(schema=5).dumps("x", None, "é")
    head, mac, data = payload[:6], payload[6:38], payload[38:]
    assert data == pickle.dumps("x", protocol=pickle.HIGHEST_PROTOCOL)
    signed = b"escala.pickle 2 " + "é".encode() + head + data
    assert mac == hmac.digest(OLD.encode(), signed, "sha256")


def test_a_payload_is_of_its_key_alone(unpickled: list[Any]) -> None:
    payload = made().dumps("x", None, "user:1")
    for other in ("user:2", "user:", "user:11", "", "\ud800"):
        with pytest.raises(Undecodable, match=SIGNATURE):
            made().loads(payload, None, other)
    assert unpickled == []


def test_nothing_is_unpickled_before_its_signature_is_right(unpickled: list[Any]) -> None:
    payload = made().dumps("x" * 40, None, "k")
    for at in range(len(payload)):
        for other in set(range(0, 256, 5)) - {payload[at]}:
            with pytest.raises(Undecodable):
                made().loads(payload[:at] + bytes([other]) + payload[at + 1 :], None, "k")
    with pytest.raises(Undecodable, match=SIGNATURE):
        made().loads(payload[:6] + bytes(32) + pickle.dumps(Bomb()), None, "k")
    with pytest.raises(Undecodable, match=SIGNATURE):
        made().loads(payload[:6] + pickle.dumps(Bomb()), None, "k")
    assert unpickled == []
    made().loads(payload, None, "k")
    assert len(unpickled) == 1


def test_nothing_is_decompressed_before_either(monkeypatch: pytest.MonkeyPatch) -> None:
    codec: Any = made(compress_above=10)
    payload = codec.dumps("x" * 100, None, "k")
    monkeypatch.setattr(codec._frame, "body", lambda *_: pytest.fail("decompressed"))
    with pytest.raises(Undecodable, match=SIGNATURE):
        codec.loads(payload, None, "other")


def test_secrets_can_be_changed_without_a_break() -> None:
    before, during, after = made(OLD), made([NEW, OLD]), made([NEW])
    old, new = before.dumps(1, None, "k"), during.dumps(2, None, "k")
    assert during.loads(old, None, "k") == 1
    assert during.loads(new, None, "k") == after.loads(new, None, "k") == 2
    for codec, payload in [(before, new), (after, old)]:
        with pytest.raises(Undecodable, match=SIGNATURE):
            codec.loads(payload, None, "k")
    assert made(OLD.encode()).loads(old, None, "k") == 1


class Leaving:
    """A class that goes away."""


def test_what_no_longer_unpickles_is_undecodable(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = made().dumps(Leaving(), None, "k")
    monkeypatch.delitem(globals(), "Leaving")
    with pytest.raises(Undecodable, match=r"^pickle: AttributeError: "):
        made().loads(payload, None, "k")


@pytest.mark.parametrize(
    ("secret", "found"),
    [
        ("s" * 31, "at least 32 bytes, found 31; make one with `python -c"),
        (b"s" * 31, "at least 32 bytes, found 31; make one"),
        ("é" * 15, "at least 32 bytes, found 30; make one"),
        ("", "at least 32 bytes, found 0; make one"),
        ([], "at least one secret, found none"),
        ([OLD, "short"], "at least 32 bytes, found 5; make one"),
        ([7], "text or bytes, or several of them; found int"),
        (7, "text or bytes, or several of them; found int"),
    ],
    ids=repr,
)
def test_a_weak_secret_is_refused(secret: Any, found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made(secret)
    assert str(caught.value).startswith(f"secret: expected {found}")
    assert "short" not in str(caught.value)


def test_a_secret_is_never_shown() -> None:
    codec = made([NEW, OLD])
    assert repr(codec) == "<codec pickle, secrets: 2>"
    assert "nnn" not in f"{codec!r} {codec}"
    made("é" * 16)

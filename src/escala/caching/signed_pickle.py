"""Pickle for those who need it: signed, since whoever can write a pickle can run code."""

from __future__ import annotations

import hmac
import pickle
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from escala.caching.frame import HEAD_SIZE, Frame
from escala.errors import CannotEncode, ConfigError, Undecodable

FORMAT = 3
_MAC_SIZE = sha256().digest_size
_DATA_AT = HEAD_SIZE + _MAC_SIZE
_SHORTEST = 32  # bytes of a secret: as strong as the hash

Secret = str | bytes


class SignedPickle:
    """Any Python value, behind an HMAC-SHA-256 over the key, the header and the bytes.

    Nothing is decompressed or unpickled before its signature is found right, and a payload is
    right for its own key only. The first secret signs and all of them verify, so a secret is
    changed without a cold cache: put the new one first, and drop the old one when all it signed
    has expired. Raises `ConfigError` for a secret of fewer than 32 bytes.
    """

    def __init__(self, secrets: Secret | Sequence[Secret], frame: Frame) -> None:
        given = secrets if isinstance(secrets, (list, tuple)) else [secrets]
        self._secrets = [_bytes_of(secret) for secret in given]
        if not given:
            raise ConfigError("secret: expected at least one secret, found none")
        self._frame = frame

    def dumps(self, value: object, kind: Any, key: str) -> bytes:  # noqa: ANN401, ARG002
        """The payload. Raises `CannotEncode` for what pickle does not take, such as a lambda."""
        try:
            body = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            raise CannotEncode(
                f"pickle cannot carry this {type(value).__qualname__}: {error}; return plain data"
            ) from error
        head, data = self._frame.wrap(body)
        return b"".join((head, _mac(self._secrets[0], key, head, data), data))

    def loads(self, payload: bytes, kind: Any, key: str) -> object:  # noqa: ANN401, ARG002
        """The value. Raises `Undecodable`, and nothing else, for what we did not sign."""
        head = self._frame.head(payload)
        view = memoryview(payload)
        mac, data = view[HEAD_SIZE:_DATA_AT], view[_DATA_AT:]
        macs = [_mac(secret, key, head, data) for secret in self._secrets]
        if not any(hmac.compare_digest(own, mac) for own in macs):
            raise Undecodable("pickle: the signature is not one of ours for this key")
        body = self._frame.body(head, data)
        try:
            return pickle.loads(body)  # noqa: S301  we signed it
        except Exception as error:  # what unpickling raises is the classes' own affair
            raise Undecodable(f"pickle: {type(error).__name__}: {error}") from error

    def __repr__(self) -> str:
        return f"<codec pickle, secrets: {len(self._secrets)}>"


def _mac(secret: bytes, key: str, head: bytes, data: bytes | memoryview) -> bytes:
    """The length of the key stands before it, so that no part runs into the next."""
    name = key.encode(errors="surrogatepass")
    mac = hmac.new(secret, b"escala.pickle %d %b%b" % (len(name), name, head), sha256)
    mac.update(data)
    return mac.digest()


def _bytes_of(secret: object) -> bytes:
    """A secret as bytes; what is wrong with it is said without showing it."""
    if not isinstance(secret, (str, bytes)):
        raise ConfigError(
            f"secret: expected text or bytes, or several of them; found {type(secret).__name__}"
        )
    found = secret.encode() if isinstance(secret, str) else secret
    if len(found) < _SHORTEST:
        raise ConfigError(
            f"secret: expected at least {_SHORTEST} bytes, found {len(found)}; "
            "make one with `python -c 'import secrets; print(secrets.token_hex(32))'`"
        )
    return found

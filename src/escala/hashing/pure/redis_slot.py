"""Where Redis Cluster keeps a key: CRC16 of it, or of its hash tag."""

from __future__ import annotations

from binascii import crc_hqx

REDIS_SLOTS = 16_384


def redis_digest(key: bytes, seed: int = 0) -> int:
    """CRC16 (XMODEM) of the key, as the Redis Cluster specification has it; `seed` is 0.

    Only what stands between the first `{` and the next `}` counts, if that is not empty.
    """
    opened = key.find(b"{")
    if opened >= 0:
        closed = key.find(b"}", opened + 1)
        if closed > opened + 1:
            key = key[opened + 1 : closed]
    return crc_hqx(key, seed)

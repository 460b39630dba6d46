"""Against libmemcached's `update_continuum` and `dispatch_host`, told again from its source."""

from __future__ import annotations

from ctypes import c_float
from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.hashing import HashRing
from escala.hashing.pure.ketama import ketama_counts, ketama_digest, ketama_points

Server = tuple[str, int, int]  # host, port, weight


def single(value: float) -> float:
    return c_float(value).value


def continuum(servers: list[Server]) -> list[tuple[int, int]]:
    """(point, index of the server), as libmemcached sorts them."""
    total = single(sum(weight for _, _, weight in servers))
    points = []
    for index, (host, port, weight) in enumerate(servers):
        share = single(single(weight) / total)
        count = single(single(single(share * 160) / 4) * single(len(servers)))
        for number in range(int(single(count + 0.0000000001))):
            name = f"{host}-{number}" if port == 11211 else f"{host}:{port}-{number}"
            found = md5(name.encode(), usedforsecurity=False).digest()
            for at in (0, 4, 8, 12):
                b0, b1, b2, b3 = found[at : at + 4]
                points.append((b3 << 24 | b2 << 16 | b1 << 8 | b0, index))
    return sorted(points, key=lambda point: point[0])


def dispatch(points: list[tuple[int, int]], key: bytes) -> int:
    b0, b1, b2, b3 = md5(key, usedforsecurity=False).digest()[:4]
    wanted = b3 << 24 | b2 << 16 | b1 << 8 | b0
    return next((index for point, index in points if point >= wanted), points[0][1])


SERVERS = st.lists(
    st.tuples(
        st.sampled_from([f"cache{number}" for number in range(12)]),
        st.sampled_from([11211, 11212, 22122]),
        st.integers(1, 20),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda server: server[:2],
)


@given(SERVERS, st.lists(st.text(max_size=12), min_size=1, max_size=20))
def test_keys_go_where_libmemcached_sends_them(servers: list[Server], keys: list[str]) -> None:
    names = [f"{host}:{port}" for host, port, _ in servers]
    weights = {name: weight for name, (_, _, weight) in zip(names, servers, strict=True)}
    ring, points = HashRing(weights, hash="ketama"), continuum(servers)
    for key in keys:
        assert ring.node(key) == names[dispatch(points, key.encode())]


def test_points_of_a_server_from_first_principles() -> None:
    found = md5(b"10.0.1.1-0", usedforsecurity=False).hexdigest()
    words = [bytes.fromhex(found)[at : at + 4] for at in range(0, 16, 4)]
    expected = [int.from_bytes(word, "little") for word in words]
    assert ketama_points("10.0.1.1:11211", 4) == ketama_points("10.0.1.1", 4) == expected
    assert ketama_points("10.0.1.1:11212", 4) != expected
    assert len(ketama_points("10.0.1.1", 160)) == 160
    assert ketama_points("10.0.1.1", 160)[:4] == expected
    assert ketama_points("10.0.1.1", 0) == []


def test_a_key_is_the_first_word_of_its_md5() -> None:
    # RFC 1321: MD5("abc") = 900150983cd24fb0d6963f7d28e17f72
    assert ketama_digest(b"abc") == 0x98500190
    # and MD5("") = d41d8cd98f00b204e9800998ecf8427e
    assert ketama_digest(b"") == 0xD98C1DD4


def test_equal_servers_have_160_points_each_and_weights_share_them() -> None:
    assert ketama_counts({"a": 1, "b": 1, "c": 1}) == {"a": 160, "b": 160, "c": 160}
    assert ketama_counts({"a": 600, "b": 300, "c": 200, "d": 350}) == {
        "a": 264,
        "b": 132,
        "c": 88,
        "d": 152,
    }
    # As there: a server whose weight is too small has no point, and gets no key.
    assert ketama_counts({"a": 1, "b": 1000}) == {"a": 0, "b": 316}


@pytest.mark.parametrize(
    ("key", "node"),
    [
        ("user:1", "10.0.1.3:11212"),
        ("user:2", "10.0.1.2:11211"),
        ("user:3", "10.0.1.3:11212"),
        ("user:4", "10.0.1.1:11211"),
        ("käse", "10.0.1.3:11212"),
    ],
)
def test_places_that_never_change(key: str, node: str) -> None:
    ring = HashRing(
        {"10.0.1.1:11211": 600, "10.0.1.2:11211": 300, "10.0.1.3:11212": 200}, hash="ketama"
    )
    assert ring.node(key) == node

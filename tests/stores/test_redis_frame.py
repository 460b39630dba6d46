"""A call of a script goes out as the packer packs it, whatever was kept of the calls before."""

from __future__ import annotations

from hashlib import sha1
from typing import Any, cast

import pytest
from hiredis import pack_command
from hypothesis import given
from hypothesis import strategies as st

from escala.stores.redis_frame import framed

SCRIPTS = ("return 1", "return ARGV[1]")


def packed(script: str, keys: Any, args: Any) -> bytes:
    digest = sha1(script.encode(), usedforsecurity=False).hexdigest()
    pack = cast("Any", pack_command)
    return cast("bytes", pack(("EVALSHA", digest, len(keys), *keys, *args)))


@given(
    script=st.sampled_from(SCRIPTS),
    keys=st.lists(st.text() | st.binary() | st.integers(), max_size=3),
    args=st.lists(st.text() | st.binary(), max_size=12),
    as_tuple=st.booleans(),
)
def test_it_is_what_the_packer_makes(script: str, keys: Any, args: Any, *, as_tuple: bool) -> None:
    given_args = tuple(args) if as_tuple else args
    for _ in range(2):
        assert framed(script, keys, given_args) == packed(script, keys, args)


@pytest.mark.parametrize("key", ["", "k", "\u00e9\u20ac", b"\0\xff", "x" * 100, 7])
@pytest.mark.parametrize("args", [(), (1, 0), ("1", b"\0"), ("", 2.5, -1), tuple(range(20))])
def test_one_key_among_kept_words(key: Any, args: Any) -> None:
    assert framed(SCRIPTS[0], (key,), args) == packed(SCRIPTS[0], (key,), args)


def test_what_is_kept_is_of_one_script_and_one_length() -> None:
    seen = {
        framed(script, (key,), (1, 0, word))
        for script in SCRIPTS
        for key in ("a", "b", "aa")
        for word in ("x", "y")
    }
    assert len(seen) == 12

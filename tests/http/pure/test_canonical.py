from __future__ import annotations

import pytest

from escala.http.pure.syntax import canonical


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/a/b", b"/a/b"),
        (b"/%61/b", b"/a/b"),
        (b"/a%2Fb", b"/a/b"),
        (b"//a///b", b"/a/b"),
        (b"/%2fa", b"/a"),
        (b"/\\a", b"/a"),
        (b"/a%5Cb", b"/a/b"),
        (b"/a%2561", b"/a%61"),
        (b"/a%zz", b"/a%zz"),
        (b"/%c3%a9", b"/\xc3\xa9"),
    ],
)
def test_every_spelling_of_a_path_is_compared_as_one(path: bytes, expected: bytes) -> None:
    assert canonical(path) == expected

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.cli.demo import access_log
from escala.cli.demo.access_log import Ask
from escala.errors import ConfigError

COMMON = b'10.0.0.1 - ann [17/May/2015:10:05:03 +0000] "GET /a?b=1 HTTP/1.1" 200 203\n'
COMBINED = (
    b'10.0.0.2 - - [17/May/2015:10:05:03 +0000] "POST /b HTTP/1.0" 404 - '
    b'"http://example.org/\\"x\\"" "Mozilla/5.0 (X11; \\"quoted\\")"\n'
)
BROKEN = (
    b"not a line at all\n",
    b'10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200\n',
    b'10.0.0.1 - - [17/May/2015:10:05:03 +0000] "-" 408 0\n',
    b'10.0.0.1 - - [17/May/2015:10:05:03 +0000] "BREW /pot HTTP/1.1" 418 0\n',
    b'10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 1 "-" "cut he\n',
    b"\x16\x03\x01\x02\x00\x01\xff\n",
)


def test_both_formats_and_their_escapes() -> None:
    log = access_log.parse([COMMON, COMBINED])
    assert log.asks == [Ask("10.0.0.1", "GET", "/a?b=1"), Ask("10.0.0.2", "POST", "/b")]
    assert (log.lines, log.broken) == (2, 0)


@pytest.mark.parametrize("tail", [b"", b"\r", b' "extra" 0.004'])
def test_what_servers_add_at_the_end_is_let_be(tail: bytes) -> None:
    assert not access_log.parse([COMBINED.rstrip(b"\n") + tail + b"\n"]).broken


@pytest.mark.parametrize("line", BROKEN)
def test_a_broken_line_is_counted_and_skipped(line: bytes) -> None:
    log = access_log.parse([COMMON, line, COMBINED])
    assert (len(log.asks), log.lines, log.broken) == (2, 3, 1)


def test_the_report_of_broken_lines() -> None:
    log = access_log.parse([COMMON] * 9_997 + list(BROKEN[:3]), name="access.log")
    assert str(log) == "access.log: 10,000 lines, 3 broken"


def test_blank_lines_are_no_lines() -> None:
    assert access_log.parse([b"\n", b"   \n", COMMON]).lines == 1


def test_equal_urls_share_one_string() -> None:
    one, other = access_log.parse([COMMON, bytes(COMMON)]).asks
    assert one.url is other.url


def test_a_long_log_is_read_up_to_the_bound() -> None:
    endless = iter(lambda: COMMON, None)
    assert access_log.parse(endless).lines == access_log.MOST_LINES


@pytest.mark.parametrize("name", ["access.log", "no-suffix-needed"])
def test_gzip_is_told_by_its_first_bytes(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(gzip.compress(COMMON + COMBINED))
    assert len(access_log.read(file).asks) == 2


def test_a_cut_gzip_gives_what_was_read(tmp_path: Path) -> None:
    file = tmp_path / "cut.gz"
    lines = b"".join(COMMON.replace(b"/a", b"/%d" % (n * n)) for n in range(5000))
    whole = gzip.compress(lines)
    file.write_bytes(whole[: len(whole) // 2])
    log = access_log.read(file)
    assert log.asks
    assert log.broken >= 1


def test_a_line_without_end_is_one_broken_line(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    file.write_bytes(COMMON + b"x" * 1_000_000 + b"\n" + COMBINED)
    log = access_log.read(file)
    assert (log.lines, log.broken, len(log.asks)) == (3, 1, 2)


def test_a_missing_log_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file") as caught:
        access_log.read(tmp_path / "none.log")
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="directory"):
        access_log.read(tmp_path)


def test_a_file_that_is_no_log_says_so(tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(b"\xff\xd8\xff\n" * 7)
    with pytest.raises(ConfigError, match="none of its 7 lines"):
        access_log.read(file)


def test_an_empty_file_says_so(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    file.write_bytes(b"")
    with pytest.raises(ConfigError, match="none of its 0 lines"):
        access_log.read(file)


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_no_bytes_break_the_parser(lines: list[bytes]) -> None:
    log = access_log.parse(lines)
    assert len(log.asks) + log.broken == log.lines <= len(lines)


@given(st.binary(max_size=2000))
def test_no_file_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    file = tmp_path_factory.mktemp("log") / "access.log"
    file.write_bytes(raw)
    try:
        assert access_log.read(file).asks
    except ConfigError:
        assert COMMON not in raw


@given(st.integers(min_value=0, max_value=len(COMBINED) - 1), st.binary(min_size=1, max_size=4))
def test_a_damaged_line_is_used_or_counted(at: int, damage: bytes) -> None:
    line = COMBINED[:at] + damage + COMBINED[at + len(damage) :]
    log = access_log.parse([line])
    assert len(log.asks) + log.broken == log.lines

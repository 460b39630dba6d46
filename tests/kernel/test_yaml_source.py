from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from escala.errors import ConfigError
from escala.kernel import yaml_nodes
from escala.kernel.problem import BROKEN, Problem
from escala.kernel.yaml_nodes import DEEPEST, LARGEST_FILE, MOST_NODES
from escala.kernel.yaml_source import Document, load_yaml, parse_yaml


@pytest.fixture(autouse=True, params=["libyaml", "pure"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here holds with PyYAML's C parser and with its Python one."""
    if request.param == "pure":
        monkeypatch.delattr(yaml, "CSafeLoader")


def parse(text: str, **environ: str) -> Document:
    return parse_yaml(text.encode(), "stack.yaml", environ)


def problems(text: str, **environ: str) -> list[str]:
    return [str(problem) for problem in parse(text, **environ).problems]


def refused(text: str | bytes) -> str:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(ConfigError) as caught:
        parse_yaml(data, "stack.yaml", {})
    (line,) = caught.value.problems
    return line


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("+3", 3),
        ("007", 7),
        ("3.5", 3.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("''", ""),
        ("'3'", "3"),
        ('"true"', "true"),
        ("!!str 3", "3"),
        ("! 3", "3"),
        ("!!map {b: c}", {"b": "c"}),
        ("!!seq [b]", ["b"]),
        ("! [b]", ["b"]),
        ("no", "no"),
        ("on", "on"),
        ("22:22", "22:22"),
        ("2024-01-01", "2024-01-01"),
        ("0x10", "0x10"),
        (".inf", ".inf"),
        ("1_000", "1_000"),
        ("200/s", "200/s"),
        ("20%", "20%"),
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("1.2.3", "1.2.3"),
        ("tRue", "tRue"),
    ],
)
def test_plain_text_means_what_yaml_1_2_says(text: str, value: object) -> None:
    document = parse(f"a: {text}")
    assert document.value == {"a": value}
    assert type(document.value["a"]) is type(value)
    assert not document.problems


def test_a_number_of_too_many_digits_is_text() -> None:
    assert parse(f"a: {'9' * 5000}").value == {"a": "9" * 5000}


def test_keys_are_always_text() -> None:
    assert parse("8080: a\ntrue: b\nnull: c").value == {"8080": "a", "true": "b", "null": "c"}


def test_marks_tell_where_values_and_keys_stand() -> None:
    document = parse("a: 1\nb:\n  - x\n  - {c:   3}\n")
    places = {path: (mark.line, mark.column) for path, mark in document.marks.items()}
    assert places == {(): (1, 1), ("a",): (1, 4), ("b",): (3, 3), ("b", 0): (3, 5),
                      ("b", 1): (4, 5), ("b", 1, "c"): (4, 11)}  # fmt: skip
    assert str(document.mark(("b", 1, "c"), key=True)) == "stack.yaml:4:6"
    assert str(document.mark(("b", 1, "c", "missing"))) == "stack.yaml:4:11"
    assert str(document.mark(("z",))) == "stack.yaml:1:1"


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "---\n...\n"])
def test_an_empty_file_is_nothing(text: str) -> None:
    document = parse(text)
    assert document.value is None
    assert not document.problems


def test_a_byte_order_mark_is_skipped() -> None:
    assert parse_yaml(b"\xef\xbb\xbfa: 1", "stack.yaml", {}).value == {"a": 1}


def test_duplicate_keys_are_reported_and_the_first_wins() -> None:
    text = "a: 1\nb: {x: 1, x: 2}\na: 3\n"
    assert problems(text) == [
        "stack.yaml:3:1: expected each key once, found 'a' again (first in line 1)",
        "stack.yaml:2:11: b: expected each key once, found 'x' again (first in line 2)",
    ]
    assert parse(text).value == {"a": 1, "b": {"x": 1}}


def test_keys_that_are_no_text_are_reported() -> None:
    assert problems("? [a, b]\n: 1\nc: 2") == [
        "stack.yaml:1:3: expected text as a key, found a list"
    ]
    assert problems("{{a: b}: 1}") == ["stack.yaml:1:2: expected text as a key, found a mapping"]


@pytest.mark.parametrize(
    ("text", "tag", "column"),
    [
        ("a: !!python/object/apply:os.system [x]", "!!python/object/apply:os.system", 4),
        ("a: !!python/name:os.system ''", "!!python/name:os.system", 4),
        ("a: !!int '3'", "!!int", 4),
        ("a: !!binary aGk=", "!!binary", 4),
        ("a: !mine {b: c}", "!mine", 4),
        ("a: !!set {b}", "!!set", 4),
    ],
)
def test_tags_are_refused(text: str, tag: str, column: int) -> None:
    assert problems(text) == [f"stack.yaml:1:{column}: expected a plain value, found the tag {tag}"]


def test_anchors_and_merges() -> None:
    text = """
base: &base {a: 1, b: 2}
more: &more {b: 3, c: 4}
one: {<<: *base, b: 9}
two: {<<: [*more, *base]}
same: *base
quoted: {'<<': 1}
"""
    document = parse(text)
    assert document.value["one"] == {"a": 1, "b": 9}
    assert document.value["two"] == {"a": 1, "b": 3, "c": 4}
    assert document.value["same"] == {"a": 1, "b": 2}
    assert document.value["quoted"] == {"<<": 1}
    assert document.value["same"] is not document.value["base"]
    assert str(document.mark(("one", "a"))) == "stack.yaml:2:17"
    assert not document.problems


def test_what_cannot_be_merged_is_reported() -> None:
    assert problems("a: {<<: 3}") == [
        "stack.yaml:1:9: a: expected a mapping to merge, found a scalar"
    ]
    assert problems("a: {<<: [{b: 1}, [c]]}") == [
        "stack.yaml:1:18: a: expected a mapping to merge, found a list"
    ]


@pytest.mark.parametrize("text", ["a: *b", "a: &b [*b]", "a: [*b, &b 1]"])
def test_an_alias_needs_an_anchor_before_it(text: str) -> None:
    column = text.index("*") + 1
    message = "expected an anchor '&b' before its alias, found none"
    assert problems(text) == [f"stack.yaml:1:{column}: {message}"]


def test_what_an_alias_of_nothing_stands_for_is_broken() -> None:
    assert parse("a: *b").value == {"a": BROKEN}


def test_the_limits() -> None:
    assert (LARGEST_FILE, MOST_NODES, DEEPEST) == (2**20, 100_000, 40)


def test_a_laughing_file_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    message = refused("\n".join(lines))
    assert f"expected at most {MOST_NODES} values, found more" in message
    assert message.startswith("stack.yaml:5:")


def test_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_nodes, "MOST_NODES", 100)
    assert len(parse("[" + "1," * 98 + "1]").value) == 99
    assert refused("[" + "1," * 99 + "1]") == (
        "stack.yaml:1:200: expected at most 100 values, found more "
        "(an alias counts as if written out)"
    )


def test_deep_nesting_is_refused() -> None:
    assert parse("[" * (DEEPEST - 1) + "x" + "]" * (DEEPEST - 1)).value
    deeper = refused("[" * DEEPEST + "x" + "]" * DEEPEST)
    assert f"expected at most {DEEPEST} levels of nesting, found more" in deeper
    assert f"expected at most {DEEPEST} levels of nesting" in refused("[" * 500_000)


def test_aliases_add_to_the_depth() -> None:
    half = DEEPEST // 2
    text = f"a: &a {'[' * half}x{']' * half}\nb: {'[' * half}*a{']' * half}"
    assert "levels of nesting" in refused(text)


def test_a_large_file_is_refused() -> None:
    line = b"# " + b"x" * 97 + b"\n"
    full = (line * (LARGEST_FILE // 100 + 1))[: LARGEST_FILE - 1] + b"\n"
    assert parse_yaml(full, "stack.yaml", {}).value is None
    assert refused(full + b"\n") == f"stack.yaml: expected at most {LARGEST_FILE} bytes, found more"


def test_a_second_document_is_refused() -> None:
    assert refused("a: 1\n---\nb: 2") == (
        "stack.yaml:2:1: expected one YAML document, found a second one"
    )


@pytest.mark.parametrize(
    ("text", "place"),
    [("a: [1, 2\nb: 3", "2:2"), ("a: b: c", "1:5"), ("a:\n\t- b", "2:1"), ("- a\nb: c", "2:1")],
)
def test_broken_yaml_is_located(text: str, place: str) -> None:
    assert refused(text).startswith(f"stack.yaml:{place}: expected YAML, found an error in it: ")


def test_text_must_be_utf_8() -> None:
    assert refused(b"a: 1\nb: \xff") == ("stack.yaml:2:4: expected UTF-8 text, found the byte 0xff")
    assert refused("a: x".encode("utf-16")) == (
        "stack.yaml:1:1: expected UTF-8 text, found the byte 0xff"
    )


def test_text_must_be_printable() -> None:
    assert refused("a: 1\nbc: \x00") == "stack.yaml:2:5: expected printable text, found '\\x00'"


@given(st.text(max_size=60) | st.text(alphabet="{}[]:,-&*!|>%@`'\"#?<ab \n", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ConfigError):
        for problem in parse_yaml(text.encode("utf-8", "replace"), "stack.yaml", {}).problems:
            assert isinstance(problem, Problem)
            assert problem.mark.line


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(ConfigError):
        parse_yaml(data, "stack.yaml", {})


def test_loads_a_file(tmp_path: Path) -> None:
    file = tmp_path / "stack.yaml"
    file.write_text("a: ${B}\n")
    document = load_yaml(file, {"B": "c"})
    assert document.value == {"a": "c"}
    assert str(document.mark(("a",))) == f"{file}:1:4"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_yaml(tmp_path / "none.yaml", {})
    assert str(caught.value) == (
        f"{tmp_path}/none.yaml: expected a readable file, found: No such file or directory"
    )
    with pytest.raises(ConfigError, match=r"found: Is a directory$"):
        load_yaml(tmp_path, {})


def test_a_large_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "stack.yaml"
    file.write_bytes(b"#" * (LARGEST_FILE + 5))
    with pytest.raises(ConfigError, match=r"expected at most 1048576 bytes, found more$"):
        load_yaml(file, {})


def test_the_c_parser_is_used_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    if hasattr(yaml, "CSafeLoader"):
        monkeypatch.setattr(yaml, "SafeLoader", None)
    assert parse("a: 1").value == {"a": 1}


def test_an_error_without_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(_text: str, **_: object) -> None:
        raise yaml.YAMLError("something odd")

    monkeypatch.setattr(yaml, "parse", parse)
    assert refused("a: 1") == "stack.yaml: expected YAML, found an error in it: something odd"


def test_without_pyyaml_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert refused("a: 1") == (
        'stack.yaml: reading YAML needs PyYAML, which is not installed: pip install "escala[serve]"'
    )

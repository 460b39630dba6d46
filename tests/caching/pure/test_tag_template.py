"""Tags of a call and of its result."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pytest

from escala.caching.pure.tag_template import TagTemplate
from escala.errors import ConfigError


def order(id: Any, /, lang: Any = "en", *more: Any, by: Any = None, **rest: Any) -> None: ...  # noqa: A002


def test_a_tag_may_name_arguments_and_the_result() -> None:
    tags = TagTemplate("orders", "lang:{lang}", "{result.customer}:{id}", "by:{by}").bind(order)
    result = SimpleNamespace(customer="a:b")
    assert tags(result, 7, by="me") == ("orders", "lang:en", "a%3Ab:7", "by:me")
    assert tags(result, 7, "nl", 1, 2, other=3) == ("orders", "lang:nl", "a%3Ab:7", "by:%none")


def test_a_result_of_none_has_no_tags_of_its_own() -> None:
    tags = TagTemplate("{result.customer}", "lang:{lang}", "{result}").bind(order)
    assert tags(None, 7) == ("lang:en",)
    with pytest.raises(AttributeError):
        tags(0, 7)


def test_the_builder_takes_the_result_before_all_others() -> None:
    for texts in [("a",), ("{result}",)]:
        tags = TagTemplate(*texts).bind(order)
        first, *others = inspect.signature(tags).parameters.values()
        assert first.kind is inspect.Parameter.POSITIONAL_ONLY
        assert [str(one) for one in others] == ["id", "lang='en'", "*more", "by=None", "**rest"]
        assert tags.__name__ == "order"


def test_an_argument_may_be_called_result_if_no_tag_means_the_other() -> None:
    def fn(result: Any) -> None: ...

    assert TagTemplate("x", "y").bind(fn)("given", "argument") == ("x", "y")
    with pytest.raises(ConfigError, match=r"expected \{result} to be what fn returns, found an"):
        TagTemplate("x", "{result}").bind(fn)


def test_whether_tags_need_the_result_is_known() -> None:
    assert not TagTemplate("x:{id}", "results").names_result
    assert not TagTemplate().names_result
    assert TagTemplate("x:{id}", "{result.id}").names_result
    assert TagTemplate().bind(order)(None, 7) == ()


def test_a_long_tag_is_shortened() -> None:
    (tag,) = TagTemplate("t:{id}").bind(order)(None, "x" * 199)
    assert len(tag) == 200
    assert "%#" in tag


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("ok", "{idd}"), "expected arguments of order, which takes id, lang, more, by, rest, res"),
        (("{a}{b}",), "expected ':' between"),
        (("{}",), "expected an argument such as"),
    ],
)
def test_wrong_tags_are_refused(texts: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TagTemplate(*texts).bind(order)


def test_it_is_shown_as_it_is_made() -> None:
    assert repr(TagTemplate("a", "b:{id}")) == "TagTemplate('a', 'b:{id}')"

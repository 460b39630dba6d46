"""Keys for many at once, and the call for those that are missing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from escala.caching.pure.batch_template import BatchTemplate
from escala.errors import ConfigError


def orders(ids: list[int], lang: str = "en") -> Any:
    return ids, lang


def test_each_item_has_its_key() -> None:
    bound = BatchTemplate("order:{id}:{lang}").bind(orders)
    assert bound.items == "ids"
    assert bound.keys([1, "a:b"], lang="nl") == ([1, "a:b"], ["order:1:nl", "order:a%3Ab:nl"])
    assert bound.keys(ids=(7, 7)) == ([7, 7], ["order:7:en"] * 2)
    assert bound.keys(iter([])) == ([], [])
    ((key,),) = [bound.keys(["x" * 300])[1]]
    assert len(key) == 200
    with pytest.raises(TypeError, match=r"^id: expected text"):
        bound.keys([[1]])
    for text in ("12", b"12"):
        with pytest.raises(TypeError, match=f"^ids: expected a list, found {type(text).__name__}$"):
            bound.keys(text)


def test_the_function_is_called_for_some_of_them() -> None:
    bound = BatchTemplate("order:{id}").bind(orders)
    assert bound.call([2], [1, 2]) == ([2], "en")
    assert bound.call([2], lang="nl", ids=[1, 2]) == ([2], "nl")

    def all_kinds(first: Any, /, ids: Any, *, last: Any = 5) -> Any:
        return first, ids, last

    bound = BatchTemplate("{first}:{id}:{last}").bind(all_kinds)
    assert bound.keys(1, [2], last=3) == ([2], ["1:2:3"])
    assert bound.call([9], 1, [2], last=3) == (1, [9], 3)
    assert bound.call([9], 1, ids=[2]) == (1, [9], 5)

    def any_number(ids: Any, *more: Any) -> Any:
        return ids, more

    bound = BatchTemplate("{id}:{more}").bind(any_number)
    assert bound.keys([1], 2, 3) == ([1], ["1:,2,3"])
    assert bound.call([9], [1], 2, 3) == ([9], (2, 3))

    def by_name(*, ids: Any) -> Any:
        return ids

    assert BatchTemplate("{id}").bind(by_name).call([9], ids=[1]) == [9]


def test_items_may_have_attributes() -> None:
    def prices(orders: Any, lang: Any) -> None: ...

    bound = BatchTemplate("price:{order.id}:{order.part}").bind(prices)
    item = SimpleNamespace(id=7, part="x")
    assert bound.keys([item], "en") == ([item], ["price:7:x"])


def test_the_list_is_the_only_argument_left_or_the_one_that_is_said() -> None:
    def fetch(db: Any, numbers: Any) -> Any:
        return db, numbers

    assert BatchTemplate("{db}:{id}").bind(fetch).items == "numbers"
    bound = BatchTemplate("n:{id}").bind(fetch, items="numbers")
    assert bound.items == "numbers"
    assert bound.call([1], "db", [1, 2]) == ("db", [1])
    for items, wanted in [(None, "ids"), ("nobody", "nobody")]:
        with pytest.raises(ConfigError) as caught:
            BatchTemplate("n:{id}").bind(fetch, items=items)
        assert str(caught.value) == (
            f"'n:{{id}}': expected an argument {wanted!r} of fetch that is the list; "
            "found db, numbers"
        )
    with pytest.raises(ConfigError, match=r"found numbers$"):
        BatchTemplate("{db}:{id}").bind(fetch, items="db")
    with pytest.raises(ConfigError, match=r"found none$"):
        BatchTemplate("{db}:{numbers}:{id}").bind(fetch)


@pytest.mark.parametrize(
    ("text", "found"), [("all:{lang}", "none"), ("all", "none"), ("{id}:{nr}", "id, nr")]
)
def test_there_is_one_field_for_an_item(text: str, found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        BatchTemplate(text).bind(orders)
    assert str(caught.value) == (
        f"{text!r}: expected one field for an item of the list that orders takes, "
        f"such as {{id}} for ids; found {found}"
    )


def test_arguments_of_any_number_are_refused() -> None:
    def fn(ids: Any, *more: Any) -> None: ...

    with pytest.raises(ConfigError, match=r"found \*more of fn"):
        BatchTemplate("{id}").bind(fn)


def test_an_item_may_have_a_name_of_the_code() -> None:
    def fn(_escala_keyss: Any) -> None: ...

    assert BatchTemplate("{_escala_keys}").bind(fn).keys([1]) == ([1], ["1"])
    assert BatchTemplate("{_escala_keys}").bind(lambda many: many).keys([1]) == ([1], ["1"])
    assert repr(BatchTemplate("a:{id}")) == "BatchTemplate('a:{id}')"

from __future__ import annotations

import json
import pickle
from collections import Counter
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escala.databases import Moving, Rows, ShardMap, ShardMove
from escala.databases.pure.slot_runs import members
from escala.errors import ConfigError, UnknownKey

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-(2**63), 2**63 - 1)
KEYS = st.one_of(TEXTS, NUMBERS, st.uuids())
ANY_KEY = st.one_of(KEYS, st.binary(max_size=9), st.dates(), st.datetimes())
LOCAL = datetime(2026, 1, 1)  # noqa: DTZ001  a column without a zone has such
SHARDS = st.dictionaries(
    st.sampled_from([f"s{number}" for number in range(12)]),
    st.sampled_from([0.5, 1, 1, 2]),
    min_size=1,
)
SOME_SLOTS = ShardMove(source="s0", target="s2", slots=((0, 3),))
SAMPLE: list[Any] = [f"tenant-{number}" for number in range(150)] + list(range(-50, 100))


def slot_map(shards: Any = ("s0", "s1"), slots: int = 64, by: str = "postgres") -> ShardMap:
    return ShardMap.slots(shards, key="tenant_id", slots=slots, hash=by)


def moved_keys(plan: list[ShardMove]) -> set[Any]:
    return {key for move in plan for key in move.keys}


KEY_OF_S1 = next(key for key in SAMPLE if slot_map().shard(key) == "s1")


class TestSlots:
    def test_a_key_is_where_postgres_itself_would_put_it(self) -> None:
        shards = slot_map(slots=4096)
        assert shards.slot("tea") == 4025178570684495619 & 4095
        assert shards.slot(42) == 8010225493015854792 & 4095
        assert shards.shard("tea") == shards.owners[shards.slot("tea")]

    @pytest.mark.parametrize(
        ("by", "slots", "keys", "expected"),
        [
            ("redis", 16_384, ["123456789", b"123456789", "{user1000}.x"], [12739, 12739, 3443]),
            ("xxh3", 64, ["7", b"7", 7], [58, 58, 58]),
        ],
        ids=["redis", "xxh3"],
    )  # fmt: skip
    def test_other_hashes(self, by: str, slots: int, keys: Any, expected: Any) -> None:
        assert [slot_map(slots=slots, by=by).slot(key) for key in keys] == expected

    def test_one_key_is_one_key_however_it_is_written(self) -> None:
        class Name(str, Enum):  # noqa: UP042  models have such, and their text is another
            ACME = "acme"

        class Number(int, Enum):
            SEVEN = 7

        east = datetime(2026, 1, 1, 5, tzinfo=timezone(timedelta(hours=5)))
        for by in ("xxh3", "redis"):
            shards = slot_map(slots=16_384, by=by)
            assert shards.slot(Name.ACME) == shards.slot("acme") == shards.slot(b"acme")
            assert shards.slot(Number.SEVEN) == shards.slot(7) == shards.slot("7")
            assert shards.slot(-7) == shards.slot("-7")
            assert shards.slot(east) == shards.slot(datetime(2026, 1, 1, tzinfo=UTC))
            assert shards.slot(east) == shards.slot("2026-01-01T00:00:00+00:00")
            assert shards.slot(LOCAL) == shards.slot("2026-01-01T00:00:00")
            assert shards.slot(LOCAL.date()) == shards.slot("2026-01-01")
            assert shards.slot(UUID(int=7)) == shards.slot(str(UUID(int=7)))
        assert slot_map().slot(Name.ACME) == slot_map().slot("acme")

    def test_shards_have_their_shares_in_runs_of_slots(self) -> None:
        shards = slot_map({"a": 1, "b": 2, "c": 1})
        assert Counter(shards.owners) == {"a": 16, "b": 32, "c": 16}
        assert shards.owners == tuple("a" * 16 + "b" * 32 + "c" * 16)
        assert shards.slot_count == 64

    @settings(max_examples=60)
    @given(SHARDS, SHARDS)
    def test_a_change_moves_as_few_slots_as_there_can(self, before: Any, after: Any) -> None:
        old = slot_map(before)
        new = old.with_shards(after)
        plan = old.plan(new)
        had, has = Counter(old.owners), Counter(new.owners)
        slots = [slot for move in plan for slot in members(move.slots)]
        assert len(slots) == len({*slots}) == sum(max(0, has[each] - had[each]) for each in after)
        for each, weight in after.items():
            assert abs(has[each] - 64 * weight / sum(after.values())) < 1
        for move in plan:
            assert {old.owners[slot] for slot in members(move.slots)} == {move.source}
            assert {new.owners[slot] for slot in members(move.slots)} == {move.target}
        stay = {*range(64)} - {*slots}
        assert all(old.owners[slot] == new.owners[slot] for slot in stay)
        for key in SAMPLE:
            assert (old.shard(key) != new.shard(key)) == (old.slot(key) in slots)

    def test_the_least_that_makes_a_map(self) -> None:
        assert slot_map(["a"], slots=1).shard("x") == "a"
        assert slot_map(["a", "b"], slots=2).owners == ("a", "b")

    def test_an_unchanged_map_moves_nothing(self) -> None:
        shards = slot_map()
        assert shards.plan(shards.with_shards(["s1", "s0"])) == []

    @pytest.mark.parametrize(
        ("key", "says"),
        [
            (None, "None"),
            (True, "True"),
            (1.5, "1.5"),
            (b"x", "text, a whole number or a UUID"),
            (date(2026, 1, 1), "text, a whole number or a UUID"),
            (2**63, "64 bits"),
            (-(2**63) - 1, "64 bits"),
            ("\ud800", "no text"),
            (("a", "b"), "text, a whole number or a UUID"),
            ((), "found ()"),
            ((("a",),), "(('a',),)"),
        ],
        ids=[*("none", "bool", "float", "bytes", "date", "large", "small"),
             *("surrogate", "pair", "empty", "nested")],
    )  # fmt: skip
    def test_what_is_no_key(self, key: Any, says: str) -> None:
        with pytest.raises(UnknownKey, match="ShardMap") as error:
            slot_map().shard(key)
        assert says in str(error.value)

    @pytest.mark.parametrize("key", [2**63 - 1, -(2**63), "", UUID(int=0)], ids=str)
    def test_the_last_that_are_keys(self, key: Any) -> None:
        assert slot_map().shard(key) in {"s0", "s1"}

    @pytest.mark.parametrize(
        ("build", "says"),
        [
            (lambda: slot_map([]), "at least one node"),
            (lambda: slot_map(["a", "a"]), "named twice"),
            (lambda: slot_map({"a": 0}), "weight of 'a'"),
            (lambda: slot_map(slots=0), "ShardMap: slots: expected a whole number from 1 to 65536"),
            (lambda: slot_map(slots=131_072), "slots: expected a whole number from 1 to 65536"),
            (lambda: slot_map(slots=48), "power of two"),
            (lambda: slot_map("abc", slots=2), "a list of names"),
            (lambda: slot_map([*"abc"], slots=2), "at most as many shards as slots, 2, found 3"),
            (lambda: slot_map(by="md5"), "postgres, xxh3, redis"),
            (lambda: slot_map(by=[]), "postgres, xxh3, redis"),  # type: ignore[arg-type]
            (lambda: slot_map(by="redis"), "redis has 16384"),
            (lambda: ShardMap.slots(["a"], key=""), "name of a column"),
            (lambda: ShardMap.slots(["a"], key=3), "name of a column"),  # type: ignore[arg-type]
            (lambda: ShardMap.slots(["a"], key=()), "name of a column"),  # type: ignore[arg-type]
            (lambda: ShardMap.slots(["a"], key=("a", "b")), "one column"),  # type: ignore[arg-type]
            (lambda: slot_map().plan(slot_map(by="xxh3")), "same (hash, slots)"),
            (lambda: slot_map().plan(slot_map(slots=128)), "same (hash, slots)"),
            (lambda: slot_map().plan(ShardMap.slots(["a"], key="id")), "('tenant_id',)"),
            (lambda: slot_map().plan(ShardMap.hash(["a"], key="tenant_id")), "slots, found hash"),
            (lambda: slot_map().pin("x", "s9"), "no shard 's9'"),
            (lambda: slot_map().unpin("x"), "'x' is not pinned"),
            (lambda: slot_map().pin("x", "s1").with_shards(["s0"]), "is pinned to 's1'"),
        ],
        ids=[*("none", "twice", "weightless", "no-slots", "too-many-slots", "no-power", "text"),
             *("few-slots", "hash", "no-name", "redis", "no-key", "key-type", "no-columns"),
             *("two-columns", "plan-hash", "plan-slots", "plan-key", "plan-kind", "pin"),
             *("unpin", "pinned")],
    )  # fmt: skip
    def test_what_makes_no_map(self, build: Any, says: str) -> None:
        with pytest.raises(ConfigError) as error:
            build()
        assert says in str(error.value)
        assert str(error.value).startswith("ShardMap: ")


class TestPins:
    def test_a_pinned_key_stays_and_no_other_key_moves(self) -> None:
        old = slot_map(["a", "b", "c"])
        pinned = old.pin("tenant-1", "c")
        assert pinned.shard("tenant-1") == "c"
        assert pinned.epoch == old.epoch + 1
        assert pinned.pins == {"tenant-1": "c"}
        for key in SAMPLE:
            assert key == "tenant-1" or pinned.shard(key) == old.shard(key)
        assert pinned.unpin("tenant-1").shard("tenant-1") == old.shard("tenant-1")

    def test_what_is_no_key_is_told_with_pins_too(self) -> None:
        pinned = slot_map().pin("x", "s1")
        with pytest.raises(UnknownKey, match=r"found \['x'\]"):
            pinned.shard(["x"])  # type: ignore[arg-type]
        with pytest.raises(UnknownKey, match=r"found \['x'\]"):
            pinned.unpin(["x"])  # type: ignore[arg-type]

    def test_a_key_is_no_other_that_python_takes_for_equal(self) -> None:
        for key in (True, 1.0):
            for shards in (
                slot_map().pin(1, "s1"),
                ShardMap.directory({1: "s1"}, key="id", otherwise="s0"),
            ):
                with pytest.raises(UnknownKey, match="expected a key"):
                    shards.shard(key)  # type: ignore[arg-type]

    def test_to_pin_and_to_unpin_are_moves_of_that_key(self) -> None:
        old = slot_map(["a", "b"])
        here = old.shard("x")
        there = "b" if here == "a" else "a"
        pinned = old.pin("x", there)
        assert old.plan(pinned) == [ShardMove(source=here, target=there, keys=("x",))]
        assert pinned.plan(old) == [ShardMove(source=there, target=here, keys=("x",))]
        assert old.plan(old.pin("x", here)) == []

    def test_single_keys_come_first_in_a_plan(self) -> None:
        old = slot_map(["a", "b"])
        new = old.with_shards(["a", "b", "c"]).pin("x", "c")
        plan = old.plan(new)
        assert plan[0].keys == ("x",)
        assert all(move.slots and not move.keys for move in plan[1:])
        assert len(plan) == 3

    def test_pins_of_many_keys_in_one_move_are_in_a_stable_order(self) -> None:
        old = slot_map(["a"]).with_shards(["a", "b"]).with_shards({"a": 1000, "b": 0.001})
        keys = [key for key in SAMPLE if old.shard(key) == "a"][:6]
        new = old
        for key in reversed(keys):
            new = new.pin(key, "b")
        (move,) = old.plan(new)
        assert move.keys == tuple(sorted(keys, key=repr))


class TestMoving:
    def test_the_whole_way_of_some_slots(self) -> None:
        old = slot_map()
        (move,) = (
            each for each in old.plan(old.with_shards(["s0", "s1", "s2"])) if each.source == "s0"
        )
        assert old.shards == ("s0", "s1")
        copying = old.with_moving(move)
        assert copying.shards == ("s0", "s1", "s2")
        assert (copying.epoch, copying.owners) == (2, old.owners)
        assert copying.moving == (Moving(source="s0", target="s2", slots=move.slots),)
        assert copying.foreign("s2") == Rows(move.slots)
        assert not copying.foreign("s0")
        assert copying.moving[0].owner == "s0"

        moved = copying.moved(copying.moving[0])
        (left,) = moved.moving
        assert left == Moving(source="s0", target="s2", slots=move.slots, state="left over")
        assert (moved.epoch, left.owner, left.stranger) == (3, "s2", "s0")
        assert {moved.owners[slot] for slot in members(move.slots)} == {"s2"}
        assert moved.foreign("s0") == Rows(move.slots)
        assert not moved.foreign("s2")

        back = moved.moved(left)
        assert back.owners == old.owners
        assert back.moving == (
            Moving(source="s2", target="s0", slots=move.slots, state="left over"),
        )
        assert back.foreign("s2") == Rows(move.slots)

        over = moved.without_moving(left)
        assert (over.moving, over.epoch, over.owners) == ((), 4, moved.owners)
        assert copying.without_moving(copying.moving[0]).owners == old.owners

    def test_only_the_move_that_is_named_goes_on(self) -> None:
        old = slot_map()
        first = ShardMove(source="s0", target="s2", slots=((0, 3),))
        second = ShardMove(source="s1", target="s2", slots=((60, 63),))
        both = old.with_moving(first).with_moving(second)
        moved = both.moved(both.moving[1])
        assert [each.state for each in moved.moving] == ["copying", "left over"]
        assert moved.foreign("s2") == Rows(((0, 3),))
        assert moved.foreign("s1") == Rows(((60, 63),))
        assert moved.without_moving(moved.moving[0]).moving == moved.moving[1:]
        assert both.foreign("s2") == Rows(((0, 3), (60, 63)))

    def test_a_pinned_key_does_not_go_with_its_slot(self) -> None:
        old = slot_map(["a", "b"])
        key = next(key for key in SAMPLE if old.slot(key) == 5)
        pinned = old.pin(key, "a").pin("elsewhere", "b")
        assert old.slot("elsewhere") not in range(4, 7)
        move = ShardMove(source="a", target="b", slots=((4, 6),))
        assert pinned.rows(move) == Rows(((4, 6),), (), (key,))
        copying = pinned.with_moving(move)
        assert copying.foreign("b") == Rows(((4, 6),), (), (key,))
        moved = copying.moved(copying.moving[0])
        assert moved.shard(key) == "a"
        assert moved.foreign("a") == Rows(((4, 6),), (), (key,))

    def test_a_key_moves_alone(self) -> None:
        old = slot_map(["a", "b"])
        key = next(key for key in SAMPLE if old.shard(key) == "a")
        copying = old.with_moving(ShardMove(source="a", target="b", keys=(key,)))
        assert copying.foreign("b") == Rows((), (key,))
        assert ShardMap.from_json(copying.to_json()).moving == copying.moving
        moved = copying.moved(copying.moving[0])
        assert moved.pins == {key: "b"}
        assert moved.shard(key) == "b"
        back = moved.moved(moved.moving[0])
        assert back.pins == {}
        assert back.shard(key) == "a"

    @settings(max_examples=50)
    @given(SHARDS, SHARDS, st.lists(st.tuples(st.sampled_from(SAMPLE), st.integers(0, 99))))
    def test_the_moves_of_a_plan_done_one_by_one_make_the_new_map(
        self, before: Any, after: Any, pins: list[tuple[Any, int]]
    ) -> None:
        old = slot_map(before)
        new = old.with_shards(after)
        for key, number in pins:
            new = new.pin(key, sorted(after)[number % len(after)])
        now = old.toward(new)
        assert [now.shard(key) for key in SAMPLE] == [old.shard(key) for key in SAMPLE]
        for move in old.plan(new):
            now = now.with_moving(move)
            now = now.moved(now.moving[0])
            now = now.without_moving(now.moving[0])
        assert [now.shard(key) for key in SAMPLE] == [new.shard(key) for key in SAMPLE]
        assert now.plan(new) == []
        assert now.epoch == 2 + 3 * len(old.plan(new))

    @pytest.mark.parametrize(
        ("move", "says"),
        [
            (ShardMove(source="s1", target="s2", slots=((0, 1),)), "slot 0 is not on 's1'"),
            (ShardMove(source="s0", target="s2", slots=((31, 32),)), "slot 32 is not on 's0'"),
            (ShardMove(source="s1", target="s2", slots=((63, 64),)), "no slots from 63 to 64"),
            (ShardMove(source="s1", target="s2", slots=((-1, -1),)), "no slots from -1 to -1"),
            (ShardMove(source="s0", target="s0", slots=((0, 1),)), "of another shard"),
            (ShardMove(source="s0", target="s1"), "expected slots or keys"),
            (ShardMove(source="s0", target="s1", keys=(KEY_OF_S1,)), "is not on 's0'"),
        ],
        ids=["owner", "run-end", "beyond", "below", "same", "nothing", "key"],
    )
    def test_what_cannot_move(self, move: ShardMove, says: str) -> None:
        with pytest.raises(ConfigError) as error:
            slot_map().with_moving(move)
        assert says in str(error.value)

    def test_nothing_moves_twice_at_once(self) -> None:
        first = ShardMove(source="s0", target="s2", slots=((0, 3),), keys=())
        again = ShardMove(source="s0", target="s3", slots=((3, 4),))
        key = next(key for key in SAMPLE if slot_map().shard(key) == "s0")
        alone = ShardMove(source="s0", target="s2", keys=(key,))
        for pair in ((first, again), (alone, alone)):
            with pytest.raises(ConfigError, match="in one move only"):
                slot_map().with_moving(*pair)
            with pytest.raises(ConfigError, match="in one move only"):
                slot_map().with_moving(pair[0]).with_moving(pair[1])

    def test_only_what_is_under_way_goes_on(self) -> None:
        other = Moving(source="s0", target="s2", slots=((0, 3),))
        for step in (slot_map().moved, slot_map().without_moving):
            with pytest.raises(ConfigError, match="under way"):
                step(other)

    def test_only_slots_can_be_moved(self) -> None:
        ranges = ShardMap.range({"a": (None, 1), "b": (1, None)}, key="id")
        for ask in (
            lambda: ranges.with_moving(ShardMove(source="a", target="b", keys=(0,))),
            lambda: ranges.slot(1),
            lambda: ranges.slot_count,
            lambda: ranges.owners,
            lambda: ranges.slot_sql("id", "int"),
        ):
            with pytest.raises(ConfigError, match="expected a map by slots"):
                ask()


class TestSql:
    def test_the_slot_of_a_row(self) -> None:
        shards = slot_map(slots=4096)
        assert shards.slot_sql("tenant_id", "text") == '(hashtextextended("tenant_id", 0) & 4095)'
        assert shards.slot_sql('a"b', "VARCHAR(40)") == '(hashtextextended("a""b", 0) & 4095)'
        assert shards.slot_sql("id", "BIGINT") == '(hashint8extended("id", 0) & 4095)'
        assert shards.slot_sql("id", "uuid") == '(uuid_hash_extended("id", 0) & 4095)'

    def test_what_the_server_cannot_tell(self) -> None:
        types = "text, varchar, smallint, integer, bigint or uuid"
        expected = f"^ShardMap: expected a key column of type {types}, found 'numeric'$"
        with pytest.raises(ConfigError, match=expected):
            slot_map().slot_sql("id", "numeric")
        with pytest.raises(ConfigError, match="no hash 'xxh3'"):
            slot_map(by="xxh3").slot_sql("id", "text")

    def test_rows(self) -> None:
        shards = slot_map()
        slot = '(hashtextextended("t", 0) & 63)'
        assert shards.rows_sql(Rows(), "t", "text") == "false"
        assert shards.rows_sql(Rows(((1, 2), (5, 5))), "t", "text") == (
            f"((({slot} BETWEEN 1 AND 2 OR {slot} BETWEEN 5 AND 5)))"
        )
        assert shards.rows_sql(Rows(((1, 2),), ("o'k",), ("x", "y")), "t", "text") == (
            f"""((({slot} BETWEEN 1 AND 2) AND NOT ("t" IN ('x', 'y'))) OR ("t" IN ('o''k')))"""
        )
        assert shards.rows_sql(Rows((), (7,)), "t", "int") == """(("t" IN ('7')))"""


def spanned(cuts: list[int], owners: list[str | None]) -> ShardMap | None:
    """The map in which those have what lies between the cuts; `None` leaves a gap."""
    edges = [None, *sorted(cuts), None]
    spans: dict[str, Any] = {}
    for low, high, owner in zip(edges, edges[1:], owners, strict=False):
        if owner:
            spans.setdefault(owner, []).append((low, high))
    return ShardMap.range(spans, key="id") if spans else None


def where(shards: ShardMap, key: Any) -> str | None:
    try:
        return shards.shard(key)
    except UnknownKey:
        return None


class TestRange:
    def test_a_range_has_its_first_key_and_not_its_last(self) -> None:
        shards = ShardMap.range(
            {"a": (None, 10), "b": [(10, 20), (30, None)], "c": (20, 25)}, key="id"
        )
        assert [shards.shard(key) for key in (-(2**63), 9, 10, 19, 20, 24, 30, 2**63 - 1)] == [
            *("a", "a", "b", "b", "c", "c", "b", "b")
        ]
        for gap in (25, 29):
            with pytest.raises(UnknownKey, match=f"{gap} is outside every range"):
                shards.shard(gap)

    def test_bounded_at_both_ends(self) -> None:
        shards = ShardMap.range({"a": (0, 10)}, key="id")
        assert shards.shard(0) == shards.shard(9) == "a"
        for outside in (-1, 10):
            with pytest.raises(UnknownKey, match="outside every range"):
                shards.shard(outside)

    @pytest.mark.parametrize(
        ("ranges", "inside", "outside"),
        [
            ({"a": ("a", "m"), "b": ("m", "z")}, ["a", "lzzz", "m", "y\U0001f600"], ["", "Z", "z"]),
            ({"a": (date(2026, 1, 1), None)}, [date(2026, 1, 1)], [date(2025, 12, 31)]),
            ({"a": (b"\x01", b"\x02")}, [b"\x01", b"\x01\xff"], [b"", b"\x02"]),
            (
                {"a": (datetime(2026, 1, 1, tzinfo=UTC), None)},
                [datetime(2026, 1, 1, tzinfo=UTC)],
                [datetime(2025, 1, 1, tzinfo=UTC)],
            ),
            ({"a": (UUID(int=5), None)}, [UUID(int=5)], [UUID(int=4)]),
        ],
        ids=["text", "dates", "bytes", "datetimes", "uuids"],
    )
    def test_every_type_of_key(self, ranges: Any, inside: Any, outside: Any) -> None:
        shards = ShardMap.range(ranges, key="id")
        again = ShardMap.from_json(shards.to_json())
        assert again == shards
        for key in inside:
            assert shards.shard(key) == again.shard(key)
        for key in outside:
            with pytest.raises(UnknownKey, match="outside every range"):
                again.shard(key)

    @pytest.mark.parametrize(
        ("ranges", "key", "says"),
        [
            ({"a": (0, 9)}, "5", "type whole number, found '5'"),
            ({"a": (0, 9)}, True, "found True"),
            ({"a": ("a", None)}, 5, "type text, found 5"),
            ({"a": (date(2026, 1, 1), None)}, LOCAL, "type date"),
            ({"a": (LOCAL, None)}, LOCAL.replace(tzinfo=UTC), "type datetime, found"),
        ],
        ids=["text-for-number", "bool", "number-for-text", "datetime-for-date", "zone"],
    )  # fmt: skip
    def test_a_key_of_another_type(self, ranges: Any, key: Any, says: str) -> None:
        with pytest.raises(UnknownKey) as error:
            ShardMap.range(ranges, key="id").shard(key)
        assert says in str(error.value)

    @pytest.mark.parametrize(
        ("ranges", "says"),
        [
            ([("a", (0, 10))], "a mapping of shards to their ranges"),
            ({}, "a range at least"),
            ({"a": []}, "a range at least"),
            ({"a": (0, 10), "b": (9, 20)}, "ranges of 'a' and 'b' overlap"),
            ({"b": (5, 20), "a": (0, None)}, "ranges of 'a' and 'b' overlap"),
            ({"a": (None, 10), "b": (None, 5)}, "overlap"),
            ({"a": (None, 10), "b": (9, None)}, "overlap"),
            ({"a": (None, None), "b": (1, 2)}, "overlap"),
            ({"a": (5, 5)}, "from 5 to 5 is empty"),
            ({"a": (6, 5)}, "from 6 to 5 is empty"),
            ({"a": (0, "x")}, "one type, found text and whole number"),
            ({"a": (0, 1), "b": ("x", "y")}, "one type"),
            ({"a": 5}, "(from, to) for 'a', found 5"),
            ({"a": (1, 2, 3)}, "(from, to) for 'a'"),
            ({"": (1, 2)}, "name of a shard"),
        ],
        ids=[*("list", "none", "empty-list", "overlap", "behind-endless", "two-begins"),
             *("begin-inside", "all", "empty", "backward", "mixed", "mixed-shards", "no-pair"),
             *("triple", "unnamed")],
    )  # fmt: skip
    def test_what_makes_no_map(self, ranges: Any, says: str) -> None:
        with pytest.raises(ConfigError) as error:
            ShardMap.range(ranges, key="id")
        assert says in str(error.value)
        assert str(error.value).startswith("ShardMap: ")

    def test_neighbours_of_one_shard_are_one_range(self) -> None:
        apart = ShardMap.range({"a": [(0, 5), (5, 9)], "b": (9, None)}, key="id")
        assert apart == ShardMap.range({"a": (0, 9), "b": (9, None)}, key="id")
        gap = ShardMap.range({"a": [(0, 5), (6, 9)]}, key="id")
        assert gap != ShardMap.range({"a": (0, 9)}, key="id")

    def test_a_plan_lists_ranges(self) -> None:
        old = ShardMap.range({"a": (None, 10), "b": (10, None)}, key="id")
        new = ShardMap.range({"a": (None, 5), "c": [(5, 8), (8, 12)], "b": (12, None)}, key="id")
        assert old.plan(new) == [
            ShardMove(source="a", target="c", ranges=((5, 10),)),
            ShardMove(source="b", target="c", ranges=((10, 12),)),
        ]
        everything = ShardMap.range({"z": (None, None)}, key="id")
        assert old.plan(everything) == [
            ShardMove(source="a", target="z", ranges=((None, 10),)),
            ShardMove(source="b", target="z", ranges=((10, None),)),
        ]
        assert ShardMap.range({"a": (0, 5)}, key="id").plan(everything) == [
            ShardMove(source="a", target="z", ranges=((0, 5),))
        ]

    def test_a_plan_refuses_to_lose_keys(self) -> None:
        old = ShardMap.range({"a": (None, 10)}, key="id")
        with pytest.raises(ConfigError, match="no shard for keys from None to 0"):
            old.plan(ShardMap.range({"a": (0, 10)}, key="id"))
        with pytest.raises(ConfigError, match="keys of type whole number, found text"):
            old.plan(ShardMap.range({"a": ("a", None)}, key="id"))

    @settings(max_examples=80)
    @given(
        *[st.lists(st.integers(0, 30), unique=True, min_size=1, max_size=8)] * 2,
        *[st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=9, max_size=9)] * 2,
    )
    def test_the_plan_moves_what_changes_and_nothing_else(
        self, cuts: Any, new_cuts: Any, owners: Any, new_owners: Any
    ) -> None:
        old, new = spanned(cuts, owners), spanned(new_cuts, new_owners)
        if old is None or new is None:
            return
        keys = range(-2, 33)
        before = {key: owners[sum(cut <= key for cut in cuts)] for key in keys}
        after = {key: new_owners[sum(cut <= key for cut in new_cuts)] for key in keys}
        assert before == {key: where(old, key) for key in keys}
        if any(before[key] and not after[key] for key in keys):
            with pytest.raises(ConfigError, match="no shard for keys"):
                old.plan(new)
            return
        moved = [
            (key, (move.source, move.target))
            for move in old.plan(new)
            for low, high in move.ranges
            for key in keys
            if (low is None or low <= key) and (high is None or key < high)
        ]
        assert len(moved) == len(dict(moved))
        assert dict(moved) == {
            key: (before[key], after[key])
            for key in keys
            if before[key] and before[key] != after[key]
        }


class TestRing:
    def test_as_a_hash_ring_does(self) -> None:
        from escala.hashing import HashRing

        shards, ring = ShardMap.hash(["a", "b", "c"], key="id"), HashRing(["a", "b", "c"])
        assert [shards.shard(key) for key in SAMPLE] == [ring.node(str(key)) for key in SAMPLE]
        assert shards.shard(b"tenant-1") == shards.shard("tenant-1")

    @settings(max_examples=10)
    @given(SHARDS, SHARDS)
    def test_the_plan_is_the_share_of_keys_that_moves(self, before: Any, after: Any) -> None:
        old = ShardMap.hash(before, key="id")
        new = old.with_shards(after)
        assert new.epoch == 2
        assert new.shards == tuple(sorted(after))
        keys = [f"k{number}" for number in range(3000)]
        found = Counter((old.shard(key), new.shard(key)) for key in keys)
        plan = {(move.source, move.target): move.share for move in old.plan(new)}
        for source in before:
            for target in after:
                share = found[source, target] / len(keys) if source != target else 0
                assert abs(plan.get((source, target), 0) - share) < 0.05

    def test_a_shard_that_joins_takes_only_its_share(self) -> None:
        old = ShardMap.hash(["a", "b", "c"], key="id")
        plan = old.plan(old.with_shards(["a", "b", "c", "d"]))
        assert {move.target for move in plan} == {"d"}
        assert 0.2 < sum(move.share for move in plan) < 0.3
        everything = old.plan(old.with_shards(["x"]))
        assert sum(move.share for move in everything) == pytest.approx(1, abs=1e-12)


class TestDirectory:
    def test_each_key_is_listed(self) -> None:
        shards = ShardMap.directory({"acme": "a", 7: "b", UUID(int=1): "c"}, key="id")
        assert [shards.shard(key) for key in ("acme", 7, UUID(int=1))] == ["a", "b", "c"]
        assert shards.shards == ("a", "b", "c")
        with pytest.raises(UnknownKey, match="'7' is not in the directory"):
            shards.shard("7")

    def test_the_others(self) -> None:
        rest = slot_map(["a", "b"]).pin("tenant-0", "b")
        shards = ShardMap.directory({"acme": "big"}, key="tenant_id", otherwise=rest)
        assert shards.shard("acme") == "big"
        assert [shards.shard(key) for key in SAMPLE] == [rest.shard(key) for key in SAMPLE]
        assert shards.shards == ("a", "b", "big")
        everyone = ShardMap.directory({"acme": "big"}, key="id", otherwise="small")
        assert everyone.shard("other") == "small"
        assert ShardMap.directory({}, key="id", otherwise="small").shard(3) == "small"

    def test_a_plan_lists_keys(self) -> None:
        old = ShardMap.directory({"x": "a", "y": "a", "z": "b"}, key="id")
        new = ShardMap.directory({"x": "b", "y": "b", "z": "b", "new": "a"}, key="id")
        assert old.plan(new) == [ShardMove(source="a", target="b", keys=("x", "y"))]
        more = ShardMap.directory({"new": "b", "x": "b", "y": "a", "z": "b"}, key="id")
        assert old.plan(more) == [ShardMove(source="a", target="b", keys=("x",))]
        late = ShardMap.directory({"late": "a"}, key="id")
        assert late.plan(ShardMap.directory({"first": "a", "late": "b"}, key="id")) == [
            ShardMove(source="a", target="b", keys=("late",))
        ]
        with pytest.raises(ConfigError, match="does not know the key 'x'"):
            old.plan(ShardMap.directory({"y": "a"}, key="id"))

    def test_a_plan_with_others(self) -> None:
        small = ShardMap.directory({"x": "a"}, key="id", otherwise="small")
        large = ShardMap.directory({"y": "a"}, key="id", otherwise="large")
        assert small.plan(large) == [
            ShardMove(source="a", target="large", keys=("x",)),
            ShardMove(source="small", target="a", keys=("y",)),
            ShardMove(source="small", target="large", share=1.0),
        ]
        with pytest.raises(
            ConfigError, match=r"^ShardMap: plan: expected a map with `otherwise` too, found none$"
        ):
            small.plan(ShardMap.directory({"x": "a"}, key="id"))
        with pytest.raises(ConfigError, match="expected a map of the kind directory"):
            small.plan(
                slot_map(),
            ) if small.key == slot_map().key else small.plan(ShardMap.slots(["a"], key="id"))

    @pytest.mark.parametrize(
        ("build", "says"),
        [
            (lambda: ShardMap.directory({}, key="id"), "^ShardMap: expected a key and its shard"),
            (lambda: ShardMap.directory("x", key="id"), "a mapping of keys"),  # type: ignore[arg-type]
            (lambda: ShardMap.directory({"x": ""}, key="id"), "name of a shard"),
            (lambda: ShardMap.directory({"x": "a"}, key="id", otherwise=""), "name of a shard"),
        ],
        ids=["none", "text", "unnamed", "otherwise-unnamed"],
    )
    def test_what_makes_no_map(self, build: Any, says: str) -> None:
        with pytest.raises(ConfigError, match=says):
            build()

    def test_what_is_no_key_cannot_be_listed(self) -> None:
        with pytest.raises(UnknownKey, match="expected a key"):
            ShardMap.directory({None: "a"}, key="id")
        with pytest.raises(UnknownKey, match="expected a key"):
            slot_map().pin(1.5, "s0")  # type: ignore[arg-type]


class TestGeo:
    def test_a_region_is_a_shard_or_has_a_map(self) -> None:
        eu = slot_map(["eu0", "eu1"])
        world = ShardMap.geo({"eu": eu, "us": "us0"}, key=("region", "tenant_id"))
        assert world.shard(("us", "acme")) == world.shard("us") == world.shard(("us",)) == "us0"
        assert [world.shard(("eu", key)) for key in SAMPLE] == [eu.shard(key) for key in SAMPLE]
        assert world.shards == ("eu0", "eu1", "us0")
        assert world.key == ("region", "tenant_id")

    def test_a_region_within_a_region(self) -> None:
        eu = ShardMap.geo({"west": "w", "east": slot_map(["e"])}, key=("zone", "tenant_id"))
        world = ShardMap.geo({"eu": eu}, key=("region", "zone", "tenant_id"))
        assert world.shard(("eu", "west", "x")) == "w"
        assert world.shard(("eu", "east", "x")) == "e"

    def test_no_parts_are_no_region(self) -> None:
        with pytest.raises(UnknownKey):
            ShardMap.geo({"eu": "eu0"}, key="region").shard(())

    def test_an_unknown_region_says_which_are_known(self) -> None:
        world = ShardMap.geo({"eu": "a", "us": "b"}, key="region")
        for unknown in ("asia", ("asia", "x"), 7):
            with pytest.raises(UnknownKey, match="eu, us"):
                world.shard(unknown)
        with pytest.raises(UnknownKey, match="did you mean 'eu'"):
            world.shard("EU")

    def test_a_region_alone_is_not_enough_where_there_is_a_map(self) -> None:
        world = ShardMap.geo({"eu": slot_map()}, key=("region", "tenant_id"))
        for short in ("eu", ("eu",)):
            with pytest.raises(UnknownKey, match=r"expected \('eu', key\)"):
                world.shard(short)

    def test_pins_come_first(self) -> None:
        world = ShardMap.geo({"eu": slot_map(["e0", "e1"]), "us": "u"}, key=("region", "tenant_id"))
        pinned = world.pin(("eu", "acme"), "u").pin(("eu", LOCAL), "e1").pin("us", "e0")
        for shards in (pinned, ShardMap.from_json(pinned.to_json())):
            assert shards.shard(("eu", "acme")) == "u"
            assert shards.pins == {("eu", "acme"): "u", ("eu", LOCAL): "e1", "us": "e0"}

    def test_a_plan_names_the_region(self) -> None:
        eu = slot_map(["e0", "e1"])
        nest = ShardMap.geo({"x": "n0"}, key=("a", "b"))
        key = ("region", "tenant_id")
        old = ShardMap.geo({"eu": eu, "n": nest, "us": "u0"}, key=key)
        new = ShardMap.geo(
            {
                "eu": eu.with_shards(["e0"]),
                "n": ShardMap.geo({"x": "n1"}, key=("a", "b")),
                "us": "u1",
                "asia": "a0",
            },
            key=key,
        )
        assert old.plan(new) == [
            ShardMove(source="e1", target="e0", slots=((32, 63),), region="eu"),
            ShardMove(source="n0", target="n1", share=1.0, region="n/x"),
            ShardMove(source="u0", target="u1", share=1.0, region="us"),
        ]
        with pytest.raises(ConfigError, match="no region 'asia'"):
            new.plan(old)

    @pytest.mark.parametrize(
        ("build", "says"),
        [
            (lambda: ShardMap.geo({}, key="r"), "a region at least"),
            (lambda: ShardMap.geo(["a"], key="r"), "a mapping of regions"),  # type: ignore[arg-type]
            (lambda: ShardMap.geo({"": "a"}, key="r"), "name of a region"),
            (lambda: ShardMap.geo({7: "a"}, key="r"), "name of a region"),  # type: ignore[dict-item]
            (lambda: ShardMap.geo({"eu": ""}, key="r"), "name of a shard"),
            (
                lambda: ShardMap.geo(
                    {"eu": slot_map().with_moving(SOME_SLOTS)}, key=("r", "t")
                ),
                "without moves",
            ),
            (lambda: ShardMap.geo({"e": "a"}, key="r").with_shards(["b"]), "by slots or by a"),
        ],
        ids=["none", "list", "unnamed", "number", "no-shard", "moving", "with-shards"],
    )  # fmt: skip
    def test_what_makes_no_map(self, build: Any, says: str) -> None:
        with pytest.raises(ConfigError, match=says):
            build()


@st.composite
def maps(draw: st.DrawFn) -> ShardMap:
    """Maps of every kind, with pins, histories and moves."""
    kind = draw(st.sampled_from(["slots", "hash", "range", "directory", "geo"]))
    if kind == "slots":
        made = slot_map(draw(SHARDS)).with_shards(draw(SHARDS))
        if draw(st.booleans()):
            source = made.shards[0]
            slots = [slot for slot, owner in enumerate(made.owners) if owner == source]
            made = made.with_moving(
                ShardMove(source=source, target="new", slots=((slots[0], slots[0]),))
            )
            if draw(st.booleans()):
                made = made.moved(made.moving[0])
    elif kind == "hash":
        made = ShardMap.hash(draw(SHARDS), key="tenant_id")
    elif kind == "range":
        cut = draw(NUMBERS)
        made = ShardMap.range({"a": (None, cut), "b": (cut, None)}, key="tenant_id")
    elif kind == "directory":
        entries = draw(st.dictionaries(ANY_KEY, st.sampled_from(["a", "b"])))
        made = ShardMap.directory(entries, key="tenant_id", otherwise=slot_map(draw(SHARDS)))
    else:
        inner = slot_map(draw(SHARDS))
        return ShardMap.geo({"eu": inner, "us": "u"}, key=("region", "tenant_id"))
    for key in draw(st.lists(KEYS, max_size=3)):
        made = made.pin(key, made.shards[-1])
    return made


@settings(max_examples=150)
@given(maps(), st.lists(KEYS, max_size=20))
def test_json_keeps_all_of_a_map_and_every_key_has_one_shard(
    shards: ShardMap, keys: list[Any]
) -> None:
    text = shards.to_json()
    again = ShardMap.from_json(text)
    assert again == shards
    assert hash(again) == hash(shards)
    assert again.to_json() == text
    assert (again.epoch, again.key, again.pins) == (shards.epoch, shards.key, shards.pins)
    assert (again.moving, again.shards) == (shards.moving, shards.shards)
    assert pickle.loads(pickle.dumps(shards)) == shards  # noqa: S301  our own
    for each in keys:
        key = ("eu", each) if len(shards.key) > 1 else each
        try:
            place = shards.shard(key)
        except UnknownKey:
            with pytest.raises(UnknownKey):
                again.shard(key)
        else:
            assert place == again.shard(key)
            assert place in shards.shards


GOOD = json.loads(slot_map().pin("x", "s1").with_moving(SOME_SLOTS).to_json())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "other"}, "expected the format 'escala.shard_map', found 'other'"),
        (
            {"version": 2, "more": 1},
            "expected version 1 of the format, found 2: a newer Escala has written it",
        ),
        ({"version": 0}, "found 0"),
        ({"epoch": 0}, "epoch: expected a number from 1 to 4611686018427387904, found 0"),
        ({"epoch": "1"}, "expected what to_json writes"),
        ({"more": 1}, "unknown field `more`"),
        ({"key": []}, "name of a column"),
        ({"rule": {"kind": "other"}}, "expected what to_json writes"),
        ({"rule": {**GOOD["rule"], "owners": []}}, "found none"),
        ({"rule": {**GOOD["rule"], "owners": [[1, "s0"]]}}, "found one at slot 1"),
        ({"rule": {**GOOD["rule"], "owners": [[0, "s0"], [64, "s1"]]}}, "found one at slot 64"),
        ({"rule": {**GOOD["rule"], "owners": [[0, ""], [32, "s1"]]}}, "expected a name"),
        ({"rule": {**GOOD["rule"], "slots": 48}}, "power of two"),
        ({"rule": {**GOOD["rule"], "hash": "sha"}}, "found 'sha'"),
        ({"pins": [[{"bytes": "%"}, "s0"]]}, "expected what to_json writes"),
        ({"pins": [[{"bytes": "eA==", "uuid": "x"}, "s0"]]}, "expected what to_json writes"),
        (
            {"pins": [[{"pickle": "x"}, "s0"]]},
            "expected one of bytes, uuid, date, datetime, found 'pickle'",
        ),
        ({"pins": [[{"uuid": 7}, "s0"]]}, "found 'uuid'"),
        ({"pins": [[None, "s0"]]}, "expected a key"),
        ({"pins": [["x", ""]]}, "name of a shard"),
        ({"moving": [{**GOOD["moving"][0], "slots": [[3, 0]]}]}, "no slots from 3 to 0"),
        ({"moving": [{**GOOD["moving"][0], "slots": [[-1, 0]]}]}, "no slots from -1 to 0"),
        ({"moving": [{**GOOD["moving"][0], "slots": [[0, 64]]}]}, "no slots from 0 to 64"),
        ({"moving": [{**GOOD["moving"][0], "slots": [[0, 2**60]]}]}, "no slots from 0 to"),
        ({"moving": [{**GOOD["moving"][0], "slots": [[0, 32]]}]}, "slot 32 is not on 's0'"),
        ({"moving": [*GOOD["moving"], {**GOOD["moving"][0], "target": "s3"}]}, "one move only"),
        ({"pins": [["x", "s0"], ["x", "s1"]]}, "pins: expected each key once"),
        ({"epoch": 2**62 + 1}, "found 4611686018427387905"),
        ({"moving": [{**GOOD["moving"][0], "state": "done"}]}, "expected what to_json writes"),
        ({"moving": [{**GOOD["moving"][0], "state": "left over"}]}, "slot 0 is not on 's2'"),
        (
            {"rule": {"kind": "directory", "entries": [["x", "a"], ["x", "b"]], "otherwise": None}},
            "each key once",
        ),
        ({"rule": {"kind": "hash", "ring": {"kind": "slot_map"}}}, "expected what to_json writes"),
        ({"rule": {"kind": "range", "ranges": [[0, 5, "a"], [4, 6, "b"]]}}, "overlap"),
    ],
    ids=map(str, range(33)),
)
def test_a_map_that_is_none_is_refused(change: dict[str, Any], says: str) -> None:
    assert ShardMap.from_json(json.dumps(GOOD)).epoch == 3
    with pytest.raises(ConfigError) as error:
        ShardMap.from_json(json.dumps({**GOOD, **change}))
    assert says in str(error.value)
    assert str(error.value).startswith(("ShardMap", "HashRing"))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "\xff", "[" * 5000, '{"format": 3}'],
    ids=["empty", "list", "object", "latin", "deep", "number"],
)
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected what to_json writes"):
        ShardMap.from_json(text.encode("latin-1"))


def test_a_ketama_ring_is_refused() -> None:
    from escala.hashing import HashRing

    ring = json.loads(HashRing(["a"], hash="ketama").to_json())
    with pytest.raises(ConfigError, match="the hash 'xxh3', found 'ketama'"):
        ShardMap.from_json(
            json.dumps({**GOOD, "moving": [], "rule": {"kind": "hash", "ring": ring}})
        )


def test_maps_are_told_apart_and_show_themselves() -> None:
    shards = slot_map()
    assert shards != slot_map(["s0"])
    assert shards != "a map"
    assert repr(shards) == "ShardMap(epoch 1, 2 shards by tenant_id)"


def test_equal_maps_are_equal_in_whatever_order_they_were_made() -> None:
    entries = {"b": "x", "a": "y", 7: "x"}
    listed = ShardMap.directory(entries, key="id")
    assert listed == ShardMap.directory(dict(reversed(entries.items())), key="id")
    assert ShardMap.from_json(listed.to_json()).shard(7) == "x"
    first = slot_map().pin("b", "s0").pin("a", "s1")
    assert first == slot_map().pin("a", "s1").pin("b", "s0")
    assert ShardMap.range({"a": (0, 1), "b": (1, 2)}, key="id") == ShardMap.range(
        {"b": (1, 2), "a": (0, 1)}, key="id"
    )

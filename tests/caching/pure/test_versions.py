"""The clock of invalidations beside a model that keeps a list of everything that happened."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from escala.caching.pure.versions import Mark, Standing, Versions

TAGS = "abcde"
tags = st.lists(st.sampled_from(TAGS), max_size=3).map(tuple)


def test_what_was_loaded_before_an_invalidation_is_gone_and_after_it_is_valid() -> None:
    versions = Versions()
    before = versions.mark
    versions.invalidate("a")
    after = versions.mark
    assert versions.standing(before, ("a",)) is Standing.GONE
    assert versions.standing(before, ("b", "a")) is Standing.GONE
    assert versions.standing(before, ("b",)) is Standing.VALID
    assert versions.standing(before, ()) is Standing.VALID
    assert versions.standing(after, ("a",)) is Standing.VALID


def test_what_is_expired_and_gone_is_gone_whichever_came_first() -> None:
    versions = Versions()
    before = versions.mark
    versions.invalidate("a", soft=True)
    assert versions.standing(before, ("a",)) is Standing.EXPIRED
    assert versions.standing(versions.mark, ("a",)) is Standing.VALID
    versions.invalidate("b")
    assert versions.standing(before, ("a", "b")) is Standing.GONE
    assert versions.standing(before, ("b", "a")) is Standing.GONE
    versions.invalidate("b", soft=True)
    assert versions.standing(before, ("b",)) is Standing.GONE


def test_all_is_gone_with_or_without_tags() -> None:
    versions = Versions()
    before = versions.mark
    versions.invalidate_all()
    assert versions.standing(before, ()) is Standing.GONE
    assert versions.standing(before, ("a",)) is Standing.GONE
    assert versions.standing(versions.mark, ("a",)) is Standing.VALID


def test_all_is_expired_with_or_without_tags() -> None:
    versions = Versions()
    before = versions.mark
    versions.invalidate_all(soft=True)
    assert versions.standing(before, ()) is Standing.EXPIRED
    assert versions.standing(before, ("a",)) is Standing.EXPIRED
    assert versions.standing(versions.mark, ()) is Standing.VALID
    versions.invalidate("a")
    assert versions.standing(before, ("a",)) is Standing.GONE


def test_a_deletion_of_all_forgets_no_expiry_that_comes_after_it() -> None:
    versions = Versions()
    versions.invalidate("a", soft=True)
    versions.invalidate_all()
    between = versions.mark
    versions.invalidate("a", soft=True)
    assert versions.standing(between, ("a",)) is Standing.EXPIRED


def test_each_invalidation_is_a_moment_of_its_own() -> None:
    versions = Versions()
    marks = [versions.mark]
    for act in (
        lambda: versions.invalidate("a"),
        lambda: versions.invalidate("a", soft=True),
        versions.invalidate_all,
        lambda: versions.invalidate_all(soft=True),
        versions.touch,
    ):
        act()
        marks.append(versions.mark)
    assert [mark.clock for mark in marks] == [0, 1, 2, 3, 4, 5]
    assert len({id(mark) for mark in marks}) == 6


def test_to_touch_changes_nothing_but_the_mark() -> None:
    versions = Versions()
    before = versions.mark
    versions.touch()
    assert versions.mark is not before
    assert versions.standing(before, ("a",)) is Standing.VALID


def test_a_hundred_thousand_tags_are_known_exactly() -> None:
    versions = Versions()
    before = versions.mark
    for number in range(100_000):
        versions.invalidate(f"t{number}")
    assert versions.standing(before, ("t0",)) is Standing.GONE
    assert versions.standing(before, ("other",)) is Standing.VALID
    versions.invalidate("t7")  # known already: nothing is forgotten
    assert versions.standing(before, ("other",)) is Standing.VALID
    versions.invalidate("one more")
    assert versions.standing(before, ("other",)) is Standing.GONE


def test_of_more_tags_than_it_knows_what_is_older_and_has_a_tag_is_gone() -> None:
    versions = Versions(limit=2)
    before = versions.mark
    versions.invalidate("a")
    versions.invalidate("b", soft=True)
    between = versions.mark
    versions.invalidate("c", soft=True)
    after = versions.mark
    assert versions.standing(between, ("x",)) is Standing.GONE
    assert versions.standing(between, ("c",)) is Standing.GONE
    assert versions.standing(before, ()) is Standing.VALID, "no tag can have hit it"
    assert versions.standing(after, ("a", "b", "c", "x")) is Standing.VALID
    versions.invalidate("d")
    versions.invalidate("e")
    assert versions.standing(after, ("x",)) is Standing.VALID, "there is room again"
    assert versions.standing(after, ("d",)) is Standing.GONE


def test_a_tag_that_is_deleted_and_expired_counts_as_two() -> None:
    versions = Versions(limit=2)
    before = versions.mark
    versions.invalidate("a")
    versions.invalidate("a", soft=True)
    assert versions.standing(before, ("x",)) is Standing.VALID
    versions.invalidate("b")
    assert versions.standing(before, ("x",)) is Standing.GONE


class VersionsModel(RuleBasedStateMachine):
    """The model goes through everything that has happened since a value's mark."""

    def __init__(self) -> None:
        super().__init__()
        self.versions = Versions(limit=4)
        self.happened: list[tuple[str | None, bool]] = []  # (tag or all, soft)
        self.marks: list[tuple[Mark, int]] = [(self.versions.mark, 0)]
        self.floor = 0
        self.known: set[tuple[str, bool]] = set()

    def _noted(self) -> None:
        self.marks.append((self.versions.mark, len(self.happened)))

    @rule(tag=st.sampled_from(TAGS), soft=st.booleans())
    def invalidate(self, tag: str, soft: bool) -> None:
        self.versions.invalidate(tag, soft=soft)
        self.happened.append((tag, soft))
        if (tag, soft) not in self.known and len(self.known) >= 4:
            self.known.clear()
            self.floor = len(self.happened)
        else:
            self.known.add((tag, soft))
        self._noted()

    @rule(soft=st.booleans())
    def invalidate_all(self, soft: bool) -> None:
        self.versions.invalidate_all(soft=soft)
        self.happened.append((None, soft))
        if not soft:
            self.known.clear()
        self._noted()

    @rule()
    def touch(self) -> None:
        self.versions.touch()
        self._noted()

    @rule(data=st.data(), having=tags)
    def standing_is_what_the_list_says(self, data: st.DataObject, having: tuple[str, ...]) -> None:
        mark, since = data.draw(st.sampled_from(self.marks))
        standing = self.versions.standing(mark, having)
        hits = [soft for tag, soft in self.happened[since:] if tag is None or tag in having]
        expected = Standing.VALID
        if hits:
            expected = Standing.EXPIRED if all(hits) else Standing.GONE
        if having and since < self.floor:
            expected = Standing.GONE
        assert standing is expected

    @invariant()
    def the_newest_mark_is_valid(self) -> None:
        assert self.versions.standing(self.versions.mark, tuple(TAGS)) is Standing.VALID


TestVersionsModel = VersionsModel.TestCase
TestVersionsModel.settings = settings(max_examples=150, stateful_step_count=40)

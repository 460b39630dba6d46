from __future__ import annotations

from escala.http.pure.flight_table import BUCKETS, FlightTable

Table = FlightTable[str, str, str]


def test_a_flight_is_found_by_key_and_variant_until_it_ends() -> None:
    table = Table()
    flight = table.take_off(b"k", "a")
    assert table.find(b"k", "a") is flight
    assert table.find(b"k", "b") is None
    assert table.find(b"x", "a") is None
    table.remove(flight)
    assert table.find(b"k", "a") is None
    assert len(table) == 0


def test_a_flight_that_was_replaced_cannot_remove_its_successor() -> None:
    table = Table()
    old = table.take_off(b"k", "a")
    new = table.take_off(b"k", "a")
    table.remove(old)
    assert table.find(b"k", "a") is new
    table.remove(new)
    table.remove(new)
    assert len(table) == 0


def test_a_change_detaches_all_variants_and_only_their_key() -> None:
    table = Table()
    for variant in "ab":
        table.take_off(b"k", variant)
    other = table.take_off(b"x", "a")
    before, untouched = table.generation(b"k"), table.generation(b"x")
    table.overtake(b"k")
    assert table.find(b"k", "a") is table.find(b"k", "b") is None
    assert table.generation(b"k") == before + 1
    assert table.find(b"x", "a") is other
    assert table.generation(b"x") == untouched or hash(b"x") % BUCKETS == hash(b"k") % BUCKETS


def test_everything_may_change_at_once() -> None:
    table = Table()
    table.take_off(b"k", "a")
    before = [table.generation(b"%d" % number) for number in range(50)]
    table.overtake_all()
    assert len(table) == 0
    after = [table.generation(b"%d" % number) for number in range(50)]
    assert all(new > old for new, old in zip(after, before, strict=True))


def test_generations_take_no_memory_of_their_own() -> None:
    table = Table()
    for number in range(3 * BUCKETS):
        table.overtake(b"%d" % number)
    assert len(table) == 0
    assert sum(table.generation(b"%d" % number) > 0 for number in range(100)) == 100


def test_flights_are_bounded_and_the_oldest_goes() -> None:
    table = Table(limit=2)
    for key in (b"a", b"b", b"c"):
        table.take_off(key, "v")
    assert len(table) == 2
    assert table.find(b"a", "v") is None
    assert table.find(b"c", "v") is not None
    for variant in "xyz":
        table.take_off(b"c", variant)
    assert table.find(b"c", "x") is None
    assert table.find(b"c", "z") is not None


def test_a_lone_key_is_alone_for_a_while() -> None:
    table = Table()
    assert not table.alone(b"k", "a", now=0)
    table.set_alone(b"k", "a", until=10)
    assert table.alone(b"k", "a", now=9.9)
    assert not table.alone(b"k", "b", now=0)
    assert not table.alone(b"k", "a", now=10)
    assert not table.alone(b"k", "a", now=9)  # over is over
    table.set_alone(b"k", "a", until=10)
    table.unset_alone(b"k", "a")
    assert not table.alone(b"k", "a", now=0)


def test_lone_keys_are_bounded_and_the_oldest_goes() -> None:
    table = Table(limit=3)
    table.set_alone(b"a", "v", until=10)
    table.set_alone(b"b", "v", until=10)
    table.set_alone(b"a", "v", until=20)  # renewed, so b is the oldest now
    table.set_alone(b"c", "v", until=10)
    table.set_alone(b"d", "v", until=10)
    alone = [table.alone(key, "v", now=5) for key in (b"a", b"b", b"c", b"d")]
    assert alone == [True, False, True, True]

"""One policy, three ways to write it: the constructor, `stack.yaml` and what `repr` says."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec
import pytest

from escala import (
    AdaptiveLimit,
    AdaptiveThrottle,
    Bulkhead,
    CircuitBreaker,
    Deadline,
    Fallback,
    FixedWindow,
    Hedge,
    LeakyBucket,
    Policy,
    Retry,
    RetryBudget,
    Shed,
    SlidingWindowCounter,
    SlidingWindowLog,
    Timeout,
    TokenBucket,
)
from escala.errors import CircuitOpen
from escala.gateway.fixed_answer import FixedAnswer
from escala.kernel.config import options
from escala.kernel.policy import Scope
from escala.kernel.registry import policy
from escala.kernel.writer import plain
from escala.resilience import Standard

POLICIES: list[tuple[type[Policy], dict[str, Any]]] = [
    (Retry, {}),
    (Hedge, {}),
    (CircuitBreaker, {}),
    (Bulkhead, {}),
    (AdaptiveLimit, {}),
    (AdaptiveThrottle, {}),
    (Shed, {}),
    (Timeout, {"after": "1s"}),
    (Deadline, {"after": "3s"}),
    (TokenBucket, {"limit": "200/s"}),
    (LeakyBucket, {"limit": "200/s"}),
    (SlidingWindowLog, {"limit": "200/s"}),
    (SlidingWindowCounter, {"limit": "200/s"}),
    (FixedWindow, {"limit": "200/s"}),
    (Standard, {}),
    (FixedAnswer, {"body": "[]"}),
]
every_policy = pytest.mark.parametrize(
    ("kind", "needed"), POLICIES, ids=[kind.kind for kind, _ in POLICIES]
)


@every_policy
def test_the_constructors_defaults_are_those_of_the_options(
    kind: type[Policy], needed: dict[str, Any]
) -> None:
    parameters = inspect.signature(kind).parameters
    fields = msgspec.structs.fields(kind.Options)
    given = {
        field.name: parameters[field.name].default for field in fields if not field.required
    } | needed
    assert options(kind.Options, given, where="test") == options(kind.Options, needed, where="test")
    assert {field.name for field in fields if field.required} == needed.keys()


@every_policy
def test_options_have_the_order_of_the_constructor_and_a_word_each(
    kind: type[Policy], needed: dict[str, Any]
) -> None:
    from escala.kernel.field_docs import field_docs

    names = [field.name for field in msgspec.structs.fields(kind.Options)]
    assert list(inspect.signature(kind).parameters)[: len(names)] == names
    assert field_docs(kind.Options).keys() == set(names)
    assert kind.shorthand is None or kind.shorthand == names[0]


@every_policy
def test_only_what_shorthand_fills_may_be_given_without_its_name(
    kind: type[Policy], needed: dict[str, Any]
) -> None:
    positional = [
        name
        for name, each in inspect.signature(kind).parameters.items()
        if each.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    assert positional == ([] if kind.shorthand is None else [kind.shorthand])


@every_policy
def test_is_found_by_its_name_in_stack_yaml(kind: type[Policy], needed: dict[str, Any]) -> None:
    assert policy(kind.kind) is kind


@every_policy
def test_is_built_from_options_in_a_scope(kind: type[Policy], needed: dict[str, Any]) -> None:
    given = options(kind.Options, needed, where="test")
    made: Any = kind.build(given, Scope(name="shop"))
    assert (made.name, made.options) == (f"shop.{kind.kind}", given)
    alone: Any = kind.build(given, Scope())
    assert alone.name == kind.kind
    assert repr(alone) == repr(kind(**needed))


def judge(status: Any) -> bool:
    return bool(status >= 500)


def hint(_: Any) -> float | None:
    return None


def discard(_: Any) -> None:
    return None


NAMES = {
    each.__name__: each
    for each in (
        Retry,
        Hedge,
        Fallback,
        RetryBudget,
        CircuitBreaker,
        Bulkhead,
        Timeout,
        Deadline,
        AdaptiveLimit,
        AdaptiveThrottle,
        Shed,
        TokenBucket,
        LeakyBucket,
        SlidingWindowLog,
        SlidingWindowCounter,
        FixedWindow,
        Standard,
    )
} | {"judge": judge, "hint": hint, "discard": discard}


@pytest.mark.parametrize(
    "text",
    [
        "Retry()",
        "Retry(5, base='250ms', cap='10s', unsafe=True, name='mine')",
        "Retry(budget=None)",
        "Retry(budget='10%', on=(OSError, ValueError))",
        "Retry(on=(OSError,), judge=judge, hint=hint, discard=discard)",
        "Retry(budget=RetryBudget('10%', floor=5, window='1m'), judge=judge)",
        "Retry(backoff='linear', jitter='none')",
        "Retry(jitter='decorrelated')",
        "Retry(backoff=hint, on=judge)",
        "Hedge()",
        "Hedge('50ms', most=3, budget='10%', threads=8, name='mine')",
        "Hedge('p99.9', budget=RetryBudget('10%', floor=0), judge=judge, discard=discard)",
        "Hedge(budget=None)",
        "Fallback(value=None)",
        "Fallback(function=judge, on=(OSError,), judge=judge, name='mine')",
        "Fallback(last_good='5m', key='tenant', max_keys=50, value=[1, 2])",
        "Fallback(last_good='5m', key=hint, on=judge)",
        "CircuitBreaker()",
        "CircuitBreaker(failure_rate='25%', window='1m', minimum_calls=5, cooldown='500ms')",
        "CircuitBreaker(probes=3, probe_lease='5s', on=(OSError,), judge=judge, name='mine')",
        "CircuitBreaker(failure_rate=None, window='100 calls', consecutive=5, cooldown_cap='1m')",
        "CircuitBreaker(slow='2s', slow_rate='80%', statuses=['500..504', 'UNAVAILABLE'])",
        "CircuitBreaker(key='host', max_keys=50, mode='shadow', on=judge)",
        "CircuitBreaker(key=hint)",
        "Bulkhead()",
        "Bulkhead(3, queue=7, wait='1s')",
        "Bulkhead(3, order='priority', key='tenant', max_keys=5)",
        "Bulkhead(key=hint)",
        "AdaptiveLimit()",
        "AdaptiveLimit(algorithm='aimd', initial=5, least=2, most=9, queue=3, target='50ms')",
        "AdaptiveLimit(queue=5, wait='1s', on=(OSError,), judge=judge, name='mine')",
        "AdaptiveThrottle()",
        "AdaptiveThrottle(multiple=1.5, window='1m', on=(OSError,), judge=judge)",
        "Shed()",
        "Shed(8, queue=50, target='5ms', interval='200ms', name='mine')",
        "Timeout('250ms')",
        "Timeout('1s', name='mine')",
        "Deadline('5m')",
        "TokenBucket('100/min')",
        "TokenBucket('10/30s', burst=5, key='client_ip', max_keys=50, name='mine')",
        "TokenBucket('10/s', key=hint)",
        "TokenBucket('10/s; 1000/h', strict=True, wait='250ms')",
        "LeakyBucket('10/s', shape='queue', queue=5, key='tenant', wait='1s')",
        "LeakyBucket('10/s', burst=5, name='mine')",
        "SlidingWindowLog('10/s; 1000/h', key='tenant', max_keys=9, wait='1s', name='mine')",
        "SlidingWindowCounter('10/s', key=hint)",
        "FixedWindow('1000/d')",
        "Standard()",
        "Standard(deadline='5s', attempts=2, slots=9, timeout='1s', on=(OSError,), name='mine')",
        "Standard(budget=RetryBudget('10%'), judge=judge, hint=hint, discard=discard)",
        "RetryBudget('20%')",
        "RetryBudget('5%', floor=0)",
    ],
)
def test_repr_is_the_constructor_call(text: str) -> None:
    assert repr(eval(text, NAMES)) == text  # noqa: S307  our own text


def test_a_scope_gives_what_configuration_cannot_say() -> None:
    scope = Scope(judge=judge, hint=hint, discard=discard)
    retry = Retry.build(Retry(budget=None).options, scope)
    assert repr(retry) == "Retry(budget=None, judge=judge, hint=hint, discard=discard)"
    assert retry.budget is None
    breaker = CircuitBreaker.build(CircuitBreaker().options, scope)
    assert repr(breaker) == "CircuitBreaker(judge=judge)"


@pytest.mark.parametrize(
    ("slots", "queue", "share", "each"),
    [(100, 100, 1, (100, 100)), (100, 10, 4, (25, 3)), (3, 0, 2, (2, 0)), (1, 1, 8, (1, 1))],
)
def test_processes_share_the_slots(
    slots: int, queue: int, share: int, each: tuple[int, int]
) -> None:
    options = Bulkhead(slots, queue=queue).options
    made = Bulkhead.build(options, Scope(share=share))
    assert (made.options.slots, made.options.queue) == each


def test_options_are_written_as_stack_yaml_has_them() -> None:
    assert plain(Retry().options) == {
        "attempts": 3,
        "base": "100ms",
        "cap": "5s",
        "backoff": "exponential",
        "jitter": "full",
        "budget": "20%",
        "unsafe": False,
    }
    assert plain(TokenBucket("200/s", burst=400, key="client_ip").options) == {
        "limit": "200/s",
        "burst": 400,
        "key": "client_ip",
        "max_keys": 100_000,
        "strict": False,
        "wait": "0s",
        "store": None,
        "away": "local",
    }


def test_names_in_errors_are_those_of_the_policies() -> None:
    once = CircuitBreaker(minimum_calls=1).options
    breaker = CircuitBreaker.build(once, Scope(name="orders", judge=bool))
    assert breaker.call(bool, 1)
    with pytest.raises(CircuitOpen, match=r"^orders\.circuit_breaker: "):
        breaker.call(bool, 1)

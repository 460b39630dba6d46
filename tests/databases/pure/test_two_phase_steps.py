from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.databases.pure.two_phase_steps import Do, Part, Step, TwoPhaseSteps, gid, parsed, part

NAMES = ["c", "a", "b"]


def went(*answers: str) -> tuple[TwoPhaseSteps, list[Step]]:
    """Three shards; each step goes as it says, and all further ones well."""
    steps, seen = TwoPhaseSteps(NAMES), []
    assert steps.outcome is None
    for answer in [*answers, *["ok"] * 20]:
        if (step := steps.step) is None:
            break
        seen.append(step)
        if answer in {"refused", "broke"}:
            steps.failed(broke=answer == "broke")
        else:
            steps.done(answer)
    assert steps.step is None
    return steps, seen


PROMISES = [Step(Do.BEGIN, "a"), Step(Do.PREPARE, "b"), Step(Do.PREPARE, "c")]
DECIDES = [*PROMISES, Step(Do.DECIDE, "a")]
COMMITS = [Step(Do.COMMIT, "b"), Step(Do.COMMIT, "c")]
ROLLS_BACK = [Step(Do.ROLL_BACK, "b"), Step(Do.ROLL_BACK, "c")]
ASKS = [*DECIDES, Step(Do.ASK, "a")]


@pytest.mark.parametrize(
    ("answers", "seen", "outcome", "in_doubt"),
    [
        ([], [*DECIDES, *COMMITS], "commit", set()),
        (["refused"], PROMISES[:1], "abort", set()),
        (["broke"], PROMISES[:1], "abort", set()),
        (["ok", "refused"], PROMISES[:2], "abort", set()),
        (["ok", "broke"], PROMISES[:2], "abort", {"b"}),
        (["ok", "ok", "refused"], [*PROMISES, ROLLS_BACK[0]], "abort", set()),
        (["ok", "ok", "broke"], [*PROMISES, ROLLS_BACK[0]], "abort", {"c"}),
        (["ok", "ok", "broke", "broke"], [*PROMISES, ROLLS_BACK[0]], "abort", {"b", "c"}),
        ([*["ok"] * 3, "refused"], [*DECIDES, *ROLLS_BACK], "abort", set()),
        ([*["ok"] * 3, "refused", "refused"], [*DECIDES, *ROLLS_BACK], "abort", {"b"}),
        ([*["ok"] * 3, "broke", "commit"], [*ASKS, *COMMITS], "commit", set()),
        ([*["ok"] * 3, "broke", "abort"], [*ASKS, *ROLLS_BACK], "abort", set()),
        ([*["ok"] * 3, "broke", "refused"], ASKS, "unknown", {"b", "c"}),
        ([*["ok"] * 3, "broke", "broke"], ASKS, "unknown", {"b", "c"}),
        ([*["ok"] * 4, "broke"], [*DECIDES, *COMMITS], "commit", {"b"}),
        ([*["ok"] * 5, "refused"], [*DECIDES, *COMMITS], "commit", {"c"}),
    ],
    ids=[*("well", "no-begin", "begin-broke", "first-refuses", "first-broke", "second-refuses"),
         *("second-broke", "roll-back-broke", "decision-refused", "roll-back-refused"),
         *("asked-commit", "asked-abort", "asked-nobody", "asked-broke", "commit-broke", "last")],
)  # fmt: skip
def test_each_way_it_can_go(
    answers: list[str], seen: list[Step], outcome: str, in_doubt: set[str]
) -> None:
    steps, found = went(*answers)
    assert found == seen
    assert steps.outcome == outcome
    assert steps.in_doubt == in_doubt


@given(
    st.integers(1, 6),
    st.lists(st.sampled_from(["ok", "refused", "broke"]), max_size=20),
    st.booleans(),
)
def test_all_or_nothing_whatever_fails(count: int, answers: list[str], happened: bool) -> None:
    """Against shards that do what they are told: the sweeper then ends what is left as decided."""
    names = [f"s{number}" for number in range(count)]
    steps = TwoPhaseSteps(reversed(names))
    prepared: set[str] = set()
    ended: dict[str, str] = {}
    decision: str | None = None
    for answer in [*answers, *["ok"] * 20]:
        if (step := steps.step) is None:
            break
        done = answer == "ok" or (answer == "broke" and happened)
        if step.do is Do.PREPARE and done:
            prepared.add(step.shard)
        elif step.do is Do.DECIDE:
            assert prepared >= {*names[1:]}
            decision = "commit" if done else decision
        elif step.do is Do.ASK and done:
            decision = decision or "abort"
        elif step.do in {Do.COMMIT, Do.ROLL_BACK}:
            assert step.shard in prepared
            if done:
                prepared.discard(step.shard)
                ended[step.shard] = "commit" if step.do is Do.COMMIT else "abort"
        if answer == "ok":
            steps.done(decision or "" if step.do is Do.ASK else "")
        else:
            steps.failed(broke=answer == "broke")
    assert steps.step is None
    assert steps.outcome in {decision or "abort", "unknown"}
    assert prepared <= steps.in_doubt  # so that someone hears of each
    assert {*ended.values()} <= {decision or "abort"}


def test_names_say_who_knows_what_was_decided() -> None:
    name = gid("eu:1", "3f-2")
    assert name == "escala:eu:1:3f-2"
    assert parsed(part(name, 12)) == Part(name, "eu:1")
    assert part(name, 12) == "escala:eu:1:3f-2:12"


@pytest.mark.parametrize(
    "name", ["", "other:a:b:1", "escala:a:1", "escala::b:1", "escala:a:b:", "escala:a:b:x"]
)  # fmt: skip
def test_names_of_others(name: str) -> None:
    assert parsed(name) is None

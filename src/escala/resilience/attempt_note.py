"""What an error says about the attempts behind it, so that its traceback tells the whole story."""

from __future__ import annotations

from escala.resilience.pure.backoff import GiveUp

_WHY = {
    GiveUp.ATTEMPTS: "no attempt is left",
    GiveUp.DEADLINE: "the next attempt would begin after the deadline",
    GiveUp.BUDGET: "the retry budget is used up",
    GiveUp.UNSAFE: "the request is not safe to repeat",
}


def leave_note(
    error: BaseException, policy: str, reason: GiveUp, attempts: int, seconds: float
) -> None:
    """Note on `error` how often it was tried; replaces the policy's older note on the same one."""
    mine = f"; {policy} gave up: "
    notes: list[str] = getattr(error, "__notes__", [])
    notes[:] = [note for note in notes if mine not in note]
    tries = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    error.add_note(f"{tries} in {_shown(seconds)} s{mine}{_WHY[reason]}")


def _shown(seconds: float) -> str:
    return f"{seconds:.2g}" if seconds < 10 else f"{seconds:.0f}"  # noqa: PLR2004  two digits

"""Threads that are made when needed, reused, and let go when there is nothing to do."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from escala.resilience import spare_threads
from escala.resilience.spare_threads import SpareThreads

SOON = 5.0


def handed_over(threads: SpareThreads, run: Callable[[], None]) -> bool:
    """Once a thread is free: the one before may still be on its way back."""
    for _ in range(100_000):
        if threads.hand_over(run):
            return True
        os.sched_yield()
    return False


def test_runs_what_it_is_given_in_a_daemon_thread_of_its_name() -> None:
    ran: list[threading.Thread] = []
    done = threading.Event()

    def run() -> None:
        ran.append(threading.current_thread())
        done.set()

    assert SpareThreads(1, name="shop.hedge").hand_over(run)
    assert done.wait(SOON)
    assert ran[0] is not threading.current_thread()
    assert ran[0].name == "shop.hedge"
    assert ran[0].daemon


def test_none_is_made_before_it_is_needed_and_none_beyond_the_bound() -> None:
    threads, gate, begun = SpareThreads(2, name="t"), threading.Event(), threading.Semaphore(0)

    def run() -> None:
        begun.release()
        gate.wait(SOON)

    assert threads.alive == 0
    assert threads.hand_over(run)
    assert threads.alive == 1
    assert threads.hand_over(run)
    assert threads.alive == 2
    assert not threads.hand_over(run), "and nothing waits for a place"
    assert begun.acquire(timeout=SOON)
    assert begun.acquire(timeout=SOON)
    gate.set()
    assert handed_over(threads, run)
    assert begun.acquire(timeout=SOON)
    assert threads.alive == 2


def test_what_fails_is_shown_and_the_thread_serves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[BaseException | None] = []
    monkeypatch.setattr("sys.excepthook", lambda *error: shown.append(error[1]))
    threads, done = SpareThreads(1, name="t"), threading.Event()

    def fail() -> None:
        raise SystemExit(3)

    assert threads.hand_over(fail)
    assert handed_over(threads, done.set)
    assert done.wait(SOON)
    assert threads.alive == 1
    assert [type(error) for error in shown] == [SystemExit]


def test_an_idle_thread_ends_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    assert spare_threads._IDLE == 60.0
    monkeypatch.setattr(spare_threads, "_IDLE", 0.001)
    threads, done = SpareThreads(3, name="idle"), threading.Event()
    assert threads.hand_over(done.set)
    assert done.wait(SOON)
    for thread in threading.enumerate():
        if thread.name == "idle":
            thread.join(SOON)
    assert threads.alive == 0
    done.clear()
    assert threads.hand_over(done.set)
    assert done.wait(SOON)


def test_when_the_system_has_no_threads_left_nothing_is_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threads = SpareThreads(1, name="t")
    monkeypatch.setattr(threading.Thread, "start", start)
    assert not threads.hand_over(lambda: None)
    assert threads.alive == 0


def test_a_fork_makes_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, done = SpareThreads(1, name="t"), threading.Event()
    assert threads.hand_over(done.set)
    assert done.wait(SOON)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    done.clear()
    assert threads.hand_over(done.set), "though the parent's only thread may be busy"
    assert done.wait(SOON)
    assert threads.alive == 1

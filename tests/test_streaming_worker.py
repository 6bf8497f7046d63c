"""One thread for all callers: order, waiting, stopping, errors, and nothing left behind.

Work here waits at gates that the tests open, so no test depends on how fast anything runs.
"""

import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from vlm.backend import Event, Finished, Progress, TextDelta
from vlm.errors import RequestError
from vlm.streaming import Emit, Work, Worker

PATIENCE = 30.0


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker("test-worker")
    yield worker
    worker.close()


class Gated:
    """Work that says "begun", waits for `gate` or to be stopped, and says how it ended."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.ended = threading.Event()
        self.was_stopped = False

    def __call__(self, emit: Emit, should_stop: Callable[[], bool], waited: float) -> None:
        emit(TextDelta("begun"))
        for _ in range(int(PATIENCE / 0.005)):
            self.was_stopped = should_stop()
            if self.gate.wait(0.005) or self.was_stopped:
                break
        emit(Finished("cancelled" if self.was_stopped else "stop"))
        self.ended.set()


def says(*texts: str, then: BaseException | None = None) -> Work:
    """Work that emits texts and may raise afterwards."""

    def work(emit: Emit, should_stop: Any, waited: float) -> None:
        for text in texts:
            emit(TextDelta(text))
        if then is not None:
            raise then

    return work


def run(worker: Worker, work: Work, cancel: threading.Event | None = None) -> Any:
    return worker.run(work, cancel or threading.Event())


def begin(worker: Worker, work: Work, cancel: threading.Event | None = None) -> Any:
    """An iterator whose first event has come, so that its work runs or waits in line."""
    events = run(worker, work, cancel)
    return events, next(events)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("test-worker")]


def test_events_come_in_order(worker: Worker) -> None:
    texts = [str(n) for n in range(100)]
    assert list(run(worker, says(*texts))) == [TextDelta(text) for text in texts]


@pytest.mark.parametrize("said", [(), ("a",), ("a", "b")])
def test_an_exception_reaches_the_caller_after_what_was_said(
    worker: Worker, said: tuple[str, ...]
) -> None:
    failure = ZeroDivisionError("broken")
    got: list[Event] = []
    with pytest.raises(ZeroDivisionError) as caught:
        got.extend(run(worker, says(*said, then=failure)))
    assert caught.value is failure
    assert list(run(worker, says("next"))) == [TextDelta("next")]


def test_an_exception_after_the_last_event_is_raised(worker: Worker) -> None:
    def work(emit: Emit, *_: object) -> None:
        emit(Finished("stop"))
        raise KeyError("late")

    events = run(worker, work)
    assert next(events) == Finished("stop")
    with pytest.raises(KeyError):
        next(events)


def test_a_base_exception_does_not_end_the_thread(worker: Worker) -> None:
    with pytest.raises(SystemExit):
        list(run(worker, says(then=SystemExit(3))))
    assert list(run(worker, says("alive"))) == [TextDelta("alive")]


def test_those_who_wait_hear_how_many_are_ahead(worker: Worker) -> None:
    works = [Gated() for _ in range(4)]
    lines = [begin(worker, work) for work in works]
    assert [first for _, first in lines] == [
        TextDelta("begun"),
        *(Progress("queued", ahead, ahead) for ahead in (1, 2, 3)),
    ]
    works[0].gate.set()
    assert list(lines[0][0]) == [Finished("stop")]
    assert next(lines[3][0]) == Progress("queued", 2, 2)
    for work in works:
        work.gate.set()
    assert list(lines[1][0]) == [TextDelta("begun"), Finished("stop")]
    assert list(lines[2][0])[-1] == Finished("stop")
    assert list(lines[3][0])[-1] == Finished("stop")


def test_work_is_told_how_long_it_waited(worker: Worker) -> None:
    waits: list[float] = []
    list(run(worker, lambda emit, should_stop, waited: waits.append(waited)))
    first = Gated()
    busy, _ = begin(worker, first)
    queued, _ = begin(worker, lambda emit, should_stop, waited: waits.append(waited))
    first.gate.set()
    assert list(busy) and not list(queued)
    assert 0 <= waits[0] < waits[1]


def test_cancelling_in_the_line_ends_at_once_and_never_runs(worker: Worker) -> None:
    first, second, cancel = Gated(), Gated(), threading.Event()
    busy, _ = begin(worker, first)
    queued, _ = begin(worker, second, cancel)
    last, _ = begin(worker, says("last"))
    cancel.set()
    (end,) = queued
    assert isinstance(end, Finished)
    assert (end.reason, end.usage.completion_tokens) == ("cancelled", 0)
    assert end.timings.queue > 0
    assert next(last) == Progress("queued", 1, 1)  # one fewer
    first.gate.set()
    assert list(busy) == [Finished("stop")]
    assert list(last) == [TextDelta("last")]
    assert not second.ended.is_set()


def test_cancel_stops_the_work_in_hand(worker: Worker) -> None:
    work, cancel = Gated(), threading.Event()
    events, _ = begin(worker, work, cancel)
    cancel.set()
    assert list(events) == [Finished("cancelled")]


@pytest.mark.parametrize("leave", ["close", "drop"])
def test_leaving_stops_the_work_in_hand(worker: Worker, leave: str) -> None:
    work = Gated()
    events, _ = begin(worker, work)
    if leave == "close":
        events.close()
    else:
        del events
        gc.collect()
    assert work.ended.wait(PATIENCE)
    assert work.was_stopped
    assert list(run(worker, says("next"))) == [TextDelta("next")]


def test_leaving_the_line_takes_the_place_away(worker: Worker) -> None:
    first, second = Gated(), Gated()
    busy, _ = begin(worker, first)
    queued, _ = begin(worker, second)
    last, ahead = begin(worker, says("last"))
    assert ahead == Progress("queued", 2, 2)
    queued.close()
    assert next(last) == Progress("queued", 1, 1)
    first.gate.set()
    assert list(busy) and list(last)
    assert not second.ended.is_set()


def test_an_iterator_that_is_never_asked_does_nothing(worker: Worker) -> None:
    work = Gated()
    unused = run(worker, work)
    assert list(run(worker, says("a"))) == [TextDelta("a")]
    unused.close()
    assert not work.ended.is_set()


def test_many_callers_each_get_their_own(worker: Worker) -> None:
    """Eight threads, five answers each; every third answer fails."""
    wrong: list[object] = []

    def caller(number: int) -> None:
        for turn in range(5):
            texts = [f"{number}-{turn}-{piece}" for piece in range(7)]
            fails = ValueError(texts[0]) if (number + turn) % 3 == 0 else None
            got: list[Event] = []
            try:
                got.extend(
                    event
                    for event in run(worker, says(*texts, then=fails))
                    if not isinstance(event, Progress)
                )
            except ValueError as error:
                if error is not fails:
                    wrong.append(error)
                continue
            if got != [TextDelta(text) for text in texts] or fails:
                wrong.append(got)

    callers = [threading.Thread(target=caller, args=(number,)) for number in range(8)]
    for each in callers:
        each.start()
    for each in callers:
        each.join(PATIENCE)
    assert not any(each.is_alive() for each in callers)
    assert not wrong
    assert len(threads()) == 1


def test_close_stops_what_runs_drops_what_waits_and_leaves_no_thread() -> None:
    worker = Worker("test-worker")
    first, second = Gated(), Gated()
    busy, _ = begin(worker, first)
    queued, _ = begin(worker, second)
    assert threads()
    worker.close()
    assert not threads()
    assert list(busy) == [Finished("cancelled")]
    with pytest.raises(RequestError) as waiting:
        list(queued)
    with pytest.raises(RequestError) as late:
        list(run(worker, says("late")))
    assert (waiting.value.key, late.value.key) == ("model_closed", "model_closed")
    assert not second.ended.is_set()
    worker.close()  # once more does no harm


def test_a_thread_that_cannot_be_prepared_says_so() -> None:
    def prepare() -> None:
        raise OSError("no such core")

    worker = Worker("test-worker", prepare)
    for _ in range(2):
        with pytest.raises(RuntimeError):  # BrokenThreadPool, rather than waiting for ever
            list(run(worker, says("never")))
    worker.close()


def test_prepare_runs_once_on_the_thread_of_the_work() -> None:
    names: list[str] = []
    worker = Worker("test-worker", lambda: names.append(threading.current_thread().name))
    for _ in range(2):
        list(run(worker, lambda *_: names.append(threading.current_thread().name)))
    worker.close()
    assert len(names) == 3
    assert len(set(names)) == 1

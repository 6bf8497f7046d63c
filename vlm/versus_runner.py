"""Runs two sides that are asked the same: in turns in one place of a model, or at once in two.

In: a `Comparison` and the places of models. Out: its frames filled, with a step at every change.
A backend has one place for a model, so two sides of one backend take turns in it, the one whose
model is loaded first; the other one is loaded through `ModelSlot.exchange`, and what was there
before comes back. Sides of different backends answer at the same time, each in its own place.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from vlm.backend import Finished, Progress, TextDelta
from vlm.errors import ModelError, RequestError, VLMError
from vlm.messages import system_messages, user_message
from vlm.model_slot import Loading, ModelSlot
from vlm.settings import Settings
from vlm.versus import Comparison, Frame

STEP = 0.2
"""Seconds between two looks at a loading."""


class Runner:
    """Runs a comparison in the places of models.

    Args:
        slot: the place of the app's own model.
        may_exchange: whether models may be exchanged here; not where visitors share them.
        bring_back: whether the models that were loaded before come back at the end.
        others: name of a backend -> the place of its model, for the sides that name it.
    """

    def __init__(
        self,
        slot: ModelSlot,
        *,
        may_exchange: bool,
        bring_back: bool = True,
        others: Mapping[str, ModelSlot] | None = None,
    ) -> None:
        self.slot = slot
        self.may_exchange = may_exchange
        self.bring_back = bring_back
        self.others = others or {}
        self._brought: list[tuple[ModelSlot, Settings]] = []

    def run(self, comparison: Comparison) -> Iterator[None]:
        """Asks both sides and yields at every change; what one side has said outlives the other.

        Stopping ends the sides that are under way and skips one that waits; then the models before
        are brought back, which can be stopped too: what is loaded then stays.

        Raises:
            RequestError: a side asks for another model where none may be exchanged.
        """
        turns: dict[ModelSlot, list[Frame]] = {}
        for frame in dict.fromkeys((comparison.a, *comparison.frames)):
            place = self.others.get(frame.side.backend, self.slot)
            turns.setdefault(place, []).append(frame)
        before = {place: place.settings for place in turns}
        try:
            if len(turns) == 1:
                yield from self._take_turns(comparison, *turns.popitem())
            else:
                works = [self._apart(comparison, *turn) for turn in turns.items()]
                yield from together(works, comparison.cancel)
            for place, settings in before.items():
                yield from self._restore(comparison, place, settings)
        except GeneratorExit:
            comparison.cancel.set()
            for place, settings in before.items():
                self._restore_alone(place, settings)
            raise
        finally:
            comparison.over = True

    # ---- one place ----

    def _take_turns(
        self, comparison: Comparison, place: ModelSlot, frames: Sequence[Frame]
    ) -> Iterator[None]:
        """Asks the sides of one place, the one whose model is loaded first."""
        able = place.capabilities()
        before = place.settings
        for frame in frames:
            frame.wanted = frame.side.wanted(before, able)
            if frame.wanted != before and not self.may_exchange:
                raise RequestError("hosted_model")
        for frame in sorted(frames, key=lambda each: each.wanted != before):
            if comparison.cancel.is_set():
                break
            yield from self._side(comparison, place, frame)

    def _apart(
        self, comparison: Comparison, place: ModelSlot, frames: Sequence[Frame]
    ) -> Iterator[None]:
        """The same beside another place, whose sides go on where this one has no model to ask."""
        try:
            yield from self._take_turns(comparison, place, frames)
        except VLMError as error:
            for frame in frames:
                frame.state, frame.error = "failed", error

    # ---- one side ----

    def _side(self, comparison: Comparison, place: ModelSlot, frame: Frame) -> Iterator[None]:
        assert frame.wanted is not None
        try:
            if frame.wanted != place.settings:
                yield from self._load(comparison, place, frame, frame.wanted)
            if frame.state == "waiting":
                yield from self._answer(comparison, place, frame, frame.wanted)
        except VLMError as error:
            # What was written before something broke is no answer.
            frame.state, frame.error, frame.answer = "failed", error, ""
        finally:
            frame.loading = frame.progress = None
            if frame.state in ("loading", "answering"):
                frame.state = "stopped"
        yield

    def _load(
        self, comparison: Comparison, place: ModelSlot, frame: Frame, wanted: Settings
    ) -> Iterator[None]:
        """Brings the model of a side; the frame waits again where it is there."""
        started = time.monotonic()
        frame.state, frame.loading = "loading", (loading := place.exchange(wanted))
        self._brought.append((place, wanted))
        try:
            yield
            yield from self._follow(comparison, place, loading)
        finally:
            if not loading.over.is_set():  # nobody listens any more
                place.cancel(loading)
        error, frame.loading = loading.error, None
        if comparison.cancel.is_set():
            frame.state = "stopped"
        elif error is None:
            frame.state, frame.seconds = "waiting", time.monotonic() - started
        elif isinstance(error, VLMError):
            raise error
        else:
            name, detail = wanted.model, type(error).__name__
            raise ModelError("cannot_load", source=name, detail=detail) from error

    def _follow(self, comparison: Comparison, place: ModelSlot, loading: Loading) -> Iterator[None]:
        """Yields until a loading is over; calls it off when the comparison is stopped."""
        while not loading.over.wait(STEP):
            if comparison.cancel.is_set():
                place.cancel(loading)
            yield

    def _answer(
        self, comparison: Comparison, place: ModelSlot, frame: Frame, wanted: Settings
    ) -> Iterator[None]:
        if self.may_exchange:  # else the second would be quicker for what the first left behind
            place.forget()
        side = frame.side
        question = user_message(comparison.prompt, comparison.images)
        messages = [*system_messages(side.system_prompt), question]
        options = replace(side.options, seed=frame.seed)
        frame.state, frame.able = "answering", place.capabilities()
        yield
        for event in place.stream(messages, options, comparison.cancel, only=wanted):
            if isinstance(event, Progress):
                frame.progress = event
            elif isinstance(event, TextDelta):
                frame.answer, frame.progress = frame.answer + event.text, None
            elif isinstance(event, Finished):
                frame.finished = event
                frame.state = "stopped" if event.reason == "cancelled" else "done"
            yield
        if frame.finished is None:
            raise RequestError("versus_broke_off")

    # ---- the model before ----

    def _restore(
        self, comparison: Comparison, place: ModelSlot, before: Settings
    ) -> Iterator[None]:
        """Brings the model back that was here before, where one of the sides' is here now."""
        if not self._is_ours(place, before):
            return
        if self.bring_back:
            comparison.cancel = threading.Event()  # a stop of what came before does not count here
            with contextlib.suppress(RequestError):  # somebody else loads one: that one counts
                comparison.restoring = place.exchange(before)
                yield from self._follow(comparison, place, comparison.restoring)
            comparison.restoring = None
        if place.able is not None and place.settings == before:
            comparison.restored = _listed(comparison.restored, place.able.name)
        elif place.able is not None and self._is_ours(place, before):
            comparison.kept = _listed(comparison.kept, place.able.name)
        yield

    def _is_ours(self, place: ModelSlot, before: Settings) -> bool:
        """Whether a model is here that came for a side, and not one that anybody chose since."""
        return place.settings != before and (place, place.settings) in self._brought

    def _restore_alone(self, place: ModelSlot, before: Settings) -> None:
        """As `_restore`, when nobody listens any more: on a thread of its own."""

        def work() -> None:
            if (loading := place.loading) is not None:
                loading.over.wait()
            if self.bring_back and self._is_ours(place, before):
                with contextlib.suppress(RequestError):
                    place.exchange(before)

        threading.Thread(target=work, name="restore-model", daemon=True).start()


def _listed(names: str, name: str) -> str:
    """Names with one more."""
    return f"{names}, {name}" if names else name


def together(works: Sequence[Iterator[None]], cancel: threading.Event) -> Iterator[None]:
    """Goes through several works, each on a thread of its own; yields whenever one of them does.

    Args:
        cancel: ends all of them; it is set where one breaks or nobody listens any more.
    """
    told: queue.SimpleQueue[tuple[bool, BaseException | None]] = queue.SimpleQueue()

    def follow(work: Iterator[None]) -> None:
        failure = None
        try:
            for _ in work:
                told.put((False, None))
        except BaseException as error:  # raised again where it is awaited
            failure = error
        told.put((True, failure))

    threads = [
        threading.Thread(target=follow, args=(work,), name="side", daemon=True) for work in works
    ]
    for thread in threads:
        thread.start()
    running = len(threads)
    try:
        while running:
            ended, failure = told.get()
            running -= ended
            if failure is not None:
                raise failure
            yield
    except BaseException:
        cancel.set()
        raise
    finally:
        for thread in threads:
            thread.join()

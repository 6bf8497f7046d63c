"""Two models, or one model in two settings, asked the same: one after the other, then side by side.

In: two `Side`s, images, a prompt, the place of the model. Out: a `Comparison` whose frames fill up.
There is one place for a model, so the sides take turns in it, the one whose model is loaded first;
the other one is loaded through `ModelSlot.exchange`, and what was there before comes back. Two
backends that do not share that place could answer at the same time; no such backend exists yet.
"""

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from vlm.backend import Capabilities, Finished, Progress, TextDelta
from vlm.errors import ModelError, RequestError, VLMError
from vlm.messages import Image, system_messages, user_message
from vlm.model_slot import Loading, ModelSlot
from vlm.options import GenerationOptions
from vlm.settings import FEWER_BITS, Settings

STEP = 0.2
"""Seconds between two looks at a loading."""

State = Literal["waiting", "loading", "answering", "done", "stopped", "failed"]
Vote = Literal["first", "second", "tie", "both_bad"]
"""Of the frames as they are shown."""
VOTES: tuple[Vote, ...] = ("first", "second", "tie", "both_bad")


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two that are asked.

    Attributes:
        model: a name, hub id or folder; empty: the one that is loaded.
        quantization: as in `Settings`; empty: as that of the model that is loaded.
        system_prompt: said to the model before everything.
        options: of its answer.
    """

    model: str = ""
    quantization: str = ""
    system_prompt: str = ""
    options: GenerationOptions = field(default_factory=GenerationOptions)

    def wanted(self, now: Settings, able: Capabilities | None) -> Settings:
        """The settings of the model that this side needs; `now` where that one is loaded.

        Args:
            now: of the model that is loaded.
            able: of the same; what "what fits" came to stands in its details.
        """
        same_model = self.model in ("", now.model)
        quantization = self.quantization or now.quantization
        if same_model and quantization in (now.quantization, loaded_kind(able)):
            return now
        if same_model:
            return replace(now, quantization=quantization)
        return replace(now, model=self.model, quantization=quantization, tokenizer="")


def loaded_kind(able: Capabilities | None) -> str:
    """The quantisation that a model has; empty where that is not known."""
    if able is None or not able.details:
        return ""
    return next((each for each in able.details if each in FEWER_BITS), "none")


@dataclass(eq=False)
class Frame:
    """What became of one side.

    Attributes:
        side: what was asked for.
        seed: that its answer was made with.
        wanted: the settings of its model; None before the comparison runs.
        able: of the model that answered, with the memory of its parts.
        loading: of its model, while that is on its way.
        progress: what happens before the first word.
        seconds: that loading its model took; 0 where it was there.
    """

    side: Side
    seed: int
    state: State = "waiting"
    wanted: Settings | None = None
    able: Capabilities | None = None
    loading: Loading | None = None
    progress: Progress | None = None
    answer: str = ""
    finished: Finished | None = None
    error: VLMError | None = None
    seconds: float = 0.0

    @property
    def model_bytes(self) -> int:
        """Memory of the weights of its model; 0 where that is not known."""
        return sum(self.able.memory.values()) if self.able else 0

    @property
    def key(self) -> "Key":
        """What votes are counted by: the model that answered, and what was set."""
        able = self.able
        name = " · ".join([able.name, *able.details]) if able else self.side.model
        options = json.dumps(self.side.options.to_json(), sort_keys=True, ensure_ascii=False)
        return name, self.side.system_prompt, options


Key = tuple[str, str, str]
"""(model with precision and device, system prompt, options as JSON)."""


@dataclass(eq=False)
class Comparison:
    """One question to two sides.

    Attributes:
        frames: as they are shown; in a blind comparison in an order drawn by lot.
        blind: whether names are hidden until the vote.
        restoring: the model that was here before, on its way back.
        restored: the name of the model that is back; empty where it never went.
        kept: the name of the model that stays loaded instead of the one before; empty where that
            one is back or never went.
        vote: how a person decided.
    """

    frames: tuple[Frame, Frame]
    prompt: str
    images: tuple[Image, ...]
    blind: bool = False
    swapped: bool = False
    restoring: Loading | None = None
    restored: str = ""
    kept: str = ""
    vote: Vote | None = None
    over: bool = False
    cancel: threading.Event = field(default_factory=threading.Event)

    @property
    def hidden(self) -> bool:
        """Whether names have to stay hidden: it is blind and has no vote, but may get one."""
        failed = any(frame.state in ("failed", "stopped") for frame in self.frames)
        stopped = self.over and not self.complete
        return self.blind and self.vote is None and not (failed or stopped)

    @property
    def complete(self) -> bool:
        """Whether both have answered."""
        return all(frame.state == "done" for frame in self.frames)

    @property
    def a(self) -> Frame:
        """The frame of side A."""
        return self.frames[1 if self.swapped else 0]

    def stop(self) -> None:
        """Ends the phase that is under way at its next step."""
        self.cancel.set()


def compare(
    sides: tuple[Side, Side],
    images: Sequence[Image],
    prompt: str,
    *,
    blind: bool = False,
    draw: Callable[[], float] = random.random,
) -> Comparison:
    """A comparison that is ready to run. A seed that is not given is drawn once for both sides.

    Args:
        draw: a number from 0 to 1 by lot, which decides the order of a blind comparison.

    Raises:
        RequestError: there is no prompt, or no image.
    """
    if not prompt.strip():
        raise RequestError("versus_no_prompt")
    if not images:
        raise RequestError("versus_no_image")
    seed = random.randrange(2**32)
    a, b = (Frame(side, seed if side.options.seed is None else side.options.seed) for side in sides)
    swapped = blind and draw() < 0.5
    frames = (b, a) if swapped else (a, b)
    return Comparison(frames, prompt, tuple(images), blind, swapped)


class Runner:
    """Runs a comparison in the one place of the model.

    Args:
        slot: the place.
        may_exchange: whether models may be exchanged here; not where visitors share them.
        bring_back: whether the model that was loaded before comes back at the end.
    """

    def __init__(self, slot: ModelSlot, *, may_exchange: bool, bring_back: bool = True) -> None:
        self.slot = slot
        self.may_exchange = may_exchange
        self.bring_back = bring_back
        self._brought: list[Settings] = []

    def run(self, comparison: Comparison) -> Iterator[None]:
        """Asks both sides and yields at every change; what one side has said outlives the other.

        Stopping ends the side that is under way and skips the one after; then the model before is
        brought back, which can be stopped too: what is loaded then stays.

        Raises:
            RequestError: a side asks for another model where none may be exchanged.
        """
        slot = self.slot
        able = slot.capabilities()
        before = slot.settings
        for frame in comparison.frames:
            frame.wanted = frame.side.wanted(before, able)
            if frame.wanted != before and not self.may_exchange:
                raise RequestError("hosted_model")
        order = sorted((comparison.a, *comparison.frames), key=lambda f: f.wanted != before)
        try:
            for frame in dict.fromkeys(order):
                if comparison.cancel.is_set():
                    break
                assert frame.wanted is not None
                yield from self._side(comparison, frame, frame.wanted)
            yield from self._restore(comparison, before)
        except GeneratorExit:
            comparison.cancel.set()
            self._restore_alone(before)
            raise
        finally:
            comparison.over = True

    # ---- one side ----

    def _side(self, comparison: Comparison, frame: Frame, wanted: Settings) -> Iterator[None]:
        try:
            if wanted != self.slot.settings:
                yield from self._load(comparison, frame, wanted)
            if frame.state == "waiting":
                yield from self._answer(comparison, frame, wanted)
        except VLMError as error:
            # What was written before something broke is no answer.
            frame.state, frame.error, frame.answer = "failed", error, ""
        finally:
            frame.loading = frame.progress = None
            if frame.state in ("loading", "answering"):
                frame.state = "stopped"
        yield

    def _load(self, comparison: Comparison, frame: Frame, wanted: Settings) -> Iterator[None]:
        """Brings the model of a side; the frame waits again where it is there."""
        started = time.monotonic()
        frame.state, frame.loading = "loading", (loading := self.slot.exchange(wanted))
        self._brought.append(wanted)
        try:
            yield
            yield from self._follow(comparison, loading)
        finally:
            if not loading.over.is_set():  # nobody listens any more
                self.slot.cancel(loading)
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

    def _follow(self, comparison: Comparison, loading: Loading) -> Iterator[None]:
        """Yields until a loading is over; calls it off when the comparison is stopped."""
        while not loading.over.wait(STEP):
            if comparison.cancel.is_set():
                self.slot.cancel(loading)
            yield

    def _answer(self, comparison: Comparison, frame: Frame, wanted: Settings) -> Iterator[None]:
        if self.may_exchange:  # else the second would be quicker for what the first left behind
            self.slot.forget()
        side = frame.side
        question = user_message(comparison.prompt, comparison.images)
        messages = [*system_messages(side.system_prompt), question]
        options = replace(side.options, seed=frame.seed)
        frame.state, frame.able = "answering", self.slot.capabilities()
        yield
        for event in self.slot.stream(messages, options, comparison.cancel, only=wanted):
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

    def _restore(self, comparison: Comparison, before: Settings) -> Iterator[None]:
        """Brings the model back that was here before, where one of the sides' is here now."""
        slot = self.slot
        if not self._is_ours(before):
            return
        if self.bring_back:
            comparison.cancel = threading.Event()  # a stop of what came before does not count here
            with contextlib.suppress(RequestError):  # somebody else loads one: that one counts
                comparison.restoring = slot.exchange(before)
                yield from self._follow(comparison, comparison.restoring)
            comparison.restoring = None
        if slot.able is not None and slot.settings == before:
            comparison.restored = slot.able.name
        elif slot.able is not None and self._is_ours(before):
            comparison.kept = slot.able.name
        yield

    def _is_ours(self, before: Settings) -> bool:
        """Whether a model is here that came for a side, and not one that anybody chose since."""
        return self.slot.settings != before and self.slot.settings in self._brought

    def _restore_alone(self, before: Settings) -> None:
        """As `_restore`, when nobody listens any more: on a thread of its own."""

        def work() -> None:
            if (loading := self.slot.loading) is not None:
                loading.over.wait()
            if self.bring_back and self._is_ours(before):
                with contextlib.suppress(RequestError):
                    self.slot.exchange(before)

        threading.Thread(target=work, name="restore-model", daemon=True).start()


# ---- votes ----


@dataclass(eq=False)
class Count:
    """How one model in one setting has fared."""

    better: int = 0
    worse: int = 0
    ties: int = 0
    both_bad: int = 0

    @property
    def votes(self) -> int:
        """All of them."""
        return self.better + self.worse + self.ties + self.both_bad


@dataclass
class Tally:
    """The votes of a visit, by model and settings."""

    counts: dict[Key, Count] = field(default_factory=dict)

    def vote(self, comparison: Comparison, vote: str) -> None:
        """Counts a vote on a blind comparison; each can be voted on once.

        Raises:
            RequestError: there is nothing to vote on, or no such vote.
        """
        votable = comparison.blind and comparison.complete and comparison.vote is None
        if not votable or vote not in VOTES:
            raise RequestError("versus_no_vote")
        comparison.vote = VOTES[VOTES.index(vote)]
        first, second = (self.counts.setdefault(f.key, Count()) for f in comparison.frames)
        if vote == "first":
            first.better, second.worse = first.better + 1, second.worse + 1
        elif vote == "second":
            first.worse, second.better = first.worse + 1, second.better + 1
        else:
            for count in {first, second}:  # one, where both sides are the same
                count.ties += vote == "tie"
                count.both_bad += vote == "both_bad"

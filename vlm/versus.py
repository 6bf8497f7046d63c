"""Two models, or one model in two settings, asked the same: the sides, what they said, the votes.

In: two `Side`s, images, a prompt. Out: a `Comparison`, whose frames `versus_runner.Runner` fills.
"""

import json
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from vlm.backend import Capabilities, Finished, Progress
from vlm.errors import RequestError, VLMError
from vlm.messages import Image
from vlm.model_slot import Loading
from vlm.options import GenerationOptions
from vlm.settings import FEWER_BITS, Settings

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
        backend: where it runs, by its name in `BACKENDS`; empty: where the app's own model does.
        system_prompt: said to the model before everything.
        options: of its answer.
    """

    model: str = ""
    quantization: str = ""
    backend: str = ""
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
        if self.side.backend:
            name = f"{name} · {self.side.backend}"
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
        restored: the name of the model that is back, or of both; empty where none went.
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

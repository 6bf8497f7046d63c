"""What is told while a checkpoint is fetched, loaded or written, and how that can be called off.

In: a function to tell and a flag. Out: a `Watch`, handed down to whatever takes long. It stands for
the thread that entered it: two models can be loaded at once, each with a watch of its own.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

from transformers.utils import logging

from vlm.errors import ModelError

LoadStage = Literal["download", "open", "weights", "save"]


@dataclass(frozen=True)
class LoadProgress:
    """How far a stage has come.

    Attributes:
        stage: "download" (bytes over all files), "open" (configuration and processor), "weights"
            (tensors) or "save" (files of weights).
        current: done so far.
        total: in all; 0 where that is not known.
    """

    stage: LoadStage
    current: int = 0
    total: int = 0


Tell = Callable[[LoadProgress], None]


def tell_nobody(progress: LoadProgress) -> None:
    """For those who need no progress."""


@dataclass(frozen=True)
class Watch:
    """Tells progress and looks for the flag.

    Attributes:
        tell: called on the thread that works; should return at once.
        cancel: set by anyone; takes effect at the next tensor or piece of a download.
    """

    tell: Tell = tell_nobody
    cancel: threading.Event = field(default_factory=threading.Event)

    def note(self, stage: LoadStage, current: int = 0, total: int = 0) -> None:
        """Tells how far a stage has come. Raises ModelError once the flag is set."""
        self.check()
        self.tell(LoadProgress(stage, current, total))

    def check(self) -> None:
        """Raises ModelError once the flag is set."""
        if self.cancel.is_set():
            raise ModelError("loading_cancelled")

    def counted(self, things: Iterable[Any], stage: LoadStage, total: int) -> Iterator[Any]:
        """The things one by one, told and called off between them."""
        for number, each in enumerate(things):
            self.note(stage, number, total)
            yield each
        self.note(stage, total, total)


STAGES: Mapping[str, LoadStage] = {"Loading weights": "weights", "Writing model shards": "save"}
"""What transformers writes beside a bar -> the stage that it shows."""

_watching: ContextVar[Watch | None] = ContextVar("watching", default=None)


@contextmanager
def watching(watch: Watch) -> Iterator[Watch]:
    """While it lasts, transformers' bars on this thread go to the watch."""
    token = _watching.set(watch)
    try:
        yield watch
    finally:
        _watching.reset(token)


def _bar(factory: Callable[..., Any], arguments: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """What transformers gets where it asks for a bar: ours for tensors that are being loaded."""
    watch = _watching.get()
    stage = STAGES.get(settings.get("desc", ""))
    if watch is None or stage is None or not arguments:
        return factory(*arguments, **settings)
    return watch.counted(arguments[0], stage, len(arguments[0]))


logging.set_tqdm_hook(_bar)

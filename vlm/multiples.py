"""Small multiples: the same question about each of many images, one after another.

In: files, a question, a backend. Out: a `Card` for each image, told of whenever it changes. What is
answered stays when the run is stopped, and the rest can be asked later; an image that fails says
why and the others go on. Pictures are decoded when their turn comes and not kept.
"""

import contextlib
import logging
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from natsort import natsort_keygen, ns

from vlm.backend import Backend, Finished, Progress, TextDelta
from vlm.errors import ImageError, ModelError, RequestError, VLMError
from vlm.images import thumbnail
from vlm.messages import Image, Message, system_messages, user_message
from vlm.options import GenerationOptions

log = logging.getLogger(__name__)

THUMBNAIL_SIDE = 320
"""The longest side of the small copy of each picture, in pixels."""

State = Literal["waiting", "running", "done", "stopped", "failed"]


@dataclass(eq=False)
class Card:
    """One image and its answer.

    Attributes:
        number: in the order in which they came, from 1.
        path: of the file, or another name by which it is opened.
        name: of the file, for people.
        thumbnail: a small copy as a `data:` address; empty where the file is no picture.
        size: (width, height) in pixels, upright.
        state: "stopped" where only the beginning of an answer is there.
        progress: what happens before the first word, while it is running.
        answer: as far as it has come.
        finished: counts and times; None as long as there are none.
        error: why there is no answer.
        model: what answered, with its precision and device.
    """

    number: int
    path: str
    name: str
    thumbnail: str = ""
    size: tuple[int, int] = (0, 0)
    state: State = "waiting"
    progress: Progress | None = None
    answer: str = ""
    finished: Finished | None = None
    error: VLMError | None = None
    model: str = ""

    @property
    def is_picture(self) -> bool:
        """Whether its file could be opened."""
        return bool(self.thumbnail)

    @property
    def is_left(self) -> bool:
        """Whether a run that goes on would ask about it."""
        return self.is_picture and self.state in ("waiting", "stopped", "failed")

    def begin(self) -> None:
        """Forgets the answer before."""
        self.state, self.progress, self.answer = "running", None, ""
        self.finished, self.error, self.model = None, None, ""

    def fail(self, error: VLMError) -> None:
        """Keeps why there is no answer; a half one is not kept."""
        self.state, self.answer, self.error = "failed", "", error


@dataclass(frozen=True)
class Asked:
    """What every card is asked, with the seed that was drawn where none was given."""

    question: str
    options: GenerationOptions
    system_prompt: str = ""

    def messages(self, image: Image) -> list[Message]:
        """The conversation about one image."""
        return [*system_messages(self.system_prompt), user_message(self.question, [image])]


@dataclass(eq=False)
class Multiples:
    """The cards of one visitor.

    Attributes:
        most: so many cards at most.
        cards: in the order in which they came.
        asked: what the answers that are there were asked; None before the first run.
        cancel: stops the run that is under way.
    """

    most: int
    cards: list[Card] = field(default_factory=list)
    asked: Asked | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    _count: int = 0
    _busy: threading.Lock = field(default_factory=threading.Lock)

    @property
    def busy(self) -> bool:
        """Whether a run is under way."""
        return self._busy.locked()

    @property
    def left(self) -> list[Card]:
        """Those that have no whole answer."""
        return [card for card in self.cards if card.is_left]

    @property
    def answered(self) -> list[Card]:
        """Those that say something: an answer, a part of one, or why there is none."""
        return [card for card in self.cards if card.state in ("done", "stopped", "failed")]

    # ---- the images ----

    def add(
        self, paths: Sequence[str], open_it: Callable[[str], Image], name: Callable[[str], str]
    ) -> Iterator[Card]:
        """A card for each file, yielded when its picture has been looked at.

        Args:
            open_it: path -> picture. Raises ImageError, which its card then says.
            name: path -> what to call a file that is no picture.

        Raises:
            RequestError: too many of them. None is taken then.
        """
        if len(self.cards) + len(paths) > self.most:
            got = len(self.cards) + len(paths)
            raise RequestError("multiples_too_many", got=got, limit=self.most)
        for path in paths:
            self._count += 1
            card = Card(self._count, path, name(path))
            try:
                image = open_it(path)
                card.name, card.size = image.name, image.original_size
                card.thumbnail = thumbnail(image, THUMBNAIL_SIDE)
            except ImageError as error:
                card.fail(error)
            self.cards.append(card)
            yield card

    def remove(self, number: int) -> None:
        """Takes a card away unless it is being answered."""
        kept = [card for card in self.cards if card.number != number or card.state == "running"]
        self.cards[:] = kept

    def clear(self) -> None:
        """Takes all cards away. Raises RequestError while a run is under way."""
        if self.busy:
            raise RequestError("multiples_busy")
        self.cards.clear()
        self.asked = None

    def forget(self) -> None:
        """Stops what runs and takes everything away."""
        self.cancel.set()
        self.cards.clear()

    # ---- asking ----

    def ask(
        self, backend: Backend, asked: Asked, open_it: Callable[[str], Image]
    ) -> Iterator[Card]:
        """Asks about every picture anew, one after another; yields a card whenever it changes.

        A seed that is not given is drawn once, so that all answers have the same.

        Raises:
            RequestError: no question, no picture, or a run is under way already.
            ModelError: no model is there that could answer.
        """
        if not asked.question.strip():
            raise RequestError("multiples_no_question")
        if not any(card.is_picture for card in self.cards):
            raise RequestError("multiples_no_image")
        if asked.options.seed is None:
            seeded = replace(asked.options, seed=random.randrange(2**32))
            asked = replace(asked, options=seeded)
        with self._asking():
            self.asked = asked
            for card in self.cards:
                if card.is_picture:
                    card.begin()
                    card.state = "waiting"
            yield from self._run(backend, asked, open_it)

    def go_on(self, backend: Backend, open_it: Callable[[str], Image]) -> Iterator[Card]:
        """Asks those that have no whole answer what the others were asked. Raises as `ask`."""
        asked = self.asked
        if asked is None or not self.left:
            raise RequestError("multiples_nothing_left")
        with self._asking():
            for card in self.left:
                if card.state == "failed":
                    card.begin()
                    card.state = "waiting"
            yield from self._run(backend, asked, open_it)

    def _run(
        self, backend: Backend, asked: Asked, open_it: Callable[[str], Image]
    ) -> Iterator[Card]:
        """Answers what waits, also what is added meanwhile, until nothing does or it is stopped.

        Each is asked once: a backend that breaks off by itself, as it does when it is closed,
        leaves its card waiting, and would be asked for ever.
        """
        tried: set[int] = set()
        while not self.cancel.is_set():
            left = (each for each in self.left if each.state != "failed")
            card = next((each for each in left if each.number not in tried), None)
            if card is None:
                return
            tried.add(card.number)
            yield from self._answer(card, backend, asked, open_it)

    def _answer(
        self, card: Card, backend: Backend, asked: Asked, open_it: Callable[[str], Image]
    ) -> Iterator[Card]:
        """Asks about one picture; whatever happens, the card says how it ended."""
        card.begin()
        yield card
        try:
            image = open_it(card.path)
            able = backend.capabilities()
            card.model = " · ".join([able.name, *able.details])
            for event in backend.stream(asked.messages(image), asked.options, self.cancel):
                _take(card, event)
                yield card
            if card.state == "running":
                raise RequestError("multiples_broke_off")
        except ModelError:  # the next one would fare no better
            raise
        except VLMError as error:
            card.fail(error)
        except Exception as error:
            log.exception("%s failed", card.name)
            card.fail(RequestError("multiples_unexpected", detail=type(error).__name__))
        finally:
            card.progress = None
            if card.state == "running":  # the listener left, or there is no model
                card.state = "stopped" if card.answer else "waiting"
        yield card

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """One run at a time; when the listener leaves, the answer that runs is stopped."""
        if not self._busy.acquire(blocking=False):
            raise RequestError("multiples_busy")
        self.cancel = threading.Event()
        try:
            yield
        except GeneratorExit:
            self.cancel.set()
            raise
        finally:
            self._busy.release()


def _take(card: Card, event: object) -> None:
    """What an event changes on a card."""
    if isinstance(event, Progress):
        card.progress = event
    elif isinstance(event, TextDelta):
        card.answer, card.progress = card.answer + event.text, None
    elif isinstance(event, Finished):
        cut_short = event.reason == "cancelled"
        card.finished = event if card.answer or not cut_short else None
        card.state = ("stopped" if card.answer else "waiting") if cut_short else "done"


# ---- figures ----

in_natural_order = natsort_keygen(alg=ns.PATH | ns.IGNORECASE)


def _seconds(finished: Finished) -> float:
    return finished.timings.first_token + finished.timings.decode


def _speed(finished: Finished) -> float | None:
    """Tokens a second after the first, which belongs to the reading."""
    steps, seconds = finished.usage.completion_tokens - 1, finished.timings.decode
    return steps / seconds if steps > 0 and seconds > 0 else None


OF_ANSWERS: Mapping[str, Callable[[Finished], float | None]] = {
    "seconds": _seconds,
    "first_token": lambda finished: finished.timings.first_token,
    "speed": _speed,
    "tokens_in": lambda finished: finished.usage.prompt_tokens,
    "image_tokens": lambda finished: finished.usage.image_tokens,
    "tokens_out": lambda finished: finished.usage.completion_tokens,
}
"""Figures that an answer has once it has ended. Times in seconds, speed in tokens a second."""

OF_CARDS: Mapping[str, Callable[[Card], Any]] = {
    "number": lambda card: card.number,
    "name": lambda card: in_natural_order(card.name),
    "length": lambda card: len(card.answer) or None,
    "pixels": lambda card: card.size[0] * card.size[1] or None,
}
"""Figures that a card has by itself. Length in characters."""

FIGURES = (*OF_CARDS, *OF_ANSWERS)
"""What cards can be sorted by."""


def figure(card: Card, name: str) -> Any:
    """One figure of a card; None where it has none. KeyError for a name that is not in FIGURES."""
    if name in OF_CARDS:
        return OF_CARDS[name](card)
    measure = OF_ANSWERS[name]
    return measure(card.finished) if card.finished is not None else None


def arranged(cards: Sequence[Card], by: str, largest_first: bool = False) -> list[Card]:
    """The cards by a figure; equal ones as they came, those without one at the end."""
    having = [card for card in cards if figure(card, by) is not None]
    having.sort(key=lambda card: figure(card, by), reverse=largest_first)
    return having + [card for card in cards if figure(card, by) is None]

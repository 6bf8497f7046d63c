"""One question over several images: in one prompt, or image by image where a model takes only one.

In: a backend, a question, images, and parts of them to look at closely. Out: `Reply`s, each the
whole answer as far as it is written. Built on `ChatSession`; nothing is kept between questions.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vlm.backend import Backend, Capabilities, Progress, TextDelta
from vlm.chat import ChatSession, Turn
from vlm.errors import RequestError
from vlm.images import made_image
from vlm.markup import split_thinking
from vlm.messages import Image
from vlm.strings import say

if TYPE_CHECKING:
    from vlm.compare import Comparison, Region

MARGIN = 0.25
"""Of a region's sides, how much around it a crop shows too, on each side."""
SMALLEST_CROP = 0.1
"""Of the image's sides, what a crop shows at least."""


@dataclass(frozen=True)
class Crop:
    """A part of an image.

    Attributes:
        number: of the image, from 1.
        image: the part.
    """

    number: int
    image: Image


@dataclass(frozen=True)
class Plan:
    """How images are asked about.

    Attributes:
        together: all in one prompt; else one by one.
        regions: of how many changed regions crops are sent along, the largest first.
    """

    together: bool
    regions: int = 0


@dataclass(frozen=True)
class Part:
    """A piece of an answer.

    Attributes:
        number: of the image it is about, from 1; None: it is about all.
        text: as far as it is written.
        turn: once it has ended, what was asked and how the answer came about.
    """

    number: int | None
    text: str = ""
    turn: Turn | None = None


@dataclass(frozen=True)
class Reply:
    """An answer as far as it is written.

    Attributes:
        parts: one; or one for each image, then the one that joins them.
        waiting: what happens before the next word; None while one is being written.
        unjoined: why the model could not join what it said of each image.
    """

    parts: tuple[Part, ...]
    waiting: Progress | None = None
    unjoined: RequestError | None = None


def plan(able: Capabilities, images: int, regions: int, most: int) -> Plan:
    """How a model can be asked.

    Args:
        able: what it takes.
        images: how many there are.
        regions: changed regions of a pair of them, to be sent as two crops each.
        most: images in one message that the settings allow.
    """
    limit = most if able.images_per_turn is None else min(most, able.images_per_turn)
    if images > limit:
        return Plan(together=False)
    return Plan(together=True, regions=min(regions, (limit - images) // 2))


def crops(
    first: Image, second: Image, comparison: "Comparison", count: int, numbers: tuple[int, int]
) -> list[Crop]:
    """The largest changed regions, cut out of both images with a margin.

    Args:
        count: of regions; two crops each, of the first image and of the aligned second.
        numbers: of the images, from 1.
    """
    regions = comparison.regions[:count]
    if not regions:
        return []
    from vlm.feature_difference import aligned_image  # scikit-image takes a second

    images = (first, aligned_image(first, second, comparison))
    cut = []
    for region in regions:
        box = crop_box(region, first.pixels.size)
        for number, image in zip(numbers, images, strict=True):
            name = f"{region.number}-{image.name}"
            cut.append(Crop(number, made_image(image.pixels.crop(box), name)))
    return cut


def crop_box(region: "Region", size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of what is cut out for a region, in pixels of the first image."""
    spans = []
    for low, high, length in zip(region.box[:2], region.box[2:], size, strict=True):
        half = max((high - low) * (0.5 + MARGIN), length * SMALLEST_CROP / 2)
        middle = (low + high) / 2
        spans.append((max(0, round(middle - half)), min(length, round(middle + half))))
    (left, right), (top, bottom) = spans
    return left, top, max(right, left + 1), max(bottom, top + 1)


def ask(
    backend: Backend,
    question: str,
    images: Sequence[Image],
    closer: Sequence[Crop] = (),
    *,
    together: bool = True,
    cancel: threading.Event | None = None,
    language: str = "en",
) -> Iterator[Reply]:
    """Asks about the images, and yields the answer as it grows.

    Args:
        closer: parts of the images that are sent after them; only where they go together.
        together: see `Plan`.
        cancel: ends the answer within a step once it is set.
        language: of the words that are added to the question.

    Raises:
        RequestError: an empty question.
        VLMError: whatever the backend raises; what was yielded before holds.
    """
    if not question.strip():
        raise RequestError("empty_question")
    asker = _Asker(backend, cancel or threading.Event())
    if together:
        text = "\n".join([*_crop_words(len(images), closer, language), question])
        sent = [*images, *(crop.image for crop in closer)]
        yield from asker.ask(Part(None), text, sent)
        return
    yield from _one_by_one(asker, question, images, language)


def _one_by_one(
    asker: "_Asker", question: str, images: Sequence[Image], language: str
) -> Iterator[Reply]:
    """Each image described for the question, then an answer from the descriptions alone."""
    each = say("pair.prompt.each", language, question=question)
    for number, image in enumerate(images, 1):
        if asker.stopped:
            return
        yield from asker.ask(Part(number), each, [image])
    if asker.stopped:
        return
    descriptions = "\n\n".join(
        say("pair.prompt.description", language, number=part.number, text=_said(part.text))
        for part in asker.parts
    )
    text = say(
        "pair.prompt.join",
        language,
        count=len(images),
        descriptions=descriptions,
        question=question,
    )
    described = tuple(asker.parts)
    try:
        yield from asker.ask(Part(None), text, [])
    except RequestError as error:  # a model that wants an image with every question
        yield Reply(described, unjoined=error)


class _Asker:
    """Asks one thing after another and keeps what was said."""

    def __init__(self, backend: Backend, cancel: threading.Event) -> None:
        self.parts: list[Part] = []
        self._backend, self._cancel = backend, cancel

    @property
    def stopped(self) -> bool:
        """Whether nothing further is to be asked."""
        return self._cancel.is_set()

    def ask(self, part: Part, text: str, images: Sequence[Image]) -> Iterator[Reply]:
        """Asks; the part grows at the end of `parts`."""
        said, at = tuple(self.parts), len(self.parts)
        self.parts.append(part)
        session = ChatSession(self._backend, max_images=max(1, len(images)))
        for event in session.send(text, images, cancel=self._cancel):
            if isinstance(event, Progress):
                yield Reply((*said, part), waiting=event)
            elif isinstance(event, TextDelta):
                part = replace(part, text=part.text + event.text)
                self.parts[at] = part
                yield Reply((*said, part))
        if session.turns:
            part = self.parts[at] = replace(part, turn=session.turns[-1])
        yield Reply((*said, part))


def _crop_words(count: int, closer: Sequence[Crop], language: str) -> list[str]:
    """Says which of the images that follow the whole ones shows a part of which."""
    return [
        say("pair.prompt.crop", language, number=number, of=crop.number)
        for number, crop in enumerate(closer, count + 1)
    ]


def _said(answer: str) -> str:
    """An answer without its thoughts."""
    return split_thinking(answer)[1].strip()

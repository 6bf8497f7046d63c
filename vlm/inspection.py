"""What is known of one run of a model: how images were cut, its prompt, stages, what came out.

Values and what follows from them. They are made by `vlm.inspector`, where torch is; here only
numpy.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from vlm.backend import Event, ImageLayout, Stage, Tile
from vlm.messages import Message
from vlm.options import GenerationOptions

if TYPE_CHECKING:
    import numpy

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Piece:
    """A stretch of the prompt as the model gets it.

    Attributes:
        text: the words; of placeholders, one of them.
        start, stop: first token, and the one after the last.
        placeholder: whether features of an image take the place of these tokens.
    """

    text: str
    start: int
    stop: int
    placeholder: bool = False


@dataclass(frozen=True)
class Word:
    """A token that may come next, and its probability before any setting of an answer."""

    text: str
    number: int
    probability: float


@dataclass(frozen=True, eq=False)
class Figure:
    """Something about a model that a picture explains.

    Attributes:
        name: "filters": (filters, height, width, 3), what the first convolution looks for;
            "buckets": (rows, columns), how many patches use each place of a table of positions;
            "positions": (rows, columns, width), a table of positions as it is stored;
            "positions_used": the same, as large as the grid of patches asks for;
            "table": (rows, columns) of the grid of patches, number of the place of the stored
            table that each lies over: what is known of it without weights;
            "gathered": (rows, columns), number of the token that each patch goes into;
            "pairs": (2, rows of a head), number of the pair that is turned together, as it is
            stored and as it is loaded;
            "turns": (2, lengths of prompts, pairs), how far a pair turns, as a part of the furthest
            in training, without and with what slows it down.
        array: floating point numbers or whole ones.
        facts: what the words of its caption name.
    """

    name: Literal[
        "filters", "buckets", "positions", "positions_used", "table", "gathered", "pairs", "turns"
    ]
    array: "numpy.ndarray"
    facts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class PixelScale:
    """What black and white come out as, of each colour: all that a processor does to them.

    Attributes:
        black, white: numbers in `pixel_values` for red, green and blue.
    """

    black: tuple[float, float, float]
    white: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class TowerFacts:
    """What the form of a vision tower tells, with weights or without.

    Attributes:
        attends: whether its positions see each other by attention; False: it is made of
            convolutions alone; None: unknown.
        layers: how many it has; None: unknown.
        selected: after which of them, from 1, its features are handed on, 0 being before the
            first; None: unknown.
    """

    attends: bool | None = None
    layers: int | None = None
    selected: int | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Inspection:
    """One run of a model, or what is known of it without weights.

    Attributes:
        model: its name, for people.
        layouts: of the images of the prompt, in order.
        pieces: the prompt, placeholders folded.
        tokens: of the prompt.
        context_length: tokens of prompt and answer together; None: unknown.
        stages: in order; those that were reached.
        names: of all stages that the model has.
        words: the likeliest next tokens, the first one first; empty without weights.
        figures: see `Figure`.
        seconds: for images to pixels and words to tokens, before the run.
        complete: False where it was cancelled half-way.
        memory: without weights, bytes by part: "none", "int8" and "nf4" are the weights in 16, 8
            and 4 bits, "work" the most that this prompt takes besides them.
        byte_words: the tokenizer is not at hand, so words were counted in bytes.
        pixel_scale: how pixels become colours again; None: unknown.
        tower: what is known of the vision tower.
    """

    model: str
    layouts: tuple[ImageLayout, ...]
    pieces: tuple[Piece, ...]
    tokens: int
    context_length: int | None
    stages: tuple[Stage, ...]
    names: tuple[str, ...]
    words: tuple[Word, ...] = ()
    figures: tuple[Figure, ...] = ()
    seconds: float = 0.0
    complete: bool = True
    memory: Mapping[str, int] = field(default_factory=dict)
    byte_words: bool = False
    pixel_scale: PixelScale | None = None
    tower: TowerFacts = TowerFacts()

    @property
    def weightless(self) -> bool:
        """Whether only shapes are known."""
        return bool(self.memory)

    @property
    def rounded(self) -> bool:
        """Whether the logits were worked out in fewer than 32 bits."""
        return any(each.name == "logits" and "16" in each.dtype for each in self.stages)

    def counts_bytes(self, stage: Stage) -> bool:
        """Whether the tokens of a stage are those of a prompt whose words were counted in bytes."""
        if "tokens" not in stage.axes or not self.byte_words:
            return False
        return stage.array.shape[stage.axes.index("tokens")] == self.tokens

    @property
    def of_images(self) -> "numpy.ndarray":
        """(tokens,): whether each token of the prompt stands for an image."""
        import numpy

        found = numpy.zeros(self.tokens, bool)
        for each in self.pieces:
            found[each.start : each.stop] = each.placeholder
        return found

    @property
    def image_tokens(self) -> int:
        """Tokens of the prompt whose place features take."""
        return sum(each.stop - each.start for each in self.pieces if each.placeholder)


@dataclass(frozen=True)
class TileSpan:
    """Where a tile stands in the prompt.

    Attributes:
        image: which one, from 1.
        tile: its number in reading order, from 1; 0 is the thumbnail.
        shown: its part of the image, rows and columns of tokens.
        ranges: (first token, the one after the last) of each stretch.
    """

    image: int
    tile: int
    shown: Tile
    ranges: tuple[tuple[int, int], ...]

    @property
    def tokens(self) -> int:
        """How many stand for it."""
        return sum(stop - start for start, stop in self.ranges)


def pictures(layout: ImageLayout) -> list[tuple[int, Tile]]:
    """(number, picture) of an image in the order in which the model reads them; 0: thumbnail."""
    tiles = list(enumerate(layout.tiles or (), 1))
    if layout.thumbnail is None:
        return tiles
    whole = (0, layout.thumbnail)
    return [whole, *tiles] if layout.thumbnail_first else [*tiles, whole]


@dataclass(frozen=True)
class Fit:
    """How an image came to the size in which it is sent.

    Attributes:
        seen: (width, height) in pixels of the part of the image that is sent.
        cut: share of the image that is not, 0 to 1.
        border: share of what is sent that was added around the image, 0 to 1.
        before: width by height of what is sent, as it is in the image.
        after: the same once it is sent.
    """

    seen: tuple[float, float]
    cut: float
    border: float
    before: float
    after: float

    @property
    def squeezed(self) -> bool:
        """Whether proportions change by more than rounding to whole patches."""
        return abs(self.after / self.before - 1) > ROUNDING


ROUNDING = 0.01
"""A change of proportions that nobody sees."""


def fit(layout: ImageLayout) -> Fit | None:
    """Whether an image was squeezed, cropped or filled up; None where that is not told."""
    if layout.sent_size is None or not layout.tiles:
        return None
    lefts, tops, rights, bottoms = zip(*(tile.box for tile in layout.tiles), strict=True)
    left, top, right, bottom = min(lefts), min(tops), max(rights), max(bottoms)
    width, height = layout.original_size
    inside = min(right, width) - max(left, 0), min(bottom, height) - max(top, 0)
    area = inside[0] * inside[1]
    sent_width, sent_height = layout.sent_size
    return Fit(
        seen=inside,
        cut=1 - area / (width * height),
        border=1 - area / ((right - left) * (bottom - top)),
        before=(right - left) / (bottom - top),
        after=sent_width / sent_height,
    )


def tile_spans(layouts: Sequence[ImageLayout], pieces: Sequence[Piece]) -> list[TileSpan]:
    """Where each tile of each image stands in the prompt.

    Of an image whose processor does not tell its tiles nothing is said, and nothing at all where
    the prompt has other placeholders than those of its images.
    """
    places = [at for each in pieces if each.placeholder for at in range(each.start, each.stop)]
    if len(places) != sum(layout.placeholders for layout in layouts):
        return []
    found, begin = [], 0
    for number, layout in enumerate(layouts, 1):
        known = pictures(layout)
        at = begin
        begin += layout.placeholders
        if sum(each.rows * each.columns for _, each in known) != layout.placeholders:
            continue
        for tile, shown in known:
            count = shown.rows * shown.columns
            ranges = tuple(stretches(places[at : at + count]))
            found.append(TileSpan(number, tile, shown, ranges))
            at += count
    return found


def stretches(places: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ascending numbers as (first, after the last) of each stretch without a gap."""
    start = 0
    for at in range(1, len(places) + 1):
        if at == len(places) or places[at] != places[at - 1] + 1:
            yield places[start], places[at - 1] + 1
            start = at


def folded(pieces: Sequence[Piece]) -> str:
    """The prompt on paper: "<image> × 256" for placeholders in a row."""
    return "".join(
        f"{each.text} × {each.stop - each.start}" if each.placeholder else each.text
        for each in pieces
    )


@runtime_checkable
class Inspects(Protocol):
    """A backend that can be looked into."""

    def inspect(
        self,
        messages: Sequence[Message],
        options: GenerationOptions,
        cancel: threading.Event,
    ) -> Iterator[Event | Inspection]:
        """Reads a conversation once; yields `Progress("tracing")` and at last an `Inspection`.

        Cancelled half-way, it holds the stages that were there by then. Raises VLMError.
        """
        ...

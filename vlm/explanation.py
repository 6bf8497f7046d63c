"""Where a model looked for an answer, and how sure it was: the values, and who can give them.

`vlm.explain` makes maps of them; `vlm.attention` and `vlm.occlusion` find them out.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from vlm.backend import Event, Tile
from vlm.messages import Message
from vlm.options import GenerationOptions

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True, kw_only=True)
class TokenChance:
    """One token of an answer, and what else could have stood there.

    Attributes:
        text: of the token alone, marks of the prompt format included.
        start, end: its characters in the answer; the tokens of one character share them.
        probability: of the token, from 0 to 1, before any option changes it.
        likeliest: (text, probability) of the likeliest tokens, the first first.
        kept: how many tokens the options left to draw from (1: the likeliest is always taken).
        possible: whether this token was one of them.
    """

    text: str
    start: int
    end: int
    probability: float
    likeliest: tuple[tuple[str, float], ...]
    kept: int
    possible: bool


Grain = Literal["token", "tile", "image", "patch"]
"""What one number about an image covers: a visual token's place, a tile, all of it, a patch that
was painted over."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sight:
    """What the tokens of an answer have to do with the places of one image.

    Attributes:
        original_size: (width, height) of the image in pixels.
        grain: what one cell is.
        tiles: that the cells lie in, tile by tile, row by row; the whole image once more (a
            thumbnail) may be among them. Boxes may reach beyond the image where it was padded.
        weights: (tokens of the answer, cells), float32. By attention, the share of a token's
            attention that goes to the cell, 0 to 1. By occlusion, by how many nats the token's
            log-probability falls when the cell is painted over; below 0: it rises.
    """

    original_size: tuple[int, int]
    grain: Grain
    tiles: tuple[Tile, ...]
    weights: "numpy.ndarray"


ExplainMethod = Literal["attention", "occlusion"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """Where a model looked for an answer, and how sure it was. See `vlm.explain`.

    Attributes:
        answer: the text.
        tokens: that it consists of, in order.
        method: how the images were looked into.
        sights: one for each image of the conversation, in order.
        layers: whose attention was averaged, counted from 0; none for other methods.
        rounded: whether the model computes in fewer than 32 bits. Then probabilities depend a
            little on how many tokens are read at once, here all of prompt and answer.
    """

    answer: str
    tokens: tuple[TokenChance, ...]
    method: ExplainMethod
    sights: tuple[Sight, ...]
    layers: tuple[int, ...] = ()
    rounded: bool = False


@runtime_checkable
class Explains(Protocol):
    """A backend that can show which places of its images an answer comes from."""

    def explain(
        self,
        messages: Sequence[Message],
        answer: str,
        options: GenerationOptions | None = None,
        method: ExplainMethod = "attention",
        cancel: threading.Event | None = None,
        tell: Callable[[Event], None] | None = None,
    ) -> Explanation:
        """Reads a conversation with an answer to it once more. Raises VLMError.

        Args:
            messages: up to the question.
            answer: to explain; need not be what the model would say.
            options: `image_detail` as for the answer; the others decide what counts as kept.
            cancel: ends it within one layer or one picture, by RequestError.
            tell: told how far it is, `Progress` "queued" and "looking".
        """
        ...

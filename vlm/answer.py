"""One answer in the making: what was asked, what has been read of it, and how large it is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlm.backend import Progress
from vlm.cache import Conversation
from vlm.errors import RequestError
from vlm.generation import Clock, ContinuedStream
from vlm.messages import Message, images_of
from vlm.options import GenerationOptions
from vlm.reading import Reading
from vlm.streaming import Emit, TokenStream

CONTEXT_OF_TEXT = 16
"""Tokens of the prompt that decide how the first tokens after a begun answer are decoded."""


@dataclass
class Answer:
    """One answer in the making.

    Attributes:
        inputs: what goes to `generate` besides its configuration.
        reading: of the images one by one; None where the processor did everything.
        conversation: states to go on from; None where none can be kept.
    """

    messages: Sequence[Message]
    options: GenerationOptions
    emit: Emit
    should_stop: Callable[[], bool]
    clock: Clock
    inputs: Any = None
    reading: Reading | None = None
    conversation: Conversation | None = None
    reused: int = 0

    def size(self, defaults: Mapping[str, float | int]) -> dict[str, int]:
        """Tokens of the prompt (0: not known yet) and at most of the answer; images, their largest.

        Args:
            defaults: of the model.
        """
        images = images_of(self.messages)
        sizes = [image.original_size for image in images]
        width, height = max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
        return {
            "tokens": self.inputs["input_ids"].shape[1] if self.inputs else 0,
            "room": self.options.max_new_tokens or int(defaults["max_new_tokens"]),
            "images": len(images),
            "width": width,
            "height": height,
        }

    def token_stream(self, tokenizer: Any, ids: Any) -> TokenStream:
        """What its tokens go through to become text.

        Args:
            tokenizer: of the model.
            ids: of the prompt, (1, tokens); an answer that was begun goes on from its last ones.
        """
        stops = self.options.stop
        if self.messages[-1].role != "assistant":
            return TokenStream(tokenizer, stops, self.emit)
        return ContinuedStream(tokenizer, stops, self.emit, ids[0, -CONTEXT_OF_TEXT:].tolist())

    def tell_image(self, number: int, total: int) -> None:
        """Says that an image is being read."""
        self.emit(Progress("reading", number, total))


def too_large(size: Mapping[str, int], free: int) -> RequestError:
    """The error of an answer for which memory ran out.

    Args:
        size: see `Answer.size`.
        free: bytes that are free once it is gone.
    """
    key = "out_of_memory_answer" if size["tokens"] else "out_of_memory_images"
    return RequestError(key, free=free / 1e9, **size)

"""Reads an answer once more and puts together what it shows. Runs on the engine's thread.

In: a conversation, an answer, a method. Out: an `Explanation`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from vlm import memory
from vlm.attention import Stopped, read_again
from vlm.backend import ImageLayout, Progress, Tile
from vlm.chances import answer_tokens, token_chances
from vlm.errors import RequestError
from vlm.explanation import ExplainMethod, Explanation, Grain, Sight
from vlm.messages import Message, images_of
from vlm.occlusion import occluded, patch_tile, with_image
from vlm.options import GenerationOptions
from vlm.reading import PromptReader
from vlm.streaming import Emit

Stop = Callable[[], bool]


class Explainer:
    """Explains answers of one model.

    Args:
        model: in evaluation mode.
        reader: of its prompts.
        limit: tokens that prompt and answer may have together; None: unknown.
        options: see `vlm.explanation.Explains.explain`.
    """

    def __init__(
        self,
        model: Any,
        reader: PromptReader,
        limit: int | None,
        options: GenerationOptions | None,
    ) -> None:
        self._model, self._reader, self._limit = model, reader, limit
        self._options = options or GenerationOptions()

    @torch.inference_mode()
    def explain(
        self,
        messages: Sequence[Message],
        answer: str,
        method: ExplainMethod,
        emit: Emit,
        should_stop: Stop,
    ) -> list[Explanation]:
        """One explanation; none if it was called off. Raises RequestError."""
        try:
            return [self._explain(messages, answer, method, emit, should_stop)]
        except Stopped:
            return []
        except Exception as error:
            if not memory.ran_out(error):
                raise
        # Out here, as the error would keep the tensors of every step that it went through.
        memory.trim()
        free = memory.free_bytes(self._model.device)
        raise RequestError("out_of_memory_explain", free=free / 1e9)

    def _explain(
        self,
        messages: Sequence[Message],
        answer: str,
        method: ExplainMethod,
        emit: Emit,
        should_stop: Stop,
    ) -> Explanation:
        tokenizer = self._reader.tokenizer
        ids, spans = answer_tokens(tokenizer, answer)
        inputs = self._prepare(messages, len(ids))
        prompt = inputs["input_ids"][0].cpu()  # (prompt tokens,)
        looks = method == "attention"
        columns = (prompt == self._reader.placeholder_id).nonzero().flatten()  # (placeholders,)
        columns = columns if looks else columns[:0]
        if looks:
            emit(Progress("looking", 1, 1))
        logits, seen = read_again(self._model, inputs, ids, columns, should_stop)
        own = self._model.generation_config
        tokens = token_chances(tokenizer, prompt, ids, spans, logits, own, self._options)
        if looks:
            sights, layers = self._sights(messages, seen.shares), seen.layers
        else:
            before = _log_probabilities(logits, ids)
            sights, layers = self._occlusions(messages, ids, before, emit, should_stop), ()
        return Explanation(
            answer=answer,
            tokens=tokens,
            method=method,
            sights=sights,
            layers=layers if len(columns) else (),
            rounded=self._model.dtype.itemsize < 4,
        )

    def _prepare(self, messages: Sequence[Message], answer: int) -> dict[str, Any]:
        inputs = self._reader.prepare(messages, self._options.image_detail).to(self._model.device)
        length = inputs["input_ids"].shape[1] + answer
        if self._limit is not None and length > self._limit:
            raise RequestError("context_full", got=length, limit=self._limit)
        return dict(inputs)

    # ---- attention ----

    def _sights(self, messages: Sequence[Message], shares: Tensor) -> tuple[Sight, ...]:
        """The shares (tokens, placeholders) image by image.

        Raises:
            RequestError: it cannot be told which placeholder belongs to which image.
        """
        images = images_of(messages)
        layouts = [
            self._reader.images.layout(image, self._options.image_detail) for image in images
        ]
        counts = [layout.placeholders for layout in layouts]
        if len(images) == 1:
            counts = [shares.shape[1]]
        if sum(counts) != shares.shape[1]:
            raise RequestError("sight_unplaced")
        return tuple(map(sight, layouts, shares.split(counts, dim=1)))

    # ---- occlusion ----

    def _occlusions(
        self,
        messages: Sequence[Message],
        ids: Tensor,
        before: Tensor,
        emit: Emit,
        should_stop: Stop,
    ) -> tuple[Sight, ...]:
        """How much of each token's log-probability (tokens,) is lost without each patch."""
        images = images_of(messages)
        tiles = [patch_tile(image) for image in images]
        total = sum(tile.rows * tile.columns for tile in tiles)
        found, done = [], 0
        for number, (image, tile) in enumerate(zip(images, tiles, strict=True)):
            lost: list[Tensor] = []
            for picture in occluded(image):
                if should_stop():
                    raise Stopped
                done += 1
                emit(Progress("looking", done, total))
                inputs = self._prepare(with_image(messages, number, picture), len(ids))
                logits, _ = read_again(self._model, inputs, ids, ids[:0], should_stop)
                lost.append(before - _log_probabilities(logits, ids))
            weights = torch.stack(lost, dim=1)  # (tokens, patches)
            found.append(
                Sight(
                    original_size=image.original_size,
                    grain="patch",
                    tiles=(tile,),
                    weights=weights.numpy(),
                )
            )
        return tuple(found)


def sight(layout: ImageLayout, shares: Tensor) -> Sight:
    """The shares (tokens, placeholders) of one image on the places that they belong to.

    Where a tile's tokens have no place of their own they are summed up for the tile, and where
    the tiles are not known, for the image.
    """
    parts = [*(layout.tiles or ())]
    if layout.thumbnail is not None:
        parts.insert(0 if layout.thumbnail_first else len(parts), layout.thumbnail)
    counts = [part.rows * part.columns for part in parts]
    grain: Grain = "token" if layout.placed else "tile"
    if sum(counts) != shares.shape[1]:
        grain, counts = "image", [shares.shape[1]]
        parts = [Tile(box=(0, 0, *layout.original_size), rows=1, columns=1)]
    if grain != "token":
        parts = [Tile(box=part.box, rows=1, columns=1) for part in parts]
        shares = torch.stack([each.sum(1) for each in shares.split(counts, dim=1)], dim=1)
    return Sight(
        original_size=layout.original_size,
        grain=grain,
        tiles=tuple(parts),
        weights=shares.numpy(),  # (tokens, cells)
    )


def _log_probabilities(logits: Tensor, ids: Tensor) -> Tensor:
    """(tokens, words), (tokens,) -> (tokens,), in nats."""
    return logits.log_softmax(-1).gather(1, ids[:, None])[:, 0]

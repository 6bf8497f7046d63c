"""Looks into one run of a model: the prompt it gets, its stages, its likeliest next words.

In: a model with what reads messages for it, and messages. Out: an `Inspection`, numpy and text
only. The model may be on the meta device; then stages have shapes and no values.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import numpy
import torch
from torch import nn

from vlm.backend import ImageLayout, Stage
from vlm.families import Family, Tap
from vlm.inspection import Figure, Inspection, Piece, TowerFacts, Word
from vlm.messages import Message, images_of
from vlm.reading import PromptReader
from vlm.trace import Cancelled, Found, first_step, native_taps, stages, watched

LIKELIEST = 5
"""Next tokens that are told."""
FILTERS = 64
"""Of the first convolution that are shown."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is looked into.

    Attributes:
        model: in evaluation mode, also on the meta device.
        reader: of its messages.
        family: that it belongs to.
        name: for people.
        byte_words: its tokenizer knows bytes only, as the published one is not here.
    """

    model: Any
    reader: PromptReader
    family: Family | None
    name: str
    byte_words: bool = False

    @property
    def taps(self) -> tuple[Tap, ...]:
        """Where its stages show."""
        return self.family.stages if self.family else native_taps(self.model)


@torch.no_grad()  # not inference mode, in which operations cannot be rehearsed
def look(
    subject: Subject,
    messages: Sequence[Message],
    detail: Mapping[str, int | bool],
    *,
    should_stop: Callable[[], bool],
    reached: Callable[[int, int], None],
    run: Callable[[Callable[[], Any]], int] | None = None,
) -> Inspection:
    """Reads a prompt once and keeps what the stages show.

    Args:
        subject: the model.
        messages: the conversation.
        detail: `GenerationOptions.image_detail`.
        should_stop: asked before every layer.
        reached: told (stages that are there, of how many).
        run: runs the model where that takes more than a call; returns the bytes it took.

    Raises:
        RequestError: as `PromptReader.prepare` does.
    """
    model, reader, taps = subject.model, subject.reader, subject.taps
    begun = time.perf_counter()
    layouts = tuple(reader.images.layout(image, detail) for image in images_of(messages))
    inputs = reader.prepare(messages, detail)
    seconds = time.perf_counter() - begun
    if model.device.type != "meta":  # there whole numbers and pixels stay real
        inputs = inputs.to(model.device)
    ids = inputs["input_ids"][0].tolist()
    complete, work = True, 0
    call = partial(_read_once, model, inputs)
    reached(0, len(taps))
    with watched(model, taps, should_stop, lambda count: reached(count, len(taps))) as found:
        try:
            work = run(call) if run else call()
        except Cancelled:
            complete = False
    shown = stages(found)
    tokenizer = reader.tokenizer
    return Inspection(
        model=subject.name,
        layouts=layouts,
        pieces=tuple(fold(ids, reader.placeholder_id, tokenizer, ends_of_images(layouts))),
        tokens=len(ids),
        context_length=getattr(model.config.get_text_config(), "max_position_embeddings", None),
        stages=tuple(shown),
        names=tuple(tap.name for tap in taps),
        words=tuple(likeliest(found, tokenizer)) if complete else (),
        figures=tuple(figures(subject, shown)),
        seconds=seconds,
        complete=complete,
        memory={"work": work} if run else {},
        byte_words=subject.byte_words,
        pixel_scale=reader.images.pixel_scale if layouts else None,
        tower=tower_facts(model),
    )


def _read_once(model: Any, inputs: Mapping[str, Any]) -> int:
    """Runs the model on a prompt. 0: the bytes it takes are not counted."""
    model(**first_step(model, inputs, last_logits=True))
    return 0


def ends_of_images(layouts: Sequence[ImageLayout]) -> list[int]:
    """How many placeholders a prompt has up to the end of each image."""
    return list(accumulate(layout.placeholders for layout in layouts))


def fold(
    ids: Sequence[int], placeholder: int | None, tokenizer: Any, ends: Sequence[int] = ()
) -> Iterator[Piece]:
    """A prompt in pieces: words, and placeholders in a row.

    Args:
        ids: of the prompt.
        placeholder: its number; None where there is none.
        tokenizer: of the model.
        ends: see `ends_of_images`; images between which there are no words are cut apart there. Of
            no use where the prompt has other placeholders than those of its images.
    """
    places = [at for at, number in enumerate(ids) if number == placeholder]
    cuts = {places[end - 1] + 1 for end in ends if end} if ends[-1:] == [len(places)] else set()
    start = 0
    for at in range(1, len(ids) + 1):
        same = at < len(ids) and (ids[at] == placeholder) == (ids[start] == placeholder)
        if same and at not in cuts:
            continue
        of_image = ids[start] == placeholder
        told = ids[start : start + 1] if of_image else ids[start:at]
        yield Piece(_decoded(tokenizer, told), start, at, of_image)
        start = at


def likeliest(found: Found, tokenizer: Any) -> Iterator[Word]:
    """The likeliest next tokens of the last logits that were seen, if any have values."""
    seen = next((calls[-1] for tap, calls in found.items() if tap.name == "logits" and calls), None)
    if seen is None or seen.tensor is None:
        return
    probabilities = seen.tensor[0, -1].float().softmax(-1)  # (words,)
    best = probabilities.topk(min(LIKELIEST, len(probabilities)))
    for number, probability in zip(best.indices.tolist(), best.values.tolist(), strict=True):
        yield Word(_decoded(tokenizer, [number]), number, probability)


def figures(subject: Subject, shown: Sequence[Stage]) -> Iterator[Figure]:
    """What a picture explains about this model: its filters, and what its family tells."""
    filters = first_filters(subject.model)
    if filters is not None:
        count = len(filters)
        yield Figure("filters", filters[:FILTERS], {"count": count, "side": filters.shape[1]})
    if subject.family is not None:
        yield from subject.family.figures(subject.model, shown)


def tower_facts(model: Any) -> TowerFacts:
    """What the form of a model's vision tower and its configuration tell."""
    tower = model.get_encoder(modality="image")
    if tower is model or tower is model.base_model:  # what transformers returns for none
        return TowerFacts()
    kinds = [type(module) for module in tower.modules()]
    attends = any("Attention" in kind.__name__ for kind in kinds)
    convolves = sum(issubclass(kind, nn.Conv2d) for kind in kinds) > 1  # one cuts into patches
    layers = getattr(getattr(tower, "config", None), "num_hidden_layers", None)
    chosen = getattr(model.config, "vision_feature_layer", None)
    selected = None
    if isinstance(layers, int) and isinstance(chosen, int):
        selected = chosen if chosen >= 0 else layers + 1 + chosen  # 0 is before the first layer
    return TowerFacts(
        attends=True if attends else False if convolves else None, layers=layers, selected=selected
    )


def first_filters(model: Any) -> numpy.ndarray | None:
    """(filters, height, width, 3) of the first convolution over colours; None without weights.

    Of one that also looks along time, the first moment.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d) and module.in_channels == 3:
            weight = module.weight
            if weight.is_meta or not weight.is_floating_point():
                return None
            weight = weight[:, :, 0] if weight.ndim == 5 else weight  # (filters, 3, height, width)
            return weight.detach().float().permute(0, 2, 3, 1).cpu().numpy()
    return None


def _decoded(tokenizer: Any, ids: Sequence[int]) -> str:
    with contextlib.suppress(Exception):  # a number that the vocabulary does not have
        return tokenizer.decode(
            list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
    return " ".join(f"<{number}>" for number in ids)

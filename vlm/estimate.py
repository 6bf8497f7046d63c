"""Whether a checkpoint fits into memory, and the largest setting that does.

In: a `Blueprint` and a `Workload`. Out: `Verdict`s against what is free, and `Advice`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from vlm import memory
from vlm.blueprint import RUNTIME, Blueprint
from vlm.loading import SHORT_NAMES
from vlm.workload import Estimate, Workload

COMFORT = 0.9
"""Up to this part of what is free a model fits; above, it is tight."""

FEWEST_TOKENS = 512
"""Advice shortens the context no further: an image and a question need as much."""

Kind = Literal["fits", "tight", "too_big"]


@dataclass(frozen=True)
class Verdict:
    """An estimate against what is free, in bytes."""

    quantization: str
    estimate: Estimate
    free: int

    @property
    def kind(self) -> Kind:
        """Whether it fits."""
        if self.estimate.total > self.free:
            return "too_big"
        return "fits" if self.estimate.total <= COMFORT * self.free else "tight"


@dataclass(frozen=True)
class Advice:
    """The largest setting that fits; what was asked for where `workload` is that.

    Attributes:
        quantization: to load with.
        workload: with fewer pixels or tiles, then a shorter context, where it had to be.
        estimate: of these.
    """

    quantization: str
    workload: Workload
    estimate: Estimate


def judge(blueprint: Blueprint, workload: Workload, free: int | None = None) -> list[Verdict]:
    """Every precision against what is free on the device, or against `free` bytes."""
    free = memory.free_bytes(blueprint.device) if free is None else free
    return [
        Verdict(each, blueprint.estimate(each, workload), free) for each in blueprint.precisions
    ]


ROUGHLY = {"int8": 1.25, "nf4": 0.85}
"""Bytes a parameter: the middle of 1.13 to 1.32 and 0.72 to 1.00 for published systems of 2 to 26
billion parameters (README's table); embeddings, output head and vision tower keep 16 bits."""


def roughly(millions: float, dtype: torch.dtype, device: torch.device, free: int) -> list[Verdict]:
    """Every precision of a checkpoint of which only the number of parameters is known.

    Args:
        millions: parameters.
        dtype: of what is not quantised.
        device: where it would run.
        free: bytes.
    """
    verdicts = []
    for name, each in {"none": dtype.itemsize, **ROUGHLY}.items():
        parts = Estimate(
            precision=SHORT_NAMES[dtype] if name == "none" else name,
            weights=int(millions * 1e6 * each),
            images=0,
            context=0,
            work=0,
            loading=0,
            runtime=RUNTIME.get(device.type, RUNTIME["cuda"]),
            rough=True,
        )
        verdicts.append(Verdict(name, parts, free))
    return verdicts


def advise(blueprint: Blueprint, workload: Workload, free: int | None = None) -> Advice | None:
    """The largest setting that fits: precision gives way first, then pixels, then context.

    None where nothing does.
    """
    free = memory.free_bytes(blueprint.device) if free is None else free
    workload = blueprint.fitted(workload)
    smallest = blueprint.precisions[-1]
    ways = [(each, workload) for each in blueprint.precisions]
    for smaller in _fewer_pixels(blueprint, workload):
        ways.append((smallest, smaller))
        workload = smaller
    while workload.context > FEWEST_TOKENS:
        workload = replace(workload, context=max(workload.context // 2, FEWEST_TOKENS))
        ways.append((smallest, workload))
    for quantization, way in ways:
        estimate = blueprint.estimate(quantization, way)
        if estimate.total <= COMFORT * free:
            return Advice(quantization, way, estimate)
    return None


def _fewer_pixels(blueprint: Blueprint, workload: Workload) -> Iterator[Workload]:
    """The workload with half the tiles or pixels, and half again, as far as the processor goes."""
    if not workload.images:
        return
    for knob in blueprint.knobs.values():
        if knob.name not in ("tiles", "pixels") or knob.low is None:
            continue
        value = int(workload.detail.get(knob.name, knob.default))
        if knob.name == "pixels" and workload.size:
            value = min(value, workload.size[0] * workload.size[1])
        while value // 2 >= max(knob.low, 1):
            value //= 2
            workload = replace(workload, detail={**workload.detail, knob.name: value})
            yield workload


# ---- when memory ran out ----

SHORTEST_ANSWER = 32
"""Tokens: a sentence. No retry makes answers shorter."""

Change = Literal["nothing", "kv_cache", "images", "answer", "turns", "precision", "everything"]


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An answer that was tried, or could be.

    Attributes:
        quantization: of the weights.
        workload: prompt and answer together are its context.
        room: tokens of the answer.
        dropped: so many of the oldest turns are left out, besides those that were already.
    """

    quantization: str
    workload: Workload
    room: int
    dropped: int = 0


@dataclass(frozen=True)
class Retry:
    """An attempt that fits, and what makes it smaller."""

    change: Change
    attempt: Attempt
    estimate: Estimate


def retries(
    blueprint: Blueprint, asked: Attempt, turns: Sequence[int], free: int
) -> Iterator[Retry]:
    """What fits instead of an answer for which memory ran out, each by one small change.

    The first is the same again where that fits by the estimate: something else may have taken the
    memory. Where no single change is enough, the last is all of them together.

    Args:
        blueprint: of the model that is loaded.
        asked: what ran out of memory.
        turns: tokens of the turns that could be left out, oldest first.
        free: bytes that are there once the model has gone.
    """
    ways: dict[Change, Callable[[Attempt], Iterator[Attempt]]] = {
        "nothing": lambda attempt: iter([attempt]),
        "kv_cache": lambda attempt: _smaller_states(blueprint, attempt),
        "images": lambda attempt: _smaller_images(blueprint, attempt),
        "answer": _shorter_answers,
        "turns": lambda attempt: _fewer_turns(attempt, turns),
        "precision": lambda attempt: _fewer_bits(blueprint, attempt),
    }
    found, smallest = False, asked
    for change, smaller in ways.items():
        for attempt in smaller(asked):
            estimate = blueprint.estimate(attempt.quantization, attempt.workload)
            if estimate.total <= COMFORT * free:
                found = True
                yield Retry(change, attempt, estimate)
                break
    if found:
        return
    for smaller in ways.values():
        for attempt in smaller(smallest):
            smallest = attempt
        estimate = blueprint.estimate(smallest.quantization, smallest.workload)
        if estimate.total <= COMFORT * free:
            yield Retry("everything", smallest, estimate)
            return


def _smaller_states(blueprint: Blueprint, attempt: Attempt) -> Iterator[Attempt]:
    for bits in blueprint.kv_cache_bits:
        if bits < attempt.workload.kv_cache_bits:
            yield replace(attempt, workload=replace(attempt.workload, kv_cache_bits=bits))


def _smaller_images(blueprint: Blueprint, attempt: Attempt) -> Iterator[Attempt]:
    """With fewer tiles or pixels, whose placeholders leave the prompt."""
    before = blueprint.placeholders(attempt.workload)
    for workload in _fewer_pixels(blueprint, attempt.workload):
        gone = (before - blueprint.placeholders(workload)) * workload.images
        context = max(workload.context - gone, attempt.room)
        yield replace(attempt, workload=replace(workload, context=context))


def _shorter_answers(attempt: Attempt) -> Iterator[Attempt]:
    room = attempt.room
    while room // 2 >= SHORTEST_ANSWER:
        room //= 2
        context = attempt.workload.context - attempt.room + room
        yield replace(attempt, room=room, workload=replace(attempt.workload, context=context))


def _fewer_turns(attempt: Attempt, turns: Sequence[int]) -> Iterator[Attempt]:
    for count in range(1, len(turns) + 1):
        context = max(attempt.workload.context - sum(turns[:count]), attempt.room)
        yield replace(attempt, dropped=count, workload=replace(attempt.workload, context=context))


def _fewer_bits(blueprint: Blueprint, attempt: Attempt) -> Iterator[Attempt]:
    known = blueprint.precisions
    place = known.index(attempt.quantization) if attempt.quantization in known else len(known)
    for quantization in known[place + 1 :]:
        yield replace(attempt, quantization=quantization)

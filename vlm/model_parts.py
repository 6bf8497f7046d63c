"""The parts of a loaded model: how many parameters each has, and what it takes of memory."""

from dataclasses import dataclass
from typing import cast

import torch
from transformers import PreTrainedModel

from vlm import quantization as bits


@dataclass(frozen=True)
class ModelPart:
    """One part of a model and its counts of parameters."""

    name: str
    total: int
    trainable: int
    quantised: int


def parts(model: PreTrainedModel) -> list[ModelPart]:
    """The parts below the model's base, its output head, and the sum of all.

    Packed weights count as the numbers they stand for. A tied head shares its weights and counts
    0.
    """
    found: list[ModelPart] = []
    seen: set[int] = set()
    for name, child in _children(model).items():
        found.append(_count(name, child, seen))
    total = (
        sum(getattr(part, kind) for part in found) for kind in ("total", "trainable", "quantised")
    )
    return [*found, ModelPart("total", *total)]


def part_bytes(model: PreTrainedModel) -> dict[str, int]:
    """Memory of each of the `parts`, in bytes, scales and buffers included; shared ones once."""
    found: dict[str, int] = {}
    seen: set[int] = set()
    for name, child in _children(model).items():
        storages = bits.held_storages(child)
        found[name] = sum(size for place, size in storages.items() if place not in seen)
        seen |= storages.keys()
    return found


def _children(model: PreTrainedModel) -> dict[str, torch.nn.Module]:
    """The modules below the model's base, and its output head."""
    children = {**dict(model.base_model.named_children()), **dict(model.named_children())}
    return {name: child for name, child in children.items() if child is not model.base_model}


def _count(name: str, module: torch.nn.Module, seen: set[int]) -> ModelPart:
    total = trainable = quantised = 0
    for parameter in module.parameters():
        if id(parameter) in seen:
            continue
        seen.add(id(parameter))
        packed = getattr(parameter, "quant_state", None)  # 4-bit: the shape it stands for
        number = packed.shape.numel() if packed is not None else parameter.numel()
        total += number
        trainable += number if parameter.requires_grad else 0
        quantised += number if packed is not None or parameter.dtype == torch.int8 else 0
    for layer in module.modules():  # GPTQ and AWQ hold whole numbers in buffers of their own
        if isinstance(getattr(layer, "qweight", None), torch.Tensor):
            number = cast(int, layer.in_features) * cast(int, layer.out_features)
            total += number
            quantised += number
    return ModelPart(name, total, trainable, quantised)

"""What a picture explains about Pocket: which cells of the tower's grid are gathered."""

import math
from typing import Any

import torch

from vlm.inspection import Figure


def draw(model: Any) -> list[Figure]:
    """The model's own shuffle, run on the numbers of the cells."""
    config = model.config
    tokens = config.image_seq_length
    each = round(1 / config.downsample_ratio) ** 2
    side = math.isqrt(tokens * each)
    numbers = torch.arange(side * side, dtype=torch.float32).reshape(1, side, side, 1)
    gathered = model.model.pixel_shuffle(numbers, config.downsample_ratio)  # (1, ..., ..., each)
    gathered = gathered.reshape(tokens, each).long()
    owner = torch.empty(side * side, dtype=torch.int64)
    owner[gathered.reshape(-1)] = torch.arange(tokens).repeat_interleave(each)
    facts = {"side": side, "tokens": tokens, "each": each}
    return [Figure("gathered", owner.reshape(side, side).numpy(), facts)]

"""What pictures explain about CLIP + Qwen: the tower's positions, rotary angles of long prompts."""

from typing import Any

import torch

from vlm.families.clip_qwen.configuration import QwenConfig
from vlm.families.clip_qwen.modeling import QwenRotaryEmbedding
from vlm.families.common import stored_positions
from vlm.inspection import Figure

LONGER = (1, 2, 4, 8)
"""Lengths of prompts that are drawn, in lengths of training."""


def draw(model: Any) -> list[Figure]:
    """The tower's table of positions; what dynamic NTK scaling does where it is on."""
    table = model.model.vision_tower.embeddings.position_embedding.weight
    side = model.config.patches_per_side
    return [*stored_positions(table, side, before=1), *_turns(model.config.text)]


def _turns(config: QwenConfig) -> list[Figure]:
    """The model's own frequencies, at the level that it takes for each length.

    By the last token of a prompt pair i has turned by length x frequency i. That is told as a
    part of the furthest that it turned in training: above 1 it meets what it never saw.
    """
    if not config.use_dynamic_ntk:
        return []
    frequencies, _ = QwenRotaryEmbedding.compute_default_rope_parameters(config)  # (levels, pairs)
    lengths = [times * config.seq_length for times in LONGER]
    scaled = frequencies[[config.ntk_level(length) for length in lengths]]  # (lengths, pairs)
    both = torch.stack((frequencies[:1].expand_as(scaled), scaled))  # (2, lengths, pairs)
    times = torch.tensor(LONGER, dtype=torch.float32)[:, None]  # (lengths, 1)
    turned = both / frequencies[0] * times  # (2, lengths, pairs)
    facts = {"trained": config.seq_length, "pairs": frequencies.shape[1], "longest": LONGER[-1]}
    return [Figure("turns", turned.numpy(), facts)]

"""What pictures explain about MiniMind-V: the tower's positions, which rows are turned together."""

from typing import Any

import torch

from vlm.families.common import stored_positions
from vlm.families.minimind_v.configuration import MiniMindVConfig
from vlm.families.minimind_v.weights import PairsToHalves
from vlm.inspection import Figure


def draw(model: Any) -> list[Figure]:
    """The tower's table of positions; of the seed generation what loading reorders."""
    table, config = model.model.vision_tower.embeddings.position_embedding.weight, model.config
    class_rows = table.shape[0] - config.image_seq_length  # SigLIP has no class token
    return [*stored_positions(table, config.image_side, before=class_rows), *_pairs(config)]


def _pairs(config: MiniMindVConfig) -> list[Figure]:
    """The conversion of a checkpoint, run on the numbers of one head's pairs."""
    if config.generation != "seed":
        return []
    width = config.text.head_dim
    stored = torch.arange(width // 2).repeat_interleave(2)  # (head dim,)
    loaded = PairsToHalves().convert({"rows": stored[:, None]}, ["rows"], ["rows"], config=config)
    both = torch.stack((stored, loaded["rows"][:, 0]))  # (2, head dim)
    return [Figure("pairs", both.numpy(), {"rows": width, "pairs": width // 2})]

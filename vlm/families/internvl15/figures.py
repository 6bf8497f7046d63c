"""What pictures explain about InternVL: positions before and after resizing, what is gathered."""

from typing import Any

import torch

from vlm.families.common import stored_positions
from vlm.families.internvl15.modeling import resized_table
from vlm.inspection import Figure


def draw(model: Any) -> list[Figure]:
    """The table of positions as stored and as used, and which patches the shuffle gathers."""
    config = model.config
    side = config.tile_size // config.vision.patch_size
    return [*_positions(model.model.vision_tower, side), _gathered(model.model.shuffle, side)]


def _positions(tower: Any, side: int) -> list[Figure]:
    table = tower.embeddings.position_embeddings  # (1, 1 + places, width)
    drawn = stored_positions(table[0], side, before=1)
    if table.is_meta:
        return drawn
    used = resized_table(table, side, side)[0, 1:].detach().float()  # (patches, width)
    grid = used.unflatten(0, (side, side)).cpu().numpy()  # (rows, columns, width)
    return [*drawn, Figure("positions_used", grid, drawn[0].facts)]


def _gathered(shuffle: Any, side: int) -> Figure:
    """The model's own shuffle, run on the numbers of the patches."""
    numbers = torch.arange(side * side, dtype=torch.float32)[:, None]  # (patches, 1)
    first = torch.cat((torch.full((1, 1), -1.0), numbers))[None]  # (1, 1 + patches, 1)
    tokens = shuffle(first)[0].long()  # (tokens, patches of each)
    owner = torch.empty(side * side, dtype=torch.int64)
    owner[tokens.reshape(-1)] = torch.arange(len(tokens)).repeat_interleave(tokens.shape[1])
    facts = {"side": side, "tokens": len(tokens), "each": tokens.shape[1]}
    return Figure("gathered", owner.reshape(side, side).numpy(), facts)

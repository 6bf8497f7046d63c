"""What pictures explain about InternVL: positions before and after resizing, what is gathered."""

from typing import Any

import torch

from vlm.families.internvl15.modeling import resized_table
from vlm.inspection import Figure


def draw(model: Any) -> list[Figure]:
    """The table of positions where it has values, and which patches the pixel shuffle gathers."""
    config = model.config
    side = config.tile_size // config.vision.patch_size
    return [*_positions(model.model.vision_tower, side), _gathered(model.model.shuffle, side)]


def _positions(tower: Any, side: int) -> list[Figure]:
    table = tower.embeddings.position_embeddings  # (1, 1 + patches, width)
    if table.is_meta:
        return []
    stored = int((table.shape[1] - 1) ** 0.5)
    used = resized_table(table, side, side)
    facts = {"side": side, "stored": stored}
    grids = (
        each[0, 1:].detach().float().unflatten(0, (rows, rows)).cpu().numpy()
        for each, rows in ((table, stored), (used, side))
    )
    first, second = grids  # (rows, columns, width)
    return [Figure("positions", first, facts), Figure("positions_used", second, facts)]


def _gathered(shuffle: Any, side: int) -> Figure:
    """The model's own shuffle, run on the numbers of the patches."""
    numbers = torch.arange(side * side, dtype=torch.float32)[:, None]  # (patches, 1)
    first = torch.cat((torch.full((1, 1), -1.0), numbers))[None]  # (1, 1 + patches, 1)
    tokens = shuffle(first)[0].long()  # (tokens, patches of each)
    owner = torch.empty(side * side, dtype=torch.int64)
    owner[tokens.reshape(-1)] = torch.arange(len(tokens)).repeat_interleave(tokens.shape[1])
    facts = {"side": side, "tokens": len(tokens), "each": tokens.shape[1]}
    return Figure("gathered", owner.reshape(side, side).numpy(), facts)

"""What a picture explains about MiniCPM-V: which places of the table of positions are used."""

from collections.abc import Sequence
from typing import Any

import numpy

from vlm.backend import Stage
from vlm.inspection import Figure


def draw(model: Any, stages: Sequence[Stage]) -> list[Figure]:
    """The table of positions as a grid, with the number of patches of this run in each place.

    The numbers are those that `PatchPositions` gave, without the padding behind a picture.
    """
    by_name = {stage.name: stage.array for stage in stages if stage.known}
    if "patch_positions" not in by_name or "tgt_sizes" not in by_name:
        return []
    side = model.model.vision_tower.embeddings.positions.side
    counts = numpy.zeros(side * side, numpy.int64)
    for places, (rows, columns) in zip(
        by_name["patch_positions"], by_name["tgt_sizes"], strict=True
    ):
        counts += numpy.bincount(places[: rows * columns], minlength=side * side)
    used = int((counts > 0).sum())
    facts = {"side": side, "used": used, "places": side * side, "patches": int(counts.sum())}
    return [Figure("buckets", counts.reshape(side, side), facts)]

"""What a picture explains about PaliGemma: the table of positions of its tower."""

from typing import Any

from vlm.families.common import stored_positions
from vlm.inspection import Figure


def draw(model: Any) -> list[Figure]:
    """The table, which has a place for each patch and none besides."""
    vision = model.config.vision_config
    table = model.model.vision_tower.embeddings.position_embedding.weight
    return stored_positions(table, vision.image_size // vision.patch_size)

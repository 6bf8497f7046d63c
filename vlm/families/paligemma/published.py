"""The published configurations, to look into without their files.

The sizes are recalled, as the files, behind a licence, cannot be had here. The tokenizer is one of
single bytes.
"""

from collections.abc import Mapping
from typing import Any

from transformers import PaliGemmaConfig

from vlm.families import Opened, common
from vlm.families.paligemma import modeling, processing  # noqa: F401 - registers its class

SIGLIP_SO400M: Mapping[str, Any] = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "projection_dim": 2048,
    "vision_use_head": False,
}
GEMMA_2B: Mapping[str, Any] = {
    "model_type": "gemma",
    "vocab_size": 257216,
    "hidden_size": 2048,
    "intermediate_size": 16384,
    "num_hidden_layers": 18,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "max_position_embeddings": 8192,
}


def configuration(side: int = 224) -> PaliGemmaConfig:
    """PaliGemma 3B.

    Args:
        side: of a picture in pixels.
    """
    special: dict[str, Any] = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    return PaliGemmaConfig(
        projection_dim=2048,
        image_token_index=257152,
        vision_config={**SIGLIP_SO400M, "image_size": side},
        text_config=dict(GEMMA_2B),
        **special,
    )


def open(side: int) -> Opened:
    """A checkpoint for pictures of that side without its files."""
    config = configuration(side)
    special = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>"}
    tokenizer = common.byte_tokenizer(special, ("<image>",))
    config.image_token_id = tokenizer.get_vocab()["<image>"]
    with common.folder_of(tokenizer) as words:
        processor = processing.make_processor(config, str(words))
    return Opened(config=config, processor=processor, weights=f"google/paligemma-3b-mix-{side}")

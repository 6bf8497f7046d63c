"""Pocket, the embedded model: EfficientNet-Lite2, 2x2 pixel shuffle, SmolLM2-135M.

Small enough to ship with the program and to answer about a photo on a CPU. Torch and transformers
are imported only when a checkpoint is opened.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from vlm.families import Checkpoint, Family, Opened

if TYPE_CHECKING:
    import torch

    from vlm.families.pocket.modeling import PocketForConditionalGeneration

CHECKPOINTS = (
    Checkpoint(
        name="pocket",
        title="Pocket 135M",
        source=str(Path(__file__).parents[3] / "assets" / "pocket"),
        parameters=146,
        license="Apache-2.0",
        good_at="model.pocket.good_at",
    ),
)

STAGES = (
    "pixel_values",
    "vision_tower",
    "pixel_shuffle",
    "projector",
    "inputs_embeds",
    "logits",
)


def recognises(source: str) -> bool:
    """Whether `source` is a folder with a configuration of this family."""
    try:
        config = json.loads((Path(source) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no such file, or no JSON
        return False
    return isinstance(config, dict) and config.get("model_type") == "pocket"


def open(source: str, tokenizer: str | None = None, dtype: "torch.dtype | None" = None) -> Opened:
    """Reads a checkpoint, packed or written by `save_pretrained`.

    Args:
        source: its folder.
        tokenizer: another folder or hub id to take the tokenizer from.
        dtype: of the tensors to unpack; bfloat16 by default.

    Raises:
        ModelError: a file or a tensor is missing, damaged, unexpected or of the wrong shape.
    """
    import torch
    from transformers import GenerationConfig

    from vlm.families.pocket import processing, weights
    from vlm.families.pocket.configuration import PocketConfig

    config = PocketConfig.from_pretrained(source)
    return Opened(
        config=config,
        processor=processing.make_processor(config, source, tokenizer),
        weights=weights.load(Path(source), config, dtype or torch.bfloat16),
        generation_config=GenerationConfig.from_pretrained(source),
    )


def tiny() -> "PocketForConditionalGeneration":
    """A model of the same form with random weights, for tests: 4 placeholders an image."""
    from vlm.families.pocket.configuration import PocketConfig
    from vlm.families.pocket.modeling import PocketForConditionalGeneration

    config = PocketConfig(
        vision_config={
            "image_size": 64,
            "padding_size": 66,
            "stem_channels": 8,
            "blocks": [[1, 3, 1, 1, 8], [2, 3, 2, 2, 8], [1, 5, 2, 2, 16], [1, 3, 2, 2, 16]],
            "hidden_size": 32,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": 64,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 128,
            "pad_token_id": 2,
            "tie_word_embeddings": True,
        },
        image_seq_length=4,
        projector_hidden_size=48,
    )
    return PocketForConditionalGeneration(config).eval()


FAMILY = Family(
    name="pocket", recognises=recognises, open=open, checkpoints=CHECKPOINTS, stages=STAGES
)

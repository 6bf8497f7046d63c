"""Pocket, the embedded model: EfficientNet-Lite2, 2x2 pixel shuffle, SmolLM2-135M.

Small enough to ship with the program and to answer about a photo on a CPU. Torch and transformers
are imported only when a checkpoint is opened.
"""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm.families import Checkpoint, Family, Opened, Published, Tap, common

if TYPE_CHECKING:
    import torch

    from vlm.backend import Stage
    from vlm.families.pocket.configuration import PocketConfig
    from vlm.inspection import Figure

CHECKPOINTS = (
    Checkpoint(
        name="pocket",
        title="Pocket 135M",
        source=str(Path(__file__).parents[3] / "assets" / "pocket"),
        parameters=146,
        license="Apache-2.0",
        languages=("en",),
        context_length=8192,
        good_at="model.pocket.good_at",
        agreement={"int8": 0.945, "nf4": 0.745, "fp4": 0.718},
    ),
)

STAGES = (
    Tap(name="input_ids", side="input", value="input_ids", axes="batch, tokens"),
    Tap(
        name="pixel_values",
        side="input",
        value="pixel_values",
        axes="images, channels, height, width",
    ),
    Tap(
        name="stem",
        module="model.vision_tower.stem",
        side="output",
        axes="images, width, rows, columns",
    ),
    Tap(
        name="vision_tower",
        module="model.vision_tower",
        side="output",
        value="last_hidden_state",
        axes="images, positions, width",
    ),
    Tap(
        name="pixel_shuffle",
        module="model.multi_modal_projector",
        side="input",
        value="image_features",
        axes="images, positions, width",
    ),
    Tap(
        name="projector",
        module="model.multi_modal_projector",
        side="output",
        axes="images, positions, width",
    ),
    Tap(
        name="inputs_embeds",
        module="model.language_model",
        side="input",
        value="inputs_embeds",
        axes="batch, tokens, width",
    ),
    Tap(name="logits", side="output", value="logits", axes="batch, tokens, words"),
)


def recognises(source: str) -> bool:
    """Whether `source` is a folder with a configuration of this family."""
    return common.model_type(source) == "pocket"


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


def inspect(source: str, tokenizer: str | None = None) -> Opened:
    """A checkpoint without its weights: what `open` says of it before it unpacks them."""
    from vlm.families.pocket import modeling, processing  # noqa: F401 - registers its class
    from vlm.families.pocket.configuration import PocketConfig

    config = PocketConfig.from_pretrained(source)
    packed = not getattr(config, "quantization_config", None)
    processor = processing.make_processor(config, source, tokenizer)
    return Opened(config=config, processor=processor, weights={} if packed else source)


def tiny_config() -> "PocketConfig":
    """Of a model of the same form for tests: 4 placeholders an image, the real vocabulary."""
    from vlm.families.pocket.configuration import PocketConfig

    return PocketConfig(
        vision_config={
            "image_size": 64,
            "padding_size": 66,
            "stem_channels": 8,
            "blocks": [[1, 3, 1, 1, 8], [2, 3, 2, 2, 8], [1, 5, 2, 2, 16], [1, 3, 2, 2, 16]],
            "hidden_size": 32,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": 49152,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 2048,
            "pad_token_id": 2,
            "tie_word_embeddings": True,
        },
        image_seq_length=4,
        projector_hidden_size=48,
    )


def tiny(folder: Path) -> str:
    """Writes a packed checkpoint of `tiny_config` with random weights. Returns its source."""
    from vlm.families.pocket import weights

    config, published = tiny_config(), Path(CHECKPOINTS[0].source)
    config.save_pretrained(folder)
    weights.save_random(config, folder)
    for file in ("generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(published / file, folder)
    return str(folder)


def _figures(model: Any, stages: "Sequence[Stage]") -> "list[Figure]":
    from vlm.families.pocket import figures

    return figures.draw(model)


FAMILY = Family(
    name="pocket",
    recognises=recognises,
    open=open,
    checkpoints=CHECKPOINTS,
    stages=STAGES,
    tiny=tiny,
    inspect=inspect,
    published=(
        Published(
            name=CHECKPOINTS[0].name,
            title=CHECKPOINTS[0].title,
            open=partial(inspect, CHECKPOINTS[0].source),
            words=True,
        ),
    ),
    figures=_figures,
)

"""Names of tensors: in the published files -> in the model, and what those files must hold.

Loading follows the rules, `save_pretrained` follows them backwards. Only headers are read here, so
that a checkpoint that does not fit is refused by name before anything is loaded.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    revert_weight_conversion,
)

from vlm.families.stored import Shape, check, stored_tensors

RENAMES: tuple[tuple[str, str], ...] = (
    (r"^llm\.model\.", "model.language_model."),
    (r"^llm\.lm_head\.", "lm_head."),
    (r"^vpm\.", "model.vision_tower."),
    (r"^resampler\.", "model.resampler."),
)
"""Beginning of a name on disk -> in the model."""


Transform = WeightConverter | WeightRenaming


def loading() -> list[Transform]:
    """What turns the tensors of the published files into the model's; saving undoes it."""
    return [WeightRenaming(source, target) for source, target in RENAMES]


def published_shapes(model: PreTrainedModel) -> dict[str, Shape]:
    """Every tensor of a model, which may be on the meta device, by its name in published files."""
    loaded: Any = model
    loaded._weight_conversions = loading()
    plain = revert_weight_conversion(model, model.state_dict())
    return {name: tuple(tensor.shape) for name, tensor in plain.items()}


def check_files(folder: Path, kind: type[PreTrainedModel], config: object) -> None:
    """Compares the headers of a checkpoint's files with the configuration.

    Files that are quantised already are left to the loader.

    Args:
        folder: of the checkpoint, in the published layout or with the model's own names.
        kind: class of the model.
        config: of the model.

    Raises:
        ModelError: a file or a tensor is missing, damaged, unexpected or of the wrong shape.
    """
    if getattr(config, "quantization_config", None):
        return
    found = stored_tensors(folder)
    with torch.device("meta"):
        model = kind(config)  # pyright: ignore[reportArgumentType]
    if any(name.startswith("model.") for name in found):
        expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        head = "lm_head.weight"
    else:
        expected, head = published_shapes(model), "llm.lm_head.weight"
    if head not in found and getattr(config, "tie_word_embeddings", False):
        del expected[head]
    check(found, expected, folder)


register_checkpoint_conversion_mapping("minicpmv", loading(), overwrite=True)

"""What a checkpoint's files and configuration must hold, found out before anything is loaded.

In: a folder. Nothing missing is ever filled in at random, and nothing that is there goes unread:
the names and shapes follow from the model's own, by the table that transformers loads it with.
"""

from pathlib import Path

import torch
from transformers import PaliGemmaConfig
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightRenaming, rename_source_key

from vlm.errors import ModelError
from vlm.families import common
from vlm.families.paligemma.modeling import PaliGemmaForConditionalGeneration
from vlm.families.stored import check, stored_tensors

LANGUAGE_MODELS = ("gemma", "gemma2")
"""`model_type` of those that it was published with; the second is that of PaliGemma 2."""

IGNORED = ("rotary_emb.inv_freq", "embeddings.position_ids")
"""Ends of the names of tensors that older files hold and that are worked out anew."""

PUBLISHED = (
    ("model.language_model.", "language_model.model."),
    ("model.vision_tower.", "vision_tower.vision_model."),
    ("model.multi_modal_projector.", "multi_modal_projector."),
)
"""How names begin: in the model, on disk."""


def published_name(name: str) -> str:
    """The published name of one of the model's tensors."""
    for ours, theirs in PUBLISHED:
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def read_config(folder: Path) -> PaliGemmaConfig:
    """The configuration of a checkpoint.

    Raises:
        ModelError: its language model is no Gemma: any other would be filled with Gemma's tensors
            of the same names, and answer wrongly.
    """
    said = common.read_json(str(folder)).get("text_config")
    got = said.get("model_type", LANGUAGE_MODELS[0]) if isinstance(said, dict) else None
    if said is not None and got not in LANGUAGE_MODELS:
        raise ModelError(
            "language_model_unknown",
            file=folder / common.CONFIG,
            got=got or "-",
            name="text_config",
            known=", ".join(LANGUAGE_MODELS),
        )
    return PaliGemmaConfig.from_pretrained(folder)


def check_files(folder: Path, config: PaliGemmaConfig) -> None:
    """Compares the headers of the files with the configuration.

    Files that are quantised already are left to the loader.

    Raises:
        ModelError: a file or a tensor is missing, damaged, unexpected or of the wrong shape.
    """
    if getattr(config, "quantization_config", None):
        return
    with torch.device("meta"):
        model = PaliGemmaForConditionalGeneration(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    tensors = stored_tensors(folder)
    stored = {name: each for name, each in tensors.items() if not name.endswith(IGNORED)}
    transforms = get_model_conversion_mapping(model)
    renames = [each for each in transforms if isinstance(each, WeightRenaming)]
    inside = {name: rename_source_key(name, renames, [])[0] for name in stored}
    expected = {name: shapes[ours] for name, ours in inside.items() if ours in shapes}
    missing = shapes.keys() - inside.values() - model.all_tied_weights_keys.keys()
    expected |= {published_name(name): shapes[name] for name in missing}
    check(stored, expected, folder)

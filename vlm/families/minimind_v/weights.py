"""Names and forms of the published tensors, as data: on disk -> in the model.

In: the tables below. Out: transformers' descriptions of them, which rename tensors and reorder rows
on loading (also when quantising) and undo it on saving.
"""

from typing import Any

import torch
from torch import Tensor
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import (
    ConversionOps,
    WeightConverter,
    WeightRenaming,
    revert_weight_conversion,
)

Transform = WeightConverter | WeightRenaming
Renames = tuple[tuple[str, str], ...]
"""Rows of (regular expression on disk, name in the model), applied in this order."""

VISION: Renames = ((r"^vision_encoder\.vision_model\.", "model.vision_tower."),)

PROJECTOR: Renames = ((r"^vision_proj\.vision_proj\.0\.", "model.multi_modal_projector.linear_1."),)

DEEP_PROJECTOR: Renames = (
    (r"^vision_proj\.mlp\.0\.", "model.multi_modal_projector.layer_norm."),
    (r"^vision_proj\.mlp\.1\.", "model.multi_modal_projector.linear_1."),
    (r"^vision_proj\.mlp\.3\.", "model.multi_modal_projector.linear_2."),
)

LANGUAGE: Renames = (
    (r"^model\.embed_tokens\.", "model.language_model.embed_tokens."),
    (r"^model\.layers\.", "model.language_model.layers."),
    (r"^model\.norm\.", "model.language_model.norm."),
)

SEED: Renames = (
    (r"^tok_embeddings\.", "model.language_model.embed_tokens."),
    (r"^layers\.", "model.language_model.layers."),
    (r"^norm\.", "model.language_model.norm."),
    (r"^output\.", "lm_head."),
)

SEED_LAYERS: Renames = (
    (r"\.attention\.wv\.", ".self_attn.v_proj."),
    (r"\.attention\.wo\.", ".self_attn.o_proj."),
    (r"\.attention_norm\.", ".input_layernorm."),
    (r"\.ffn_norm\.", ".post_attention_layernorm."),
    (r"\.feed_forward\.", ".mlp."),
    (
        r"\.shared_experts\.(w1|w2|w3)\.",
        r".shared_experts.0.\1.",
    ),  # one, where later there is a list
    (r"\.w1\.", ".gate_proj."),
    (r"\.w2\.", ".down_proj."),
    (r"\.w3\.", ".up_proj."),
)

TURNED: Renames = (
    ("attention.wq.weight", "self_attn.q_proj.weight"),
    ("attention.wk.weight", "self_attn.k_proj.weight"),
)
"""Layers of the seed generation whose rows are turned in neighbouring pairs."""

HEADS = {"seed": "output.weight", "mid": "lm_head.weight", "head": "lm_head.weight"}
EMBEDDINGS = {
    "seed": "tok_embeddings.weight",
    "mid": "model.embed_tokens.weight",
    "head": "model.embed_tokens.weight",
}
"""Generation -> name on disk of the output head, of the embedding; both are one."""


class PairsToHalves(ConversionOps):
    """Rows of each head from neighbouring pairs to halves: row i = row 2i, row d/2 + i = 2i + 1.

    The seed generation turns (2i, 2i + 1) together, transformers (i, d/2 + i).
    """

    @torch.no_grad()
    def convert(
        self,
        input_dict: dict[str, Any],
        source_patterns: list[str],
        target_patterns: list[str],
        **kwargs: Any,
    ) -> dict[str, Tensor]:
        rows = _only(input_dict)  # (heads * head dim, width)
        pairs = rows.unflatten(0, (-1, _head_dim(kwargs["config"]) // 2, 2))
        return {target_patterns[0]: pairs.transpose(1, 2).flatten(0, 2).contiguous()}

    @property
    def reverse_op(self) -> "HalvesToPairs":
        return HalvesToPairs()


class HalvesToPairs(ConversionOps):
    """The opposite of `PairsToHalves`."""

    @torch.no_grad()
    def convert(
        self,
        input_dict: dict[str, Any],
        source_patterns: list[str],
        target_patterns: list[str],
        **kwargs: Any,
    ) -> dict[str, Tensor]:
        rows = _only(input_dict)  # (heads * head dim, width)
        halves = rows.unflatten(0, (-1, 2, _head_dim(kwargs["config"]) // 2))
        return {target_patterns[0]: halves.transpose(1, 2).flatten(0, 2).contiguous()}

    @property
    def reverse_op(self) -> PairsToHalves:
        return PairsToHalves()


def _only(tensors: dict[str, Any]) -> Tensor:
    (one,) = tensors.values()
    return one[0] if isinstance(one, list) else one


def _head_dim(config: Any) -> int:
    return config.get_text_config().head_dim


def _renamings(*tables: Renames) -> list[Transform]:
    return [WeightRenaming(source, target) for table in tables for source, target in table]


def _seed() -> list[Transform]:
    """Of the seed generation; its short names may only be looked for in the language model."""
    turns = [
        WeightConverter([source], [target], operations=[PairsToHalves()])
        for source, target in TURNED
    ]
    inside = [*_renamings(SEED_LAYERS), *turns]
    for transform in inside:
        transform.base_model_prefix, transform.scope_prefix = "model", "language_model"
    return [*_renamings(SEED), *inside]


def loading() -> list[Transform]:
    """What turns the tensors of any generation into the model's."""
    return [*_renamings(VISION, PROJECTOR, DEEP_PROJECTOR, LANGUAGE), *_seed()]


def published(generation: str) -> list[Transform]:
    """The part of `loading` that a generation needs; saving undoes it."""
    if generation == "seed":
        return [*_renamings(VISION, PROJECTOR), *_seed()]
    projector = DEEP_PROJECTOR if generation == "head" else PROJECTOR
    return _renamings(VISION, projector, LANGUAGE)


def published_state(model: Any) -> dict[str, Tensor]:
    """The tensors of a model by their published names, without the tower, as trainers save them.

    Args:
        model: a MiniMindVForConditionalGeneration.
    """
    model._weight_conversions = published(model.config.generation)
    state = revert_weight_conversion(model, model.state_dict())
    return {name: each for name, each in state.items() if not name.startswith("vision_encoder.")}


register_checkpoint_conversion_mapping("minimind-v", loading(), overwrite=True)

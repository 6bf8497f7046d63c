"""Names and forms of the published tensors, as data: on disk -> in the model.

In: the tables below. Out: transformers' descriptions of them, which rename, merge and split tensor
by tensor while loading, before a layer is quantised. Upstream saves nothing of its own but the
adapter and the projector, so nothing is undone on saving: a saved folder has the model's names.
"""

from typing import Any

import torch
from torch import Tensor
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import (
    Chunk,
    ConversionOps,
    WeightConverter,
    WeightRenaming,
)

Transform = WeightConverter | WeightRenaming
Renames = tuple[tuple[str, str], ...]
"""Rows of (regular expression on disk, name in the model), applied in this order."""

ADAPTER: Renames = ((r"^base_model\.model\.transformer\.", "transformer."),)
"""PEFT puts its own names around those of the model that it wraps."""

VISION: Renames = ((r"^vision_model\.", "model.vision_tower."),)

PROJECTOR: Renames = (
    (r"^0\.", "model.multi_modal_projector.linear_1."),
    (r"^2\.", "model.multi_modal_projector.linear_2."),
)

LANGUAGE: Renames = (
    (r"^transformer\.wte\.", "model.language_model.embed_tokens."),
    (r"^transformer\.ln_f\.", "model.language_model.norm."),
    (r"^transformer\.h\.", "model.language_model.layers."),
    (r"\.ln_1\.", ".input_layernorm."),
    (r"\.ln_2\.", ".post_attention_layernorm."),
    (r"\.attn\.c_proj\.", ".self_attn.o_proj."),
    (r"\.mlp\.w1\.", ".mlp.up_proj."),
    (r"\.mlp\.w2\.", ".mlp.gate_proj."),
    (r"\.mlp\.c_proj\.", ".mlp.down_proj."),
)

FUSED = "attn.c_attn"
SPLIT = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
"""Thirds of the rows of the fused projection, of its weight and its bias."""

ADAPTED = "base_layer.weight"
"""What the weight of a layer with an adapter is called while it is loaded, as PEFT has it."""
ADAPTER_PARTS = (ADAPTED, "lora_A.weight", "lora_B.weight")


class MergeAdapter(ConversionOps):
    """weight + scale B A, in float32: a LoRA adapter becomes part of what it adapts.

    The scale is alpha / rank, as `adapter_scale` of the configuration says.
    """

    supports_many_to_many = True

    @torch.no_grad()
    def convert(
        self,
        input_dict: dict[str, Any],
        source_patterns: list[str],
        target_patterns: list[str],
        **kwargs: Any,
    ) -> dict[str, Tensor]:
        found = [_first(input_dict.pop(name)) for name in source_patterns]
        weight, down, up = (
            tensor.float() for tensor in found
        )  # (out, in), (rank, in), (out, rank)
        merged = torch.addmm(weight, up, down, alpha=self._scale(kwargs["config"]))  # (out, in)
        return {target_patterns[0]: merged.to(found[0].dtype)}

    def _scale(self, config: Any) -> float:
        if config.adapter_scale is None:
            raise ValueError("the configuration has no adapter_scale, but there is an adapter")
        return config.adapter_scale


def _first(tensors: Any) -> Tensor:
    return tensors[0] if isinstance(tensors, list) else tensors


def renamings() -> list[Transform]:
    """Every row of the tables of names."""
    tables = (ADAPTER, VISION, PROJECTOR, LANGUAGE)
    return [WeightRenaming(source, target) for table in tables for source, target in table]


def loading() -> list[Transform]:
    """What turns the tensors of the three parts into the model's; the first that fits is used."""
    return [
        *renamings(),
        WeightConverter(
            [f"{FUSED}.{part}" for part in ADAPTER_PARTS],
            [f"{name}.weight" for name in SPLIT],
            operations=[MergeAdapter(), Chunk(dim=0)],
        ),
        WeightConverter(list(ADAPTER_PARTS), ["weight"], operations=[MergeAdapter()]),
        WeightConverter([FUSED], list(SPLIT), operations=[Chunk(dim=0)]),
    ]


register_checkpoint_conversion_mapping("clip_qwen", loading(), overwrite=True)

"""Names and forms of the published tensors, as data: on disk -> in the model.

In: the tables below. Out: transformers' descriptions of them, which rename, split and merge tensor
by tensor on loading (also when quantising) and undo it on saving.
"""

from collections.abc import Sequence
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

ADAPTED: Renames = (
    # PEFT puts its own names around those of the module that it wraps.
    (r"^vision_model\.base_model\.model\.", "vision_model."),
    (r"^language_model\.base_model\.model\.", "language_model."),
    (r"\.base_layer\.bias", ".bias"),
)

VISION: Renames = (
    (r"^vision_model\.", "model.vision_tower."),
    (r"vision_tower\.encoder\.layers\.", "vision_tower.encoder.layer."),
    (r"\.embeddings\.class_embedding", ".embeddings.cls_token"),
    (r"\.embeddings\.position_embedding", ".embeddings.position_embeddings"),
    (r"\.embeddings\.patch_embedding\.", ".embeddings.patch_embeddings.projection."),
    (r"\.attn\.q_norm\.", ".attention.q_norm."),
    (r"\.attn\.k_norm\.", ".attention.k_norm."),
    (r"\.attn\.proj\.", ".attention.projection_layer."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.ls1", ".lambda_1"),
    (r"\.ls2", ".lambda_2"),
)

PROJECTOR: Renames = (
    (r"^mlp1\.0\.", "model.multi_modal_projector.layer_norm."),
    (r"^mlp1\.1\.", "model.multi_modal_projector.linear_1."),
    (r"^mlp1\.3\.", "model.multi_modal_projector.linear_2."),
)

LANGUAGE: Renames = ((r"^language_model\.model\.", "model.language_model."),)

HEAD: Renames = ((r"^language_model\.lm_head\.", "lm_head."),)

INTERNLM2: Renames = (
    (r"^language_model\.output\.", "lm_head."),
    (r"\.tok_embeddings\.", ".embed_tokens."),
    (r"\.attention\.wo\.", ".self_attn.o_proj."),
    (r"\.feed_forward\.w1\.", ".mlp.gate_proj."),
    (r"\.feed_forward\.w3\.", ".mlp.up_proj."),
    (r"\.feed_forward\.w2\.", ".mlp.down_proj."),
    (r"\.attention_norm\.", ".input_layernorm."),
    (r"\.ffn_norm\.", ".post_attention_layernorm."),
)

VISION_FUSED = "attn.qkv"
VISION_SPLIT = ("attention.q_proj", "attention.k_proj", "attention.v_proj")
INTERNLM2_FUSED = "attention.wqkv"
INTERNLM2_SPLIT = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")

ADAPTER_PARTS = ("base_layer.weight", "lora_A.default.weight", "lora_B.default.weight")
ADAPTER_SCALE = 2.0
"""alpha / rank: alpha is always twice the rank."""


class SplitByGroup(ConversionOps):
    """Rows of a fused projection, interleaved by group, to those of queries, keys and values.

    A group has the rows of its query heads, of its key head and of its value head, in this order:
    (groups, queries + 2, head dim), also of a bias. The rotary order of rows stays as it is.
    """

    @torch.no_grad()
    def convert(
        self,
        input_dict: dict[str, Any],
        source_patterns: list[str],
        target_patterns: list[str],
        **kwargs: Any,
    ) -> dict[str, Tensor]:
        fused = _only(input_dict)  # ((heads + 2 groups) * head dim, ...)
        groups, queries, head_dim = _groups(kwargs["config"])
        slots = fused.unflatten(0, (groups, queries + 2, head_dim))
        parts = slots.split((queries, 1, 1), dim=1)
        rows = [part.flatten(0, 2).contiguous() for part in parts]  # (heads * head dim, ...)
        return dict(zip(target_patterns, rows, strict=True))

    @property
    def reverse_op(self) -> "FuseByGroup":
        return FuseByGroup()


class FuseByGroup(ConversionOps):
    """The opposite of `SplitByGroup`."""

    @torch.no_grad()
    def convert(
        self,
        input_dict: dict[str, Any],
        source_patterns: list[str],
        target_patterns: list[str],
        **kwargs: Any,
    ) -> dict[str, Tensor]:
        groups, _, head_dim = _groups(kwargs["config"])
        parts = [
            _first(input_dict[name]).unflatten(0, (groups, -1, head_dim))
            for name in source_patterns
        ]
        return {target_patterns[0]: torch.cat(parts, dim=1).flatten(0, 2)}

    @property
    def reverse_op(self) -> SplitByGroup:
        return SplitByGroup()


class MergeAdapter(ConversionOps):
    """weight + 2 B A, in float32: a LoRA adapter becomes part of what it adapts."""

    supports_many_to_many = True

    @torch.no_grad()
    def convert(
        self,
        input_dict: dict[str, Any],
        source_patterns: list[str],
        target_patterns: list[str],
        **kwargs: Any,
    ) -> dict[str, Tensor]:
        found = [_first(input_dict[name]) for name in source_patterns]
        weight, down, up = (
            tensor.float() for tensor in found
        )  # (out, in), (rank, in), (out, rank)
        merged = weight + ADAPTER_SCALE * (up @ down)  # (out, in)
        return {target_patterns[0]: merged.to(found[0].dtype)}


class SplitConverter(WeightConverter):
    """Decides for each part whether it is quantised; natively the first part decides for all.

    Of queries, keys and values, some may have too few rows for the kernels of a device.
    """

    __slots__ = ()

    def convert(
        self,
        layer_name: str,
        model: Any = None,
        config: Any = None,
        hf_quantizer: Any = None,
        loading_info: Any = None,
    ) -> dict[str, Any]:
        self.quantization_operation = None
        parts = super().convert(layer_name, model, config, hf_quantizer, loading_info)
        if hf_quantizer is None or hf_quantizer.pre_quantized:
            return parts
        packed = {
            name: part
            for name, part in parts.items()
            if hf_quantizer.param_needs_quantization(model, name)
        }
        if packed:
            parts |= hf_quantizer.get_quantize_ops().convert(
                packed, full_layer_name=layer_name, model=model, config=config, missing_keys=None
            )
        return parts


def _first(tensors: Any) -> Tensor:
    return tensors[0] if isinstance(tensors, list) else tensors


def _only(tensors: dict[str, Any]) -> Tensor:
    (one,) = tensors.values()
    return _first(one)


def _groups(config: Any) -> tuple[int, int, int]:
    """(groups, query heads of each, head dim) of the language model."""
    text = config.get_text_config()
    groups = text.num_key_value_heads
    return groups, text.num_attention_heads // groups, text.head_dim


def _renamings(*tables: Renames) -> list[Transform]:
    return [WeightRenaming(source, target) for table in tables for source, target in table]


def _splits(fused: str, split: Sequence[str], operation: ConversionOps) -> list[Transform]:
    return [SplitConverter([fused], list(split), operations=[operation])]


def _merges() -> list[Transform]:
    """Adapters, fused rows before they are split; the rest where they are."""
    fused = (
        (VISION_FUSED, VISION_SPLIT, Chunk(dim=0)),
        (INTERNLM2_FUSED, INTERNLM2_SPLIT, SplitByGroup()),
    )
    merges: list[Transform] = [
        SplitConverter(
            [f"{source}.{part}" for part in ADAPTER_PARTS],
            [f"{target}.weight" for target in targets],
            operations=[MergeAdapter(), operation],
        )
        for source, targets, operation in fused
    ]
    alone = WeightConverter(list(ADAPTER_PARTS), ["weight"], operations=[MergeAdapter()])
    return [*merges, alone]


def loading() -> list[Transform]:
    """What turns the tensors of any checkpoint of this family into the model's."""
    return [
        *_renamings(ADAPTED, VISION, PROJECTOR, HEAD, INTERNLM2, LANGUAGE),
        *_merges(),
        *_splits(VISION_FUSED, VISION_SPLIT, Chunk(dim=0)),
        *_splits(INTERNLM2_FUSED, INTERNLM2_SPLIT, SplitByGroup()),
    ]


def published(language_model: str) -> list[Transform]:
    """The part of `loading` that a checkpoint without adapters needs; saving undoes it.

    Args:
        language_model: the `model_type` of its configuration.
    """
    vision = _splits(VISION_FUSED, VISION_SPLIT, Chunk(dim=0))
    if language_model != "internlm2":
        return [*_renamings(VISION, PROJECTOR, HEAD, LANGUAGE), *vision]
    language = _splits(INTERNLM2_FUSED, INTERNLM2_SPLIT, SplitByGroup())
    return [*_renamings(VISION, PROJECTOR, INTERNLM2, LANGUAGE), *vision, *language]


register_checkpoint_conversion_mapping("internvl_chat", loading(), overwrite=True)

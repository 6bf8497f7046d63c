"""What a checkpoint's files must hold, compared with what they do hold before anything is loaded.

In: a folder and the configuration. Nothing missing is ever filled in at random: the names and
shapes on disk follow from the model's own, by the same tables that load it.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from transformers.core_model_loading import revert_weight_conversion

from vlm.errors import ModelError
from vlm.families.internvl15 import weights
from vlm.families.internvl15.configuration import InternVLChatConfig
from vlm.families.internvl15.modeling import InternVLChatForConditionalGeneration
from vlm.families.stored import Shape, check, stored_tensors

IGNORED = ("rotary_emb.inv_freq", "rotary_emb.cos_cached", "rotary_emb.sin_cached")
"""Ends of the names of tensors that older files hold and that are worked out anew."""

ADAPTED_VISION = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
ADAPTED_LANGUAGE = {
    "internlm2": (
        "attention.wqkv",
        "attention.wo",
        "feed_forward.w1",
        "feed_forward.w2",
        "feed_forward.w3",
    ),
    "phi3": ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"),
    **dict.fromkeys(
        ("llama", "qwen2"),
        (
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.o_proj",
            "mlp.gate_proj",
            "mlp.up_proj",
            "mlp.down_proj",
        ),
    ),
}
"""`model_type` of the language model -> the linear layers that adapters are put on."""


def check_config(config: InternVLChatConfig, file: Path) -> None:
    """Refuses values that no tensor contradicts and that would answer wrongly, or fail later.

    Args:
        config: as it was read.
        file: it was read from.

    Raises:
        ModelError: it names the value and what is expected.
    """
    layers, step = config.vision.num_hidden_layers, round(1 / config.downsample_ratio)
    block = config.vision.patch_size * step
    fewest, most = config.min_dynamic_patch, config.max_dynamic_patch
    side, shuffles = "force_image_size", ("v1", "v2")
    rules: tuple[tuple[str, object, bool, str], ...] = (
        ("ps_version", config.ps_version, config.ps_version in shuffles, ", ".join(shuffles)),
        (
            "select_layer",
            config.select_layer,
            -layers - 1 <= config.select_layer <= layers,
            f"{-layers - 1} ... {layers}",
        ),
        (side, config.tile_size, config.tile_size % block == 0, f"a multiple of {block}"),
        ("max_dynamic_patch", most, 1 <= fewest <= most, f"at least {max(fewest, 1)}"),
    )
    for name, got, right, expected in rules:
        if not right:
            raise ModelError("config_value", file=file, name=name, got=got, expected=expected)


def check_files(folder: Path, config: InternVLChatConfig) -> None:
    """Compares the headers of the files with the configuration.

    Files that are quantised already are left to the loader.

    Raises:
        ModelError: a file or a tensor is missing, damaged, unexpected or of the wrong shape.
    """
    if getattr(config, "quantization_config", None):
        return
    stored = stored_tensors(folder)
    found = {name: each for name, each in stored.items() if not name.endswith(IGNORED)}
    native = any(name.startswith("model.") for name in found)
    check(found, model_shapes(config) if native else published_shapes(config), folder)


def model_shapes(config: InternVLChatConfig) -> dict[str, Shape]:
    """Every tensor of the model by its name there."""
    return {name: tuple(tensor.shape) for name, tensor in _skeleton(config)[1].items()}


def published_shapes(config: InternVLChatConfig) -> dict[str, Shape]:
    """Every tensor of the model by its name in the published layout, adapters included."""
    model, tensors = _skeleton(config)
    model._weight_conversions = weights.published(config.text.model_type)
    plain = revert_weight_conversion(model, tensors)
    shapes = {name: tuple(tensor.shape) for name, tensor in plain.items()}
    vision, language = config.use_backbone_lora, config.use_llm_lora
    if vision:
        shapes = _adapted(shapes, "vision_model.", ADAPTED_VISION, vision)
    if language:
        layers = ADAPTED_LANGUAGE[config.text.model_type]
        shapes = _adapted(shapes, "language_model.", layers, language)
    return shapes


def _skeleton(
    config: InternVLChatConfig,
) -> tuple[InternVLChatForConditionalGeneration, dict[str, torch.Tensor]]:
    with torch.device("meta"):
        model = InternVLChatForConditionalGeneration(config)
    return model, model.state_dict()


def _adapted(
    shapes: Mapping[str, Shape], part: str, layers: tuple[str, ...], rank: int
) -> dict[str, Shape]:
    """The tensors of one part with adapters around its linear layers."""
    wrapped: dict[str, Shape] = {}
    for name, shape in shapes.items():
        inner = f"{part}base_model.model.{name.removeprefix(part)}"
        module, _, kind = inner.rpartition(".")
        if not name.startswith(part):
            wrapped[name] = shape
        elif not module.endswith(layers):
            wrapped[inner] = shape
        else:
            wrapped[f"{module}.base_layer.{kind}"] = shape
            if kind == "weight":
                wrapped[f"{module}.lora_A.default.weight"] = (rank, shape[1])
                wrapped[f"{module}.lora_B.default.weight"] = (shape[0], rank)
    return wrapped

"""What a checkpoint's files must hold, compared with what they do hold before anything is loaded.

In: a folder and the configuration. Nothing missing is ever filled in at random: the names and
shapes on disk follow from the model's own, by the same tables that load it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from transformers.core_model_loading import revert_weight_conversion

from vlm.errors import ModelError
from vlm.families.internvl15 import weights
from vlm.families.internvl15.configuration import InternVLChatConfig
from vlm.families.internvl15.modeling import InternVLChatForConditionalGeneration

INDEX = "model.safetensors.index.json"
IGNORED = ("rotary_emb.inv_freq", "rotary_emb.cos_cached", "rotary_emb.sin_cached")
"""Ends of the names of tensors that older files hold and that are worked out anew."""

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Where a tensor lies and how large it is."""

    file: Path
    shape: Shape


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


def check_files(folder: Path, config: InternVLChatConfig) -> None:
    """Compares the headers of the files with the configuration.

    Files that are quantised already are left to the loader, and so are those that are no
    safetensors: they say nothing about their tensors before they are read.

    Raises:
        ModelError: a file or a tensor is missing, damaged, unexpected or of the wrong shape.
    """
    if getattr(config, "quantization_config", None):
        return
    if not (folder / INDEX).exists() and any(folder.glob("pytorch_model*.bin*")):
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


def stored_tensors(folder: Path) -> dict[str, Stored]:
    """Every tensor in the files that the index names (or in the one file), by its name on disk.

    Raises:
        ModelError: a file is missing or damaged.
    """
    index = folder / INDEX
    if not index.exists():
        return _headers(folder / "model.safetensors", named_in=folder)
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError("file_damaged", file=index, detail=error) from error
    stored: dict[str, Stored] = {}
    for name in names:
        stored |= _headers(folder / name, named_in=index)
    return stored


def check(found: Mapping[str, Stored], expected: Mapping[str, Shape], folder: Path) -> None:
    """Raises ModelError unless the same tensors are found as expected, in the same shapes."""
    if missing := sorted(expected.keys() - found.keys()):
        raise ModelError(
            "tensors_missing",
            folder=folder,
            found=len(found),
            expected=len(expected),
            names=", ".join(missing[:3]),
        )
    if unexpected := sorted(found.keys() - expected.keys()):
        raise ModelError(
            "tensors_unexpected",
            file=found[unexpected[0]].file,
            found=len(found),
            expected=len(expected),
            names=", ".join(unexpected[:3]),
        )
    for name, shape in expected.items():
        if found[name].shape != shape:
            raise ModelError(
                "tensor_shape",
                file=found[name].file,
                name=name,
                found=found[name].shape,
                expected=shape,
            )


def _headers(file: Path, named_in: Path) -> dict[str, Stored]:
    if not file.exists():
        raise ModelError("file_missing", file=file.name, index=named_in)
    try:
        with safe_open(file, framework="pt", device="cpu") as tensors:
            return {
                name: Stored(file=file, shape=tuple(tensors.get_slice(name).get_shape()))
                for name in tensors.keys()  # noqa: SIM118 - this is no mapping
            }
    except (SafetensorError, OSError) as error:
        raise ModelError("file_damaged", file=file, detail=error) from error

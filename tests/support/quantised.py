"""Checkpoints quantised by other tools than this app, as the hub has them."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from compressed_tensors.compressors import ModelCompressor
from compressed_tensors.quantization import (
    QuantizationArgs,
    QuantizationConfig,
    QuantizationScheme,
    apply_quantization_config,
)
from safetensors.torch import load_file, save_file
from transformers import LlavaForConditionalGeneration

GROUP = 128
SCHEMES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "4 bit in groups": (
        "pack-quantized",
        {"num_bits": 4, "type": "int", "strategy": "group", "group_size": GROUP},
    ),
    "8 bit in groups": (
        "pack-quantized",
        {"num_bits": 8, "type": "int", "strategy": "group", "group_size": GROUP},
    ),
    "8-bit floats": ("naive-quantized", {"num_bits": 8, "type": "float", "strategy": "channel"}),
}
"""What compressed-tensors calls the format, and how weights are rounded."""

PLAIN = ["re:.*vision_tower.*", "re:.*multi_modal_projector.*", "lm_head"]


def compress(source: Path, folder: Path, scheme: str) -> Path:
    """Writes a LLaVA checkpoint by compressed-tensors' own means, in one of `SCHEMES`."""
    shutil.copytree(source, folder)
    form, weights = SCHEMES[scheme]
    model = LlavaForConditionalGeneration.from_pretrained(source, dtype=torch.bfloat16)
    rounding = QuantizationArgs(symmetric=True, **weights)
    config = QuantizationConfig(
        config_groups={"group_0": QuantizationScheme(targets=["Linear"], weights=rounding)},
        ignore=PLAIN,
        format=form,
        quantization_status="frozen",
    )
    apply_quantization_config(model, config)
    for module in model.modules():
        if hasattr(module, "quantization_scheme"):
            _set_scales(module, weights)
    compressor = ModelCompressor.from_pretrained_model(model, quantization_format=form)
    compressor.compress_model(model)
    model.save_pretrained(folder)
    compressor.update_config(str(folder))
    return folder


def _set_scales(module: Any, weights: Mapping[str, Any]) -> None:
    rows = module.weight.detach().float()  # (out, in)
    if weights["strategy"] == "group":
        groups = rows.view(rows.shape[0], -1, GROUP)  # (out, groups, in a group)
        largest = groups.abs().amax(-1)  # (out, groups)
        scale = largest / (2 ** (weights["num_bits"] - 1) - 1)
    else:
        largest = rows.abs().amax(1, keepdim=True)  # (out, 1)
        scale = largest / torch.finfo(torch.float8_e4m3fn).max
    module.weight_scale.data = scale.to(module.weight_scale.dtype)


def pack_as_awq(source: Path, folder: Path, plain: list[str]) -> Path:
    """Writes a LLaVA checkpoint with the tensors of AWQ; their numbers mean nothing.

    Args:
        plain: what its configuration lists as not quantised.
    """
    shutil.copytree(source, folder)
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(source / "model.safetensors").items():
        if "language_model.model.layers" in name and name.endswith("proj.weight"):
            layer, (out, inside) = name.removesuffix(".weight"), tensor.shape
            tensors[f"{layer}.qweight"] = torch.zeros(inside, out // 8, dtype=torch.int32)
            tensors[f"{layer}.qzeros"] = torch.zeros(inside // GROUP, out // 8, dtype=torch.int32)
            tensors[f"{layer}.scales"] = torch.ones(inside // GROUP, out, dtype=torch.float16)
        else:
            tensors[name] = tensor.to(torch.float16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    facts = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "modules_to_not_convert": plain}
    return set_quantization(folder, **facts)


def scale_blocks(source: Path, folder: Path) -> Path:
    """Writes a LLaVA checkpoint with 8-bit floats that have a scale a block, as "fp8"."""
    shutil.copytree(source, folder)
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(source / "model.safetensors").items():
        if "language_model.model.layers" in name and name.endswith("proj.weight"):
            rows, columns = (size // GROUP for size in tensor.shape)
            blocks = tensor.float().view(rows, GROUP, columns, GROUP)
            scale = blocks.abs().amax((1, 3)) / torch.finfo(torch.float8_e4m3fn).max
            packed = (blocks / scale[:, None, :, None]).view(tensor.shape)  # (out, in)
            tensors[name] = packed.to(torch.float8_e4m3fn)
            tensors[f"{name}_scale_inv"] = scale  # (blocks of out, blocks of in)
        else:
            tensors[name] = tensor.to(torch.bfloat16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    facts = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic"}
    plain = ["lm_head", "vision_tower", "multi_modal_projector"]
    return set_quantization(
        folder, **facts, weight_block_size=[GROUP, GROUP], modules_to_not_convert=plain
    )


def set_quantization(folder: Path, **facts: Any) -> Path:
    """Changes what a checkpoint's configuration says about how it is quantised."""
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {**config.get("quantization_config", {}), **facts}
    (folder / "config.json").write_text(json.dumps(config))
    return folder

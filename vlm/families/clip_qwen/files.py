"""What the files of the three parts must hold, and their tensors, not yet in memory.

In: folders and the configuration. Out: a state dict of views on the files under their published
names; weights are read, merged, split and quantised one by one while the model is loaded.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel

from vlm.errors import ModelError
from vlm.families.clip_qwen import weights
from vlm.families.clip_qwen.configuration import ClipQwenConfig, QwenConfig
from vlm.families.clip_qwen.modeling import ClipQwenForConditionalGeneration
from vlm.families.clip_qwen.sources import ADAPTER_CONFIG, PROJECTOR, adapter_file
from vlm.families.stored import (
    Shape,
    Stored,
    check,
    headers,
    reader,
    stored_tensors,
    unpickle,
)

WRAPPED = "base_model.model."
"""What PEFT puts before the names of the model that it wraps."""

ADAPTABLE = ("attn.c_attn", "attn.c_proj", "mlp.w1", "mlp.w2", "mlp.c_proj")
"""Linear layers of a block of the language model."""

IGNORED: Mapping[str, tuple[str, ...]] = {
    "llm": ("rotary_emb.inv_freq", "attn.masked_bias", "logn_tensor"),
    "clip": (".position_ids",),
}
"""Ends of the names of tensors that are worked out anew."""

UNUSED: Mapping[str, tuple[str, ...]] = {
    "llm": (),
    "clip": ("text_model.", "text_projection.", "visual_projection.", "logit_scale"),
}
"""Beginnings of the names of tensors of parts that the model does not have."""

MERGEABLE: Mapping[str, tuple[object, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "fan_in_fan_out": (False,),
    "use_dora": (False,),
    "use_rslora": (False,),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "modules_to_save": (None, []),
    "layers_to_transform": (None, []),
}
"""What adapter_config.json may say, where it says anything: plain LoRA of one rank."""


# ---- shapes ----


def language_shapes(text: QwenConfig) -> dict[str, Shape]:
    """Every tensor of Qwen v1 by its published name."""
    words, width, inside = text.vocab_size, text.hidden_size, text.intermediate_size
    shapes: dict[str, Shape] = {
        "transformer.wte.weight": (words, width),
        "transformer.ln_f.weight": (width,),
        "lm_head.weight": (words, width),
    }
    linear = {
        "attn.c_attn": (3 * width, width),
        "attn.c_proj": (width, width),
        "mlp.w1": (inside, width),
        "mlp.w2": (inside, width),
        "mlp.c_proj": (width, inside),
    }
    for block in (f"transformer.h.{layer}" for layer in range(text.num_hidden_layers)):
        for norm in ("ln_1", "ln_2"):
            shapes[f"{block}.{norm}.weight"] = (width,)
        for name, shape in linear.items():
            shapes[f"{block}.{name}.weight"] = shape
            if name == weights.FUSED or not text.no_bias:
                shapes[f"{block}.{name}.bias"] = shape[:1]
    return shapes


def vision_shapes(config: ClipQwenConfig) -> dict[str, Shape]:
    """Every tensor of CLIP's vision tower by its published name."""
    with torch.device("meta"):
        tower = AutoModel.from_config(config.vision, trust_remote_code=False)
    return {
        f"vision_model.{name}": tuple(tensor.shape) for name, tensor in tower.state_dict().items()
    }


def projector_shapes(config: ClipQwenConfig) -> dict[str, Shape]:
    """The tensors of `other_params.bin`."""
    inside, out = config.vision.hidden_size, config.text.hidden_size
    return {
        "0.weight": (out, inside),
        "0.bias": (out,),
        "2.weight": (out, out),
        "2.bias": (out,),
    }


def adapter_shapes(layers: Iterable[str], rank: int, text: QwenConfig) -> dict[str, Shape]:
    """The tensors of an adapter on some layers, as PEFT writes them."""
    language = language_shapes(text)
    shapes: dict[str, Shape] = {}
    for name in layers:
        out, inside = language[f"{name}.weight"]
        shapes[f"{WRAPPED}{name}.lora_A.weight"] = (rank, inside)
        shapes[f"{WRAPPED}{name}.lora_B.weight"] = (out, rank)
    return shapes


def model_shapes(config: ClipQwenConfig) -> dict[str, Shape]:
    """Every tensor of the model by its name there."""
    with torch.device("meta"):
        model = ClipQwenForConditionalGeneration(config)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


# ---- the adapter ----


def read_adapter(folder: Path) -> dict[str, Any]:
    """`adapter_config.json`, as far as it can be merged.

    Raises:
        ModelError: it cannot be read, or asks for more than plain LoRA of one rank.
    """
    file = folder / ADAPTER_CONFIG
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError("file_damaged", file=file, detail=error) from error
    if not isinstance(read, dict):
        raise ModelError("file_damaged", file=file, detail="it holds no object")
    for name, accepted in MERGEABLE.items():
        if read.get(name, accepted[0]) not in accepted:
            raise _refused(file, name, read[name], accepted[0])
    for name in ("r", "lora_alpha"):
        if not isinstance(read.get(name), int | float) or read[name] <= 0:
            raise _refused(file, name, read.get(name), "a number above 0")
    return read


def adapted_layers(folder: Path, targets: object, text: QwenConfig) -> list[str]:
    """Full names of the linear layers that an adapter is for, by PEFT's rules.

    Args:
        folder: of the adapter, for errors.
        targets: `target_modules`: ends of names, or one regular expression for whole names.
        text: of the language model.

    Raises:
        ModelError: one of them is no linear layer of a block.
    """
    names = [
        f"transformer.h.{layer}.{name}"
        for layer in range(text.num_hidden_layers)
        for name in ADAPTABLE
    ]
    file, known = folder / ADAPTER_CONFIG, ", ".join(ADAPTABLE)
    if isinstance(targets, str):
        found = [name for name in names if re.fullmatch(targets, name)]
        if not found:
            raise _refused(file, "target_modules", targets, known)
        return found
    ends = [str(each) for each in targets] if isinstance(targets, list) else []
    unknown = [end for end in ends if not any(f".{name}".endswith(f".{end}") for name in names)]
    if unknown or not ends:
        raise _refused(file, "target_modules", ", ".join(unknown) or targets, known)
    return [name for name in names if any(f".{name}".endswith(f".{end}") for end in ends)]


def _refused(file: Path, name: str, got: object, expected: object) -> ModelError:
    return ModelError("adapter_setting", file=file, name=name, got=got, expected=expected)


# ---- tensors ----


def read_parts(parts: Mapping[str, Path], config: ClipQwenConfig) -> dict[str, Tensor]:
    """The tensors of the three parts by their published names, as views on their files.

    A weight with an adapter gets the name that PEFT gives it. Sets `config.adapter_scale`.

    Args:
        parts: the folders by `sources.PARTS`.
        config: of the model.

    Raises:
        ModelError: a file or a tensor is missing, damaged, unexpected or of the wrong shape; the
            adapter or the projector belongs to another language model.
    """
    model_file = adapter_file(parts["adapter"])
    adapter = read_adapter(parts["adapter"])
    config.adapter_scale = adapter["lora_alpha"] / adapter["r"]
    layers = adapted_layers(parts["adapter"], adapter.get("target_modules"), config.text)
    lora = adapter_shapes(layers, adapter["r"], config.text)
    found = [
        _checked(_stored(parts, "llm"), language_shapes(config.text), parts["llm"]),
        _checked(_stored(parts, "clip"), vision_shapes(config), parts["clip"]),
        _checked(headers(model_file), lora, parts["adapter"]),
        _projector(parts["adapter"] / PROJECTOR, config),
    ]
    tensors = {name: tensor for each in found for name, tensor in _views(each)}
    for name in layers:
        tensors[f"{name}.{weights.ADAPTED}"] = tensors.pop(f"{name}.weight")
    return tensors


def check_saved(folder: Path, config: ClipQwenConfig) -> None:
    """Compares the files of a checkpoint that was saved as one folder with its configuration.

    Files that are quantised already are left to the loader.

    Raises:
        ModelError: a file or a tensor is missing, damaged, unexpected or of the wrong shape.
    """
    if getattr(config, "quantization_config", None) is None:
        check(stored_tensors(folder), model_shapes(config), folder)


def _stored(parts: Mapping[str, Path], part: str) -> dict[str, Stored]:
    """The tensors of a part that are of use."""
    return {
        name: each
        for name, each in stored_tensors(parts[part]).items()
        if not name.startswith(UNUSED[part]) and not name.endswith(IGNORED[part])
    }


def _checked(
    found: dict[str, Stored], expected: Mapping[str, Shape], folder: Path
) -> dict[str, Stored]:
    check(found, expected, folder)
    return found


def _projector(file: Path, config: ClipQwenConfig) -> dict[str, Stored]:
    """The tensors of the projector, which must fit between the other two parts."""
    found, expected = headers(file), projector_shapes(config)
    first, last = (found.get(name) for name in ("0.weight", "2.weight"))
    if (
        first
        and last
        and first.shape[1:] + last.shape[:1]
        != (
            config.vision.hidden_size,
            config.text.hidden_size,
        )
    ):
        raise ModelError(
            "projector_differs",
            file=file,
            found=" -> ".join(map(str, first.shape[1:] + last.shape[:1])),
            expected=f"{config.vision.hidden_size} -> {config.text.hidden_size}",
        )
    return _checked(found, expected, file.parent)


def _views(found: Mapping[str, Stored]) -> Iterable[tuple[str, Tensor]]:
    """Name and tensor; what is not touched is not read."""
    safe = {name: each for name, each in found.items() if each.file.suffix == ".safetensors"}
    read = reader(safe)
    yield from ((name, read(name)) for name in safe)
    for file in {each.file for name, each in found.items() if name not in safe}:
        tensors = unpickle(file)
        yield from ((name, tensors[name]) for name, each in found.items() if each.file == file)

"""Pocket's tensors on disk and in the model: names, shapes and how 4 bits become 16.

On disk the language model is a 4-bit base plus an adapter. They are added here, tensor by tensor,
in float32; tower and projector only change their names. Nothing is left over, missing or guessed:
the files are compared with the model's own list of tensors first.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from vlm.families.pocket.configuration import PocketConfig
from vlm.families.pocket.modeling import PocketForConditionalGeneration
from vlm.families.stored import Shape, check, reader, stored_tensors

BLOCK = 32
"""Columns that share a scale and a minimum."""
RANK = 32
"""Of the adapter."""

RENAMES = (
    # in the model, on disk: applied in this order
    ("model.language_model.", "model."),
    ("model.multi_modal_projector.layer_norm.", "0."),
    ("model.multi_modal_projector.linear_1.", "1."),
    ("model.multi_modal_projector.linear_2.", "3."),
    ("model.vision_tower.stem.conv.", "_conv_stem."),
    ("model.vision_tower.stem.norm.", "_bn0."),
    ("model.vision_tower.head.conv.", "_conv_head."),
    ("model.vision_tower.head.norm.", "_bn1."),
    ("model.vision_tower.blocks.", "_blocks."),
    (".expand.conv.", "._expand_conv."),
    (".expand.norm.", "._bn0."),
    (".depthwise.conv.", "._depthwise_conv."),
    (".depthwise.norm.", "._bn1."),
    (".project.conv.", "._project_conv."),
    (".project.norm.", "._bn2."),
)


def name_on_disk(name: str) -> str:
    """The published name of one of the model's tensors."""
    for ours, theirs in RENAMES:
        name = name.replace(ours, theirs)
    return name


def parts_on_disk(name: str, shape: Shape) -> dict[str, Shape]:
    """Names and shapes of the stored tensors that make up one tensor of the model."""
    stored = name_on_disk(name)
    if name.endswith("num_batches_tracked"):  # a frozen norm counts nothing
        return {}
    if "language_model" not in name or len(shape) == 1:
        return {stored: shape}
    rows, columns = shape
    if "embed_tokens" in name:
        return {f"{stored}.q8": shape, f"{stored}.scale": (rows, 1)}
    base, module = (rows, columns // BLOCK), stored.removesuffix(".weight")
    return {
        f"{stored}.q4": (rows, columns // 2),
        f"{stored}.scale": base,
        f"{stored}.min": base,
        f"{module}.lora_A.weight": (RANK, columns),
        f"{module}.lora_B.weight": (rows, RANK),
    }


def unpack(name: str, shape: Shape, read: Callable[[str], Tensor]) -> Tensor:
    """One tensor of the model in float32 (counters of batch norms: int64).

    Args:
        name: in the model.
        shape: in the model.
        read: a stored tensor by its name on disk.
    """
    parts = [read(part) for part in parts_on_disk(name, shape)]
    match parts:
        case []:
            return torch.zeros(shape, dtype=torch.int64)
        case [whole]:
            return whole.float()
        case [q8, scale]:
            return q8.float().mul_(scale.float())
        case [q4, scale, minimum, lora_a, lora_b]:
            return dequantize(q4, scale, minimum) + lora_b.float() @ lora_a.float()
    raise AssertionError(name)


def dequantize(q4: Tensor, scale: Tensor, minimum: Tensor) -> Tensor:
    """W = q * scale + minimum, for blocks of 32 columns.

    Args:
        q4: (rows, columns / 2), uint8. Within a block, byte j holds column j in its low half and
            column j + 16 in its high half.
        scale: (rows, columns / 32).
        minimum: (rows, columns / 32).

    Returns:
        (rows, columns), float32.
    """
    pairs = q4.unflatten(1, (-1, BLOCK // 2))  # (rows, blocks, 16)
    values = torch.cat((pairs & 15, pairs >> 4), dim=2).float()  # (rows, blocks, 32)
    weight = values * scale.float().unsqueeze(2) + minimum.float().unsqueeze(2)
    return weight.flatten(1)  # (rows, columns)


def model_shapes(config: PocketConfig) -> dict[str, Shape]:
    """Every tensor that the model needs; the tied head is not one of them."""
    with torch.device("meta"):
        model = PocketForConditionalGeneration(config)
    tensors = model.state_dict()
    return {
        name: tuple(tensor.shape)
        for name, tensor in tensors.items()
        if name not in model.all_tied_weights_keys
    }


def load(folder: Path, config: PocketConfig, dtype: torch.dtype) -> dict[str, Tensor] | Path:
    """The model's weights.

    Args:
        folder: of the checkpoint, packed or written by `save_pretrained`.
        config: of the model.
        dtype: of the tensors to make.

    Returns:
        A state dict of `dtype`, or the folder itself where there is nothing to unpack.

    Raises:
        ModelError: a file or a tensor is missing, damaged, unexpected or of the wrong shape.
    """
    stored = stored_tensors(folder)
    if getattr(config, "quantization_config", None):  # other names and shapes; the loader checks
        return folder
    shapes = model_shapes(config)
    if not any(name.endswith(".q4") for name in stored):
        tied = {name: each for name, each in stored.items() if name != "lm_head.weight"}
        check(tied, shapes, folder)
        return folder
    expected = [parts_on_disk(name, shape) for name, shape in shapes.items()]
    check(stored, {name: shape for parts in expected for name, shape in parts.items()}, folder)
    read = reader(stored)
    state = {}
    for name, shape in shapes.items():
        tensor = unpack(name, shape, read)
        state[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    return state


def save_random(config: PocketConfig, folder: Path) -> None:
    """Writes packed files with random weights, always the same ones, for tests."""
    random = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}
    for name, shape in model_shapes(config).items():
        for part, size in parts_on_disk(name, shape).items():
            values = torch.randn(size, generator=random)
            if part.endswith((".q4", ".q8")):
                kind = torch.uint8 if part.endswith(".q4") else torch.int8
                state[part] = (values * 40).clamp(-128, 127).to(torch.int16).to(kind)
            elif part.endswith(".scale"):
                state[part] = (values * 0.01).half()
            elif len(size) == 1:  # weights and variances of norms stand around 1
                centre = 0.0 if part.endswith(("bias", "running_mean")) else 1.0
                state[part] = (values * 0.1 + centre).half()
            else:  # as large on the way out as on the way in
                state[part] = (values * (2 / (values[0].numel())) ** 0.5).half()
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})

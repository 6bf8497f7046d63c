"""Which modules of a model are held in 8 or 4 bits, what that takes, and whether it came out so.

In: a model on the meta device, or loaded. Out: bitsandbytes' configuration, bytes of weights, the
modules by full dotted path. Vision tower, projector and output head always keep 16 bits.
"""

from collections.abc import Collection, Iterator
from typing import Any, cast

import torch
from transformers import BitsAndBytesConfig, PreTrainedModel

from vlm import memory
from vlm.errors import ModelError

CPU_BLOCK = (32, 64)
"""bitsandbytes lays 4-bit weights out in such blocks on CPUs with AVX512-BF16; others crash it."""

BLOCK = 64
"""Weights that share a scale in 4 bits."""
NESTED_BLOCK = 256
"""Scales of 8 bits that share one of 32 bits: bitsandbytes' double quantisation."""
TABLES = 16 * 4 + 256 * 4 + 4
"""Bytes of a layer's tables in 4 bits: values of a weight, of a scale, mean of the scales."""
PACKED_TABLES = 16 * 4 + 4
"""What is left of them once a CPU has laid the weights out for its kernels."""

FOUR_BITS = ("nf4", "fp4")
KINDS = ("int8", *FOUR_BITS)
"""Those of bitsandbytes."""


# ---- which modules ----


def unquantised_modules(model: PreTrainedModel, block: tuple[int, int] = (1, 1)) -> list[str]:
    """Full dotted names of the modules that keep 16 bits: all but the language model's layers.

    They are found by structure: what does not lie inside the text decoder (vision tower,
    projector), and the output head.

    Args:
        model: may be on the meta device.
        block: (rows, columns) of which a layer's weight must be a multiple to be quantised.
    """
    names = {module: name for name, module in model.named_modules()}
    decoder = names[model.get_decoder()]
    kept: list[str] = []
    for name, module in model.named_modules():
        inside = name == decoder or name.startswith(decoder + ".")
        if not inside and isinstance(module, torch.nn.Linear | torch.nn.Conv2d | torch.nn.Conv3d):
            kept.append(_outermost(name, decoder))
        elif isinstance(module, torch.nn.Linear) and (
            module.out_features % block[0] or module.in_features % block[1]
        ):
            kept.append(name)
    return sorted(set(kept))


def _outermost(name: str, decoder: str) -> str:
    """The longest way up from a module that does not also hold the decoder."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        prefix = ".".join(parts[:end])
        if prefix != decoder and not decoder.startswith(prefix + "."):
            return prefix
    return name


def block_of(quantization: str, device: torch.device) -> tuple[int, int]:
    """(rows, columns) of which a weight must be a multiple to be quantised on a device."""
    return CPU_BLOCK if quantization in FOUR_BITS and device.type == "cpu" else (1, 1)


def layers_to_quantise(
    model: PreTrainedModel, quantization: str, device: torch.device
) -> dict[str, torch.nn.Linear]:
    """The layers that are to be quantised, by full dotted path; none where nothing is."""
    if quantization == "none":
        return {}
    rows, columns = block_of(quantization, device)
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    inside = set(decoder.modules()) - {head}
    return {
        name: module
        for name, module in model.named_modules()
        if type(module) is torch.nn.Linear
        and module in inside
        and not (module.out_features % rows or module.in_features % columns)
    }


def configuration(
    skeleton: PreTrainedModel, quantization: str, dtype: torch.dtype, device: torch.device
) -> BitsAndBytesConfig | None:
    """What `from_pretrained` is told; None where nothing is quantised.

    Args:
        skeleton: the model on the meta device.
        quantization: "none", "int8", "nf4" or "fp4".
        dtype: to compute in, and of what is not quantised.
        device: where the weights will be.
    """
    if quantization == "none":
        return None
    kept = unquantised_modules(skeleton, block_of(quantization, device))
    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=kept,
    )


# ---- what came out ----


def avoid_kernels(model: torch.nn.Module) -> None:
    """4-bit layers of shapes that a CPU's kernels do not take go without them: slower, but right.

    Files may hold such layers when they were written on a GPU, or for one. Without this the first
    answer fails on CPUs with AVX512-BF16.

    Args:
        model: loaded, on any device; what is on a GPU never asks.
    """
    rows, columns = CPU_BLOCK
    for module in model.modules():
        shape = getattr(getattr(getattr(module, "weight", None), "quant_state", None), "shape", ())
        if shape and (shape[0] % rows or shape[1] % columns):
            cast(Any, module).support_avx512bf16_for_cpu = False


def quantised_modules(model: torch.nn.Module) -> dict[str, str]:
    """Full dotted path of every quantised layer of a loaded model -> "int8", "nf4" or "fp4"."""
    found: dict[str, str] = {}
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, torch.Tensor):
            continue
        state = getattr(weight, "quant_state", None)
        if state is not None:
            found[name] = state.quant_type
        elif weight.dtype == torch.int8:
            found[name] = "int8"
    return found


def check_modules(model: torch.nn.Module, intended: Collection[str], quantization: str) -> None:
    """Compares what was quantised with what was to be.

    Args:
        model: loaded.
        intended: full dotted paths, as `layers_to_quantise` found them before.
        quantization: "none", "int8", "nf4" or "fp4".

    Raises:
        ModelError: a layer has other bits than were intended for it.
    """
    wanted = dict.fromkeys(intended, quantization)
    found = quantised_modules(model)
    different = sorted(
        name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
    )
    if different:
        first = different[0]
        raise ModelError(
            "quantised_otherwise",
            count=len(different),
            name=first,
            got=found.get(first, "16 bit"),
            expected=wanted.get(first, "16 bit"),
        )


# ---- bytes ----


def quantised_bytes(layer: torch.nn.Linear, quantization: str, packed: bool = False) -> int:
    """Bytes of one layer's weight with its scales.

    Args:
        layer: not quantised; may be on the meta device.
        quantization: "int8" (a scale a row), "nf4" or "fp4" (double quantisation).
        packed: as a CPU has laid it out for its kernels: scales in 16 bits.
    """
    numbers = layer.weight.numel()
    if quantization == "int8":
        return numbers + 4 * layer.out_features
    blocks = -(numbers // -BLOCK)
    half = -(numbers // -2)
    if packed:
        return half + 2 * blocks + PACKED_TABLES
    return half + blocks + 4 * -(blocks // -NESTED_BLOCK) + TABLES


def weight_bytes(
    model: PreTrainedModel,
    quantization: str,
    dtype: torch.dtype = torch.bfloat16,
    device: torch.device | None = None,
) -> int:
    """Bytes of a model's parameters, scales and buffers once loaded.

    Args:
        model: not quantised yet; may be on the meta device.
        quantization: "none", "int8", "nf4" or "fp4".
        dtype: of what is not quantised.
        device: where the weights will be; the CPU where none is given.
    """
    layers = layers_to_quantise(model, quantization, device or torch.device("cpu"))
    quantised = {id(layer.weight) for layer in layers.values()}
    plain = {id(each): each for each in model.parameters() if id(each) not in quantised}
    strict = model._keep_in_fp32_modules_strict or ()
    total = sum(quantised_bytes(layer, quantization) for layer in layers.values())
    total += sum(each.numel() * dtype.itemsize for each in plain.values())
    for name, each in model.named_parameters():
        if any(part in name.split(".") for part in strict) and id(each) in plain:
            total += each.numel() * (torch.float32.itemsize - dtype.itemsize)
    return total + sum(each.nbytes for each in model.buffers())


def held_bytes(model: torch.nn.Module) -> int:
    """Bytes that a loaded model's parameters, scales and buffers really take."""
    return sum(held_storages(model).values())


def held_storages(module: torch.nn.Module) -> dict[int, int]:
    """Address -> bytes of every storage behind a loaded module's parameters, scales and buffers."""
    storages = (tensor.untyped_storage() for tensor in _tensors(module))
    return {storage.data_ptr(): storage.nbytes() for storage in storages}


def _tensors(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    for parameter in model.parameters():
        yield parameter.data
        state = getattr(parameter, "quant_state", None)
        scales = [getattr(parameter, "SCB", None)]
        for each in (state, getattr(state, "state2", None)):
            scales += [getattr(each, name, None) for name in ("absmax", "code", "offset")]
        yield from (scale for scale in scales if isinstance(scale, torch.Tensor))
    yield from model.buffers()
    for module in model.modules():  # bitsandbytes moves 8-bit scales here at the first answer
        scale = getattr(getattr(module, "state", None), "SCB", None)
        if isinstance(scale, torch.Tensor):
            yield scale


def choose_quantization(
    model: PreTrainedModel,
    device: torch.device,
    dtype: torch.dtype = torch.bfloat16,
    *,
    spread: bool = False,
) -> str:
    """ "none" where the weights fit into free memory, else "int8", else "nf4".

    Args:
        model: may be on the meta device.
        device: where the weights will be.
        dtype: of what is not quantised.
        spread: whether a device map may put them on other devices too.
    """
    free = memory.everywhere(memory.free_bytes) if spread else memory.free_bytes(device)
    for quantization in ("none", "int8"):
        if weight_bytes(model, quantization, dtype, device) * memory.HEADROOM < free:
            return quantization
    return "nf4"

"""How much memory there is, how much is used, and how much a model's weights will take."""

import sys

import psutil
import torch

BYTES_PER_WEIGHT = {"int8": 1.0, "nf4": 0.53, "fp4": 0.53}
"""Of a quantised weight inside the language model's layers; 4 bits carry their scales."""

HEADROOM = 1.25
"""Weights may take this much less than what is free, to leave room for the work itself."""


OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""In what torch says when memory ran out: of an accelerator, of Linux and macOS, of Windows."""


def ran_out(error: BaseException) -> bool:
    """Whether an exception says that memory ran out. torch has a class for CUDA's only."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def free_bytes(device: torch.device) -> int:
    """Memory that a model could take on the device now, in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def peak_bytes(device: torch.device) -> int:
    """Most memory used so far: the accelerator's tensors, or on a CPU the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def weight_bytes(
    model: torch.nn.Module, quantization: str, dtype: torch.dtype = torch.bfloat16
) -> int:
    """Bytes of a model's weights once loaded.

    Args:
        model: not quantised yet; may be on the meta device.
        quantization: "none", "int8", "nf4" or "fp4".
        dtype: of what is not quantised.
    """
    decoder = model.get_decoder()  # pyright: ignore[reportCallIssue]
    quantised = sum(
        module.weight.numel() for module in decoder.modules() if isinstance(module, torch.nn.Linear)
    )
    others = sum(parameter.numel() for parameter in model.parameters()) - quantised
    return int(
        quantised * BYTES_PER_WEIGHT.get(quantization, dtype.itemsize) + others * dtype.itemsize
    )


def choose_quantization(
    model: torch.nn.Module, device: torch.device, dtype: torch.dtype = torch.bfloat16
) -> str:
    """ "none" where the weights fit into free memory, else "int8", else "nf4"."""
    free = free_bytes(device)
    for quantization in ("none", "int8"):
        if weight_bytes(model, quantization, dtype) * HEADROOM < free:
            return quantization
    return "nf4"

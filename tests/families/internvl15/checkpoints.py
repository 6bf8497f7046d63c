"""Reading back what was written, for the tests of this folder."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForImageTextToText


def read(folder: Path) -> tuple[Any, dict[str, Any]]:
    """(model, what was missing or left over)."""
    both: Any = AutoModelForImageTextToText.from_pretrained(
        folder,
        dtype=torch.float32,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    return both


def tensors_of(folder: Path) -> dict[str, Tensor]:
    """Every tensor in the files of a folder, by its name on disk."""
    return {k: v for file in folder.glob("*.safetensors") for k, v in load_file(file).items()}

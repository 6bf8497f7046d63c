"""Changing the files of a checkpoint, for the tests of this folder."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

PARTS = ("llm", "clip", "adapter")


def configure(folder: Path, file: str = "config.json", **changes: object) -> None:
    """Changes entries of a JSON file; None takes one out."""
    path = folder / file
    config = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {name: value for name, value in config.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def rewrite(file: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Changes the tensors of a file of either kind."""
    if file.suffix == ".safetensors":
        tensors = load_file(file)
        change(tensors)
        save_file(tensors, file, metadata={"format": "pt"})
        return
    tensors = torch.load(file, weights_only=True)
    change(tensors)
    torch.save(tensors, file)

"""What tensors a checkpoint's files hold, compared with those that its model must have.

In: a folder. Only headers are read, so it costs the same for a large file as for a small one, and
a checkpoint that does not fit is refused by name before anything is loaded or filled in at random.
"""

import json
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vlm.errors import ModelError

SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"
INDEX = f"{SAFE}.index.json"

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Where a tensor lies and how large it is."""

    file: Path
    shape: Shape


def stored_tensors(folder: Path) -> dict[str, Stored]:
    """Every tensor in the files that the index names (or in the one file), by its name on disk.

    Safetensors are preferred to pickled files, as `from_pretrained` prefers them.

    Raises:
        ModelError: a file is missing or damaged, or holds more than tensors.
    """
    for name in (SAFE, PICKLED):
        index = folder / f"{name}.index.json"
        if index.exists():
            return _indexed(folder, index)
        if (folder / name).exists():
            return headers(folder / name)
    raise ModelError("file_missing", file=SAFE, index=folder)


def headers(file: Path) -> dict[str, Stored]:
    """The tensors of one file, safetensors or pickled, by name.

    Raises:
        ModelError: it is damaged, or pickled with more in it than tensors.
    """
    if file.suffix == ".safetensors":
        tensors = _open(file)
        return {
            name: Stored(file=file, shape=tuple(tensors.get_slice(name).get_shape()))
            for name in tensors.keys()  # noqa: SIM118 - this is no mapping
        }
    return {
        name: Stored(file=file, shape=tuple(tensor.shape))
        for name, tensor in unpickle(file, device="meta").items()
    }


def unpickle(file: Path, device: str = "cpu") -> dict[str, Tensor]:
    """The tensors of a pickled file; on the device "meta" only their names and shapes.

    Raises:
        ModelError: it is damaged, or holds anything but tensors; nothing in it is ever run.
    """
    try:
        mapped = zipfile.is_zipfile(file)  # older files can only be read whole
        found = torch.load(file, map_location=device, weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise ModelError("pickled_code", source=file) from error
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        raise ModelError("file_damaged", file=file, detail=error) from error
    if not isinstance(found, dict) or not all(isinstance(each, Tensor) for each in found.values()):
        raise ModelError("file_damaged", file=file, detail="it holds more than tensors by name")
    return found


def reader(stored: Mapping[str, Stored]) -> Callable[[str], Tensor]:
    """A function that reads a stored tensor of safetensors by its name on disk."""
    files = {file: _open(file) for file in {each.file for each in stored.values()}}
    return lambda name: files[stored[name].file].get_tensor(name)


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


def _indexed(folder: Path, index: Path) -> dict[str, Stored]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError("file_damaged", file=index, detail=error) from error
    stored: dict[str, Stored] = {}
    for name in names:
        if not (folder / name).exists():
            raise ModelError("file_missing", file=name, index=index)
        stored |= headers(folder / name)
    return stored


def _open(file: Path) -> safe_open:
    try:
        return safe_open(file, framework="pt", device="cpu")
    except (SafetensorError, OSError) as error:
        raise ModelError("file_damaged", file=file, detail=error) from error

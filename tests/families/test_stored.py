"""Headers of checkpoints: the same answer for every kind of file, and a name for what is wrong."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vlm.errors import ModelError
from vlm.families import stored

TENSORS = {"a.weight": torch.zeros(2, 3), "b": torch.zeros(4, dtype=torch.float16)}
SHAPES = {"a.weight": (2, 3), "b": (4,)}


def shapes(found: dict[str, stored.Stored]) -> dict[str, stored.Shape]:
    return {name: each.shape for name, each in found.items()}


@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_file(tmp_path: Path, zipped: bool) -> None:
    torch.save(TENSORS, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    assert shapes(stored.stored_tensors(tmp_path)) == SHAPES


def test_safetensors_come_first(tmp_path: Path) -> None:
    torch.save({"other": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    save_file(TENSORS, tmp_path / "model.safetensors")
    assert shapes(stored.stored_tensors(tmp_path)) == SHAPES


def test_shards_of_pickled_files(tmp_path: Path) -> None:
    for name, tensor in TENSORS.items():
        torch.save({name: tensor}, tmp_path / f"{name}.bin")
    index = {"weight_map": {name: f"{name}.bin" for name in TENSORS}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert shapes(stored.stored_tensors(tmp_path)) == SHAPES
    (tmp_path / "b.bin").unlink()
    with pytest.raises(ModelError, match=r"b\.bin is named in .*index\.json but is not there"):
        stored.stored_tensors(tmp_path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.safetensors is named in"):
        stored.stored_tensors(tmp_path)


def test_code_is_never_run(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"a": Harmful()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickled together with code"):
        stored.stored_tensors(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [{"epoch": 3}, [torch.ones(1)]])
def test_more_than_tensors(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="holds more than tensors"):
        stored.stored_tensors(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_damaged_file(tmp_path: Path, name: str) -> None:
    whole = tmp_path / "whole"
    if name.endswith(".bin"):
        torch.save(TENSORS, whole)
    else:
        save_file(TENSORS, whole)
    for size in (0, 7, 40):
        shutil.copy(whole, tmp_path / name)
        os.truncate(tmp_path / name, size)
        with pytest.raises(ModelError, match=rf"{name}"):
            stored.stored_tensors(tmp_path)

"""Adapters are merged and layers quantised while the published tensors are taken apart."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from vlm.families.internvl15 import files
from vlm.families.internvl15.configuration import InternVLChatConfig
from vlm.families.internvl15.files import published_shapes
from vlm.loading import load

from .checkpoints import read, tensors_of
from .conftest import LANGUAGE_MODELS, Build, language_model


def write_adapted(model: Any, folder: Path, rank: int) -> dict[str, Tensor]:
    """A checkpoint with adapters. Returns the tensors that it stands for, as published."""
    model.save_pretrained(folder)
    plain = tensors_of(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"use_backbone_lora": rank, "use_llm_lora": rank}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    adapted: dict[str, Tensor] = {}
    merged = dict(plain)
    shapes = published_shapes(InternVLChatConfig.from_pretrained(folder))
    for name, shape in shapes.items():
        if ".lora_" in name:
            adapted[name] = torch.randn(shape) * 0.1
        else:
            bare = name.replace("base_model.model.", "").replace(".base_layer", "")
            adapted[name] = plain[bare]
    for name in [name for name in adapted if ".lora_A." in name]:
        bare = name.replace("base_model.model.", "").replace("lora_A.default.", "")
        up = adapted[name.replace("lora_A", "lora_B")]
        merged[bare] = plain[bare] + 2 * up @ adapted[name]
    save_file(adapted, folder / "model.safetensors", metadata={"format": "pt"})
    return merged


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_adapters_are_merged(build: Build, tmp_path: Path, name: str) -> None:
    model: Any = build(vision_config={"qkv_bias": True}, llm_config=language_model(name))
    merged = write_adapted(model, tmp_path / "adapted", rank=3)
    config = InternVLChatConfig.from_pretrained(tmp_path / "adapted")
    files.check_files(tmp_path / "adapted", config)
    read_back, report = read(tmp_path / "adapted")
    assert not any(report.values())
    read_back.save_pretrained(tmp_path / "plain")
    written = tensors_of(tmp_path / "plain")
    assert written.keys() == merged.keys()
    for key, value in merged.items():
        torch.testing.assert_close(written[key], value, msg=key)
    again = InternVLChatConfig.from_pretrained(tmp_path / "plain")
    assert (again.use_backbone_lora, again.use_llm_lora) == (0, 0)


def test_adapters_change_what_they_adapt(build: Build, prompt: Any, tmp_path: Path) -> None:
    model = build()
    before = model(**prompt).logits
    write_adapted(model, tmp_path, rank=2)
    assert (read(tmp_path)[0](**prompt).logits - before).abs().max() > 0.1


# ---- quantising on the way ----


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_only_the_language_model_is_quantised(source: str, quantization: str) -> None:
    loaded = load(source, quantization=quantization, device="cpu", dtype="float32")
    kinds = {
        name: type(module).__name__
        for name, module in loaded.model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    packed = {
        name for name, kind in kinds.items() if kind.startswith("Linear") and kind != "Linear"
    }
    layers = {name for name in kinds if "language_model.layers" in name}
    assert packed == layers
    assert len(layers) == 2 * 7
    ids = torch.tensor([[1, 5, 6, 7]])
    assert loaded.model(input_ids=ids).logits.isfinite().all()


def copy_tokenizer(source: str, folder: Path) -> str:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((Path(source) / name).read_bytes())
    return str(folder)


def packed_layers(model: Any) -> set[str]:
    """Names of the linear layers of the first block that are held in 4 bits."""
    block = model.model.language_model.layers[0]
    return {name for name, module in block.named_modules() if "4bit" in type(module).__name__}


@pytest.mark.parametrize("adapted", [False, True])
def test_parts_that_are_too_small_stay_as_they_are(
    build: Build, source: str, tmp_path: Path, adapted: bool
) -> None:
    """One key head of 16 rows: the kernels of a CPU want 32."""
    model: Any = build(llm_config={"num_key_value_heads": 1})
    write_adapted(model, tmp_path, rank=2) if adapted else model.save_pretrained(tmp_path)
    loaded = load(
        copy_tokenizer(source, tmp_path), quantization="nf4", device="cpu", dtype="float32"
    )
    packed = packed_layers(loaded.model)
    assert "self_attn.q_proj" in packed
    assert not {"self_attn.k_proj", "self_attn.v_proj"} & packed
    assert loaded.model(input_ids=torch.tensor([[1, 5, 6]])).logits.isfinite().all()


def test_quantising_a_split_file_is_quantising_its_parts(source: str, tmp_path: Path) -> None:
    plain = load(source, quantization="none", device="cpu", dtype="float32")
    plain.model.save_pretrained(tmp_path, save_original_format=False)
    ids = torch.tensor([[1, 5, 6, 7]])
    both = [
        load(folder, quantization="nf4", device="cpu", dtype="float32").model(input_ids=ids)
        for folder in (source, copy_tokenizer(source, tmp_path))
    ]
    assert torch.equal(both[0].logits, both[1].logits)


def test_four_bits_survive_saving_and_loading(source: str, tmp_path: Path) -> None:
    first = load(source, quantization="nf4", device="cpu", dtype="float32").model
    first.save_pretrained(tmp_path, save_original_format=False)
    again = load(
        copy_tokenizer(source, tmp_path), quantization="auto", device="cpu", dtype="float32"
    )
    ids = torch.tensor([[1, 5, 6, 7]])
    assert packed_layers(again.model) == packed_layers(first)
    assert torch.equal(again.model(input_ids=ids).logits, first(input_ids=ids).logits)

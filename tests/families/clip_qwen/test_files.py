"""Nothing incomplete loads silently, and what is wrong is named."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.support.shapes import shards
from vlm.errors import ModelError
from vlm.families.clip_qwen import files, open
from vlm.families.clip_qwen.configuration import ClipQwenConfig
from vlm.families.stored import INDEX
from vlm.loading import load

from .checkpoints import configure, rewrite

FILES = {
    "llm": "model.safetensors",
    "clip": "model.safetensors",
    "adapter": "adapter_model.bin",
    "projector": "other_params.bin",
}


def path(folder: Path, part: str) -> Path:
    return folder / ("adapter" if part == "projector" else part) / FILES[part]


TENSORS = [
    ("llm", "transformer.h.1.attn.c_attn.bias"),
    ("llm", "transformer.h.0.mlp.c_proj.weight"),
    ("llm", "lm_head.weight"),
    ("clip", "vision_model.pre_layrnorm.weight"),
    ("clip", "vision_model.encoder.layers.1.mlp.fc2.bias"),
    ("adapter", "base_model.model.transformer.h.1.mlp.w2.lora_B.weight"),
    ("projector", "2.bias"),
]


@pytest.mark.parametrize(("part", "name"), TENSORS)
def test_missing_tensor(copied: Path, part: str, name: str) -> None:
    rewrite(path(copied, part), lambda tensors: tensors.pop(name))
    with pytest.raises(ModelError, match=f"tensors, but .* missing: {name}"):
        open(str(copied))


@pytest.mark.parametrize(("part", "name"), TENSORS)
def test_wrong_shape(copied: Path, part: str, name: str) -> None:
    rewrite(path(copied, part), lambda tensors: tensors.update({name: torch.zeros(5, 7)}))
    with pytest.raises(ModelError, match=rf"{name} in .*{FILES[part]} has the shape \(5, 7\)"):
        open(str(copied))


@pytest.mark.parametrize("part", FILES)
def test_unexpected_tensor(copied: Path, part: str) -> None:
    rewrite(path(copied, part), lambda tensors: tensors.update({"more.weight": torch.ones(3)}))
    with pytest.raises(ModelError, match=rf"{FILES[part]} holds .* no known use: more\.weight"):
        open(str(copied))


@pytest.mark.parametrize("part", ["llm", "clip"])
def test_missing_file_of_an_index(copied: Path, part: str) -> None:
    last = shards(copied / part)
    open(str(copied))
    last.unlink()
    with pytest.raises(ModelError, match=rf"{last.name} is named in .*{part}.*{INDEX}"):
        open(str(copied))


def test_what_is_of_no_use_is_left_out(copied: Path) -> None:
    more = {
        "vision_model.embeddings.position_ids": torch.arange(5)[None],
        "text_model.embeddings.position_ids": torch.arange(5)[None],
    }
    rewrite(path(copied, "clip"), lambda tensors: tensors.update(more))
    tables = {
        "transformer.rotary_emb.inv_freq": torch.ones(8),
        "transformer.h.0.attn.masked_bias": torch.ones(1),
    }
    rewrite(path(copied, "llm"), lambda tensors: tensors.update(tables))
    weights: Any = open(str(copied)).weights
    assert not [name for name in weights if "text_model" in name or "position_ids" in name]
    assert not [name for name in weights if "projection" in name or name == "logit_scale"]
    assert not tables.keys() & weights.keys()


def test_a_saved_folder_is_checked_too(loaded: Any, tmp_path: Path) -> None:
    loaded.model.save_pretrained(tmp_path)
    loaded.processor.save_pretrained(tmp_path)
    name = "model.language_model.layers.0.mlp.up_proj.weight"
    rewrite(tmp_path / "model.safetensors", lambda tensors: tensors.pop(name))
    with pytest.raises(ModelError, match=f"missing: {name}"):
        open(str(tmp_path))


# ---- configuration ----


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seq_length": None}, "seq_length = None, but a whole number"),
        ({"hidden_size": None}, "hidden_size = None"),
        ({"num_hidden_layers": "2"}, "num_hidden_layers = 2, but a whole number"),
        ({"rotary_pct": 0.5}, r"rotary_pct = 0\.5, but 1\.0 is expected"),
        ({"kv_channels": 32}, r"kv_channels = 32, but 16\.0 is expected"),
        ({"num_hidden_layers": 3}, r"missing: transformer\.h\.2"),
        ({"num_hidden_layers": 1}, r"no known use: transformer\.h\.1"),
        ({"no_bias": False}, r"missing: transformer\.h\.0\.attn\.c_proj\.bias"),
        ({"intermediate_size": 128}, r"shape \(128, 64\), but \(64, 64\)"),
    ],
)
def test_a_configuration_that_does_not_fit(copied: Path, changes: dict, message: str) -> None:
    configure(copied / "llm", **changes)
    with pytest.raises(ModelError, match=message):
        open(str(copied))


def test_as_many_placeholders_as_patches(source: str) -> None:
    config = open(source).config.to_dict()
    assert config["image_context_length"] == 4
    with pytest.raises(ModelError, match=r"image_context_length = 256, but 4 \(2 x 2 patches\)"):
        ClipQwenConfig(**config | {"image_context_length": 256})


# ---- adapter and projector ----


def test_a_projector_for_another_language_model(copied: Path) -> None:
    def widen(tensors: dict) -> None:
        tensors.update({"0.weight": torch.ones(96, 32), "0.bias": torch.ones(96)})
        tensors.update({"2.weight": torch.ones(96, 96), "2.bias": torch.ones(96)})

    rewrite(path(copied, "projector"), widen)
    with pytest.raises(ModelError, match=r"leads from width 32 -> 96, but .* are 32 -> 64 wide"):
        open(str(copied))


def test_an_adapter_of_other_layers(copied: Path) -> None:
    def move(tensors: dict) -> None:
        for name in [name for name in tensors if ".h.1." in name]:
            tensors[name.replace(".h.1.", ".h.30.")] = tensors.pop(name)

    rewrite(path(copied, "adapter"), move)
    with pytest.raises(ModelError, match=r"missing: base_model\.model\.transformer\.h\.1\."):
        open(str(copied))


@pytest.mark.parametrize(
    "changes",
    [
        {"peft_type": "IA3"},
        {"bias": "all"},
        {"use_dora": True},
        {"use_rslora": True},
        {"fan_in_fan_out": True},
        {"rank_pattern": {"h.0.attn.c_attn": 4}},
        {"alpha_pattern": {"w1": 8}},
        {"modules_to_save": ["wte"]},
        {"layers_to_transform": [0]},
        {"target_modules": ["c_attn", "W_pack"]},
        {"target_modules": ["wte"]},
        {"target_modules": []},
        {"target_modules": "W_pack"},
        {"target_modules": None},
        {"r": 0},
        {"r": None},
        {"lora_alpha": "32"},
    ],
    ids=str,
)
def test_an_adapter_that_cannot_be_merged(copied: Path, changes: dict[str, object]) -> None:
    configure(copied / "adapter", "adapter_config.json", **changes)
    name = next(iter(changes))
    with pytest.raises(ModelError, match=f"says {name} = .* cannot be merged"):
        open(str(copied))


@pytest.mark.parametrize("text", ["[]", "{", '"x"', "\xff"])
def test_a_damaged_adapter_configuration(copied: Path, text: str) -> None:
    (copied / "adapter" / "adapter_config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ModelError, match=r"adapter_config\.json cannot be read"):
        open(str(copied))


def test_another_rank_than_the_files(copied: Path) -> None:
    configure(copied / "adapter", "adapter_config.json", r=4)
    with pytest.raises(ModelError, match=r"lora_A\.weight .* \(8, 64\), but \(4, 64\)"):
        open(str(copied))


@pytest.mark.parametrize("part", FILES)
def test_a_damaged_file(copied: Path, part: str) -> None:
    whole = path(copied, part).read_bytes()
    path(copied, part).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=f"{FILES[part]} cannot be read"):
        open(str(copied))


def test_layers_are_named_as_peft_does(source: str) -> None:
    text: Any = open(source).config.get_text_config()
    linear = {
        name: files.adapted_layers(Path("x"), targets, text)
        for name, targets in {
            "list": ["c_attn", "w1", "w2"],
            "pattern": r"transformer\.h\.\d+\.(attn\.c_attn|mlp\.w[12])",
            "whole": ["transformer.h.0.attn.c_attn"],
            "shared": ["c_proj"],
        }.items()
    }
    assert len(linear["list"]) == 6
    assert sorted(linear["list"]) == sorted(linear["pattern"])
    assert linear["whole"] == ["transformer.h.0.attn.c_attn"]
    assert {name.split(".")[3] for name in linear["shared"]} == {"attn", "mlp"}


def test_adapters_wait_until_the_model_is_loaded(source: str) -> None:
    """What is opened are the tensors of the files; a merged copy of them would fill memory."""
    weights: Any = open(source).weights
    stored = load_file(Path(source) / "llm" / "model.safetensors")
    name = "transformer.h.0.mlp.w1"
    assert torch.equal(weights[f"{name}.base_layer.weight"], stored[f"{name}.weight"])
    assert f"{name}.weight" not in weights


def test_four_bits_are_saved_and_read_again(source: str, tmp_path: Path) -> None:
    first = load(source, quantization="nf4", device="cpu", dtype="float32")
    first.model.save_pretrained(tmp_path)
    first.processor.save_pretrained(tmp_path)
    assert "quantization_config" in json.loads((tmp_path / "config.json").read_text())
    again = load(str(tmp_path), quantization="auto", device="cpu", dtype="float32")
    ids = torch.tensor([[1, 5, 6, 7]])
    assert torch.equal(again.model(input_ids=ids).logits, first.model(input_ids=ids).logits)

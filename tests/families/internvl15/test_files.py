"""Nothing incomplete loads silently, and what is wrong is named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vlm import families
from vlm.errors import ModelError
from vlm.families import stored
from vlm.families.internvl15 import FAMILY

WEIGHTS = "model.safetensors"


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def configure(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | changes
    file.write_text(json.dumps(config), encoding="utf-8")


def test_whole_checkpoint_is_complete(source: str) -> None:
    opened: Any = FAMILY.open(source)
    assert opened.weights == Path(source)
    assert opened.config.image_token_id == opened.processor.image_token_id


@pytest.mark.parametrize(
    "name",
    [
        "language_model.model.layers.1.attention.wqkv.weight",
        "language_model.output.weight",
        "vision_model.encoder.layers.0.ls2",
        "vision_model.embeddings.position_embedding",
        "mlp1.3.bias",
    ],
)
def test_missing_tensor(copied: Path, name: str) -> None:
    rewrite(copied, lambda tensors: tensors.pop(name))
    with pytest.raises(ModelError, match=f"tensors, but .* missing: {name}"):
        FAMILY.open(str(copied))


def test_unexpected_tensor(copied: Path) -> None:
    rewrite(copied, lambda tensors: tensors.update({"mlp2.weight": torch.ones(3)}))
    with pytest.raises(ModelError, match=r"model\.safetensors holds .* no known use: mlp2"):
        FAMILY.open(str(copied))


def test_tables_of_positions_are_ignored(copied: Path) -> None:
    name = "language_model.model.layers.0.attention.rotary_emb.inv_freq"
    rewrite(copied, lambda tensors: tensors.update({name: torch.ones(8)}))
    FAMILY.open(str(copied))


def test_wrong_shape(copied: Path) -> None:
    name = "language_model.model.layers.0.attention.wqkv.weight"
    rewrite(copied, lambda tensors: tensors.update({name: torch.zeros(100, 64)}))
    with pytest.raises(ModelError, match=r"wqkv\.weight in .* shape \(100, 64\), but \(128, 64\)"):
        FAMILY.open(str(copied))


def test_configuration_of_another_checkpoint(copied: Path) -> None:
    configure(copied, use_llm_lora=8)
    with pytest.raises(ModelError, match=r"missing: language_model\.base_model"):
        FAMILY.open(str(copied))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ps_version", "v3", "v1, v2"),
        ("select_layer", 5, "-4 ... 3"),
        ("select_layer", -5, "-4 ... 3"),
        ("force_image_size", 35, "a multiple of 14"),
        ("max_dynamic_patch", 0, "at least 1"),
    ],
)
def test_a_value_that_no_tensor_contradicts(
    copied: Path, name: str, value: object, expected: str
) -> None:
    """The published code would take another shuffle for it, or fail at the first image."""
    configure(copied, **{name: value})
    with pytest.raises(ModelError, match=rf"config\.json says {name} = {value}, but {expected}"):
        FAMILY.open(str(copied))


def test_missing_shard(copied: Path) -> None:
    tensors = load_file(copied / WEIGHTS)
    (copied / WEIGHTS).unlink()
    names = dict.fromkeys(tensors, "model-00001-of-00001.safetensors")
    (copied / stored.INDEX).write_text(json.dumps({"weight_map": names}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"model-00001-of-00001\.safetensors is named in .*index"):
        FAMILY.open(str(copied))


def test_damaged_file(copied: Path) -> None:
    file = copied / WEIGHTS
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read"):
        FAMILY.open(str(copied))


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": 3}', "{}"])
def test_damaged_index(copied: Path, text: str) -> None:
    (copied / stored.INDEX).write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"index\.json cannot be read"):
        FAMILY.open(str(copied))


def test_unknown_template(copied: Path) -> None:
    configure(copied, template="vicuna_v1")
    with pytest.raises(ModelError, match="prompt format vicuna_v1; known are: internlm2-chat"):
        FAMILY.open(str(copied))


def test_unknown_language_model(copied: Path) -> None:
    configure(copied, llm_config={"architectures": ["BloomForCausalLM"]})
    with pytest.raises(ModelError, match="json is a BloomForCausalLM; known") as caught:
        FAMILY.open(str(copied))
    assert f"in {copied / 'config.json'} is" in str(caught.value)


def test_no_tokenizer(copied: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (copied / name).unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        FAMILY.open(str(copied))


def test_another_tokenizer(copied: Path, source: str) -> None:
    file = copied / "tokenizer.json"
    known = file.read_text(encoding="utf-8")
    file.write_text(known.replace("<IMG_CONTEXT>", "<other>"), encoding="utf-8")
    with pytest.raises(ModelError, match="does not know <IMG_CONTEXT>"):
        FAMILY.open(str(copied))
    FAMILY.open(str(copied), tokenizer=source)


def test_is_found(source: str, tmp_path: Path) -> None:
    assert families.find(source) is FAMILY
    (tmp_path / "config.json").write_text('{"model_type": "internvl"}', encoding="utf-8")
    assert not FAMILY.recognises(str(tmp_path))  # transformers' own

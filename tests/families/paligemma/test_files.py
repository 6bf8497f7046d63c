"""Checkpoints that do not fit together: refused by name, nothing dropped or filled in."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration

from vlm import families
from vlm.errors import ModelError
from vlm.families import common, paligemma, stored
from vlm.families.paligemma import files
from vlm.loading import empty_model, load

FAMILY = paligemma.FAMILY
LAYER = "language_model.model.layers.1."
EMBEDDING = "language_model.model.embed_tokens.weight"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return FAMILY.tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def copied(source: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(source, tmp_path / "copy"))


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = load_file(folder / stored.SAFE)
    change(tensors)
    save_file(tensors, folder / stored.SAFE, metadata={"format": "pt"})


def configure(folder: Path, part: str, **changes: Any) -> None:
    config = common.read_json(str(folder))
    config[part] |= changes
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def refused(folder: Path, words: str) -> None:
    """The loader says so in a sentence of its own, which names the folder."""
    with pytest.raises(ModelError, match=words) as caught:
        load(str(folder), quantization="none", device="cpu", dtype="float32")
    assert str(folder) in str(caught.value)
    assert "Error" not in str(caught.value)


def test_the_published_names_are_those_of_the_files(source: str) -> None:
    config = files.read_config(Path(source))
    names = set(empty_model(config).state_dict()) - {"lm_head.weight"}
    assert {files.published_name(name) for name in names} == set(
        load_file(f"{source}/{stored.SAFE}")
    )


def test_a_tensor_too_many(copied: Path) -> None:
    rewrite(copied, lambda tensors: tensors.update({"language_model.other": torch.ones(2)}))
    refused(copied, r"model\.safetensors holds tensors of no known use: language_model\.other")


def test_a_layer_that_the_configuration_does_not_count(copied: Path) -> None:
    configure(copied, "text_config", num_hidden_layers=1)
    refused(copied, rf"no known use: {LAYER}input_layernorm.*59 found, 50 expected")


def test_a_tensor_that_is_missing(copied: Path) -> None:
    rewrite(copied, lambda tensors: tensors.pop(f"{LAYER}mlp.up_proj.weight"))
    refused(copied, rf"58 tensors, but 59 are expected; missing: {LAYER}mlp\.up_proj\.weight")


def test_a_configuration_with_a_layer_more(copied: Path) -> None:
    configure(copied, "vision_config", num_hidden_layers=3)
    refused(copied, r"missing: vision_tower\.vision_model\.encoder\.layers\.2\.")


def test_a_tensor_of_another_shape(copied: Path) -> None:
    name = f"{LAYER}self_attn.k_proj.weight"
    rewrite(copied, lambda tensors: tensors.update({name: torch.zeros(16, 64)}))
    refused(copied, rf"{name} in .*safetensors has the shape \(16, 64\), but \(32, 64\) is")


def test_a_shard_that_is_missing(copied: Path) -> None:
    names = dict.fromkeys(load_file(copied / stored.SAFE), "model-00001-of-00001.safetensors")
    (copied / stored.SAFE).unlink()
    (copied / stored.INDEX).write_text(json.dumps({"weight_map": names}), encoding="utf-8")
    refused(copied, r"model-00001-of-00001\.safetensors is named in .*index")


@pytest.mark.parametrize("kind", ["llama", "abacus", "", None])
def test_another_language_model(copied: Path, kind: str | None) -> None:
    """Llama's tensors have the same names, but its norms do not add 1."""
    configure(copied, "text_config", model_type=kind)
    refused(copied, rf"The language model in .*config\.json is a {kind or '-'}; known are: gemma,")
    with pytest.raises(ModelError, match="known are: gemma, gemma2"):
        paligemma.inspect(str(copied))


@pytest.mark.parametrize("tied", ["lm_head.weight", "language_model.lm_head.weight"])
def test_the_tied_head_may_be_stored_too(copied: Path, tied: str) -> None:
    rewrite(copied, lambda tensors: tensors.update({tied: tensors[EMBEDDING].clone()}))
    FAMILY.open(str(copied))
    rewrite(copied, lambda tensors: tensors.update({tied: torch.zeros(3, 64)}))
    refused(copied, rf"{tied} in .* has the shape \(3, 64\), but \(1460, 64\)")


def test_tables_of_positions_are_ignored(copied: Path) -> None:
    positions = "vision_tower.vision_model.embeddings.position_ids"
    more = {f"{LAYER}self_attn.rotary_emb.inv_freq": torch.ones(4), positions: torch.arange(4)}
    rewrite(copied, lambda tensors: tensors.update(more))
    load(str(copied), quantization="none", device="cpu", dtype="float32")


@pytest.mark.parametrize("kind", files.LANGUAGE_MODELS)
def test_what_transformers_writes_itself_is_read(copied: Path, kind: str) -> None:
    """The second is PaliGemma 2, with the same names and four norms in a layer."""
    configure(copied, "text_config", model_type=kind)
    torch.manual_seed(0)
    native = PaliGemmaForConditionalGeneration(PaliGemmaConfig.from_pretrained(copied))
    native.save_pretrained(copied)
    loaded = load(str(copied), quantization="none", device="cpu", dtype="float32")
    found = loaded.model.state_dict()
    for name, tensor in native.state_dict().items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_quantised_files_are_left_to_the_loader(
    source: str, copied: Path, quantization: str
) -> None:
    small = load(source, quantization=quantization, device="cpu", dtype="float32")
    small.model.save_pretrained(copied)
    assert load(str(copied), device="cpu", dtype="float32").quantization == quantization


def test_it_can_be_looked_into_without_its_weights(copied: Path) -> None:
    (copied / stored.SAFE).unlink()
    assert families.find(str(copied)) is FAMILY
    assert type(paligemma.inspect(str(copied)).config) is PaliGemmaConfig
    refused(copied, r"model\.safetensors is named in .* but is not there")

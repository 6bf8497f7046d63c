"""Names on disk and in the model: every rule matters, all can be undone, what is wrong is named."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForImageTextToText
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import WeightRenaming

from tests.support.fakes import photo
from tests.support.goldens import Case
from tests.support.shapes import shards
from vlm import families
from vlm.errors import ModelError
from vlm.families.minicpm_v26 import FAMILY, weights
from vlm.families.stored import INDEX
from vlm.loading import Loaded, load
from vlm.messages import user_message
from vlm.reading import PromptReader

WEIGHTS = "model.safetensors"


def read(folder: Path) -> tuple[Any, dict[str, Any]]:
    """(model, what was missing or left over)."""
    both: Any = AutoModelForImageTextToText.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
    )
    return both


def stored_tensors(folder: Path) -> dict[str, Tensor]:
    return {k: v for file in folder.glob("*.safetensors") for k, v in load_file(file).items()}


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def configure(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | changes
    file.write_text(json.dumps(config), encoding="utf-8")


def logits(loaded: Loaded) -> Tensor:
    reader = PromptReader(loaded.model, loaded.processor)
    inputs = reader.prepare([user_message("What!", [photo(size=(150, 60))])], {})
    return loaded.model(**inputs).logits  # pyright: ignore


def as_loaded(folder: Path | str) -> Loaded:
    return load(str(folder), quantization="none", device="cpu", dtype="float32")


# ---- names ----


@pytest.fixture
def mapping() -> Iterator[Callable[[list[Any]], None]]:
    """Puts other rules in place of the real ones, for one test."""
    name = "minicpmv"
    yield lambda rules: register_checkpoint_conversion_mapping(name, rules, overwrite=True)
    register_checkpoint_conversion_mapping(name, weights.loading(), overwrite=True)


@pytest.mark.parametrize(("source", "target"), weights.RENAMES)
def test_a_rule_that_is_left_out_is_missed(
    stored: Case, mapping: Any, source: str, target: str, tmp_path: Path
) -> None:
    """When loading, or at the latest when saving: some beginnings the loader guesses."""
    mapping([WeightRenaming(*rule) for rule in weights.RENAMES if rule != (source, target)])
    model, report = read(stored.folder / "checkpoint")
    model.save_pretrained(tmp_path)
    lost = report["missing_keys"] and report["unexpected_keys"]
    assert (
        lost
        or not stored_tensors(tmp_path).keys()
        <= stored_tensors(stored.folder / "checkpoint").keys()
    )


def test_the_published_file_holds_just_what_is_expected(stored: Case) -> None:
    folder = stored.folder / "checkpoint"
    model, report = read(folder)
    assert not any(report.values())
    found = {name: tuple(each.shape) for name, each in stored_tensors(folder).items()}
    assert weights.published_shapes(model) == found


def test_saving_gives_the_published_file_again(stored: Case, tmp_path: Path) -> None:
    folder = stored.folder / "checkpoint"
    read(folder)[0].save_pretrained(tmp_path)
    before, after = stored_tensors(folder), stored_tensors(tmp_path)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_was_saved_is_read_again_in_shards_too(loaded: Loaded, tmp_path: Path) -> None:
    loaded.model.save_pretrained(tmp_path, max_shard_size="100KB")
    loaded.processor.save_pretrained(tmp_path)
    assert (tmp_path / f"{WEIGHTS}.index.json").exists()
    torch.testing.assert_close(logits(as_loaded(tmp_path)), logits(loaded), rtol=0, atol=0)


def test_the_models_own_names_are_read_as_well(loaded: Loaded, tmp_path: Path) -> None:
    loaded.model.save_pretrained(tmp_path, save_original_format=False)
    loaded.processor.save_pretrained(tmp_path)
    assert all(name.startswith(("model.", "lm_head.")) for name in stored_tensors(tmp_path))
    torch.testing.assert_close(logits(as_loaded(tmp_path)), logits(loaded), rtol=0, atol=0)


def test_pickled_files_are_read_as_well(copied: Path, loaded: Loaded) -> None:
    tensors = load_file(copied / WEIGHTS)
    (copied / WEIGHTS).unlink()
    torch.save(tensors, copied / "pytorch_model.bin")
    torch.testing.assert_close(logits(as_loaded(copied)), logits(loaded), rtol=0, atol=0)


# ---- what is wrong with a file ----


@pytest.mark.parametrize(
    "name",
    [
        "llm.lm_head.weight",
        "llm.model.layers.1.self_attn.k_proj.bias",
        "vpm.encoder.layers.0.self_attn.out_proj.weight",
        "vpm.post_layernorm.weight",
        "resampler.proj",
        "resampler.attn.in_proj_weight",
        "resampler.kv_proj.weight",
    ],
)
def test_a_missing_tensor_is_named(copied: Path, name: str) -> None:
    rewrite(copied, lambda tensors: tensors.pop(name))
    with pytest.raises(ModelError, match=f"tensors, but .* missing: {name}"):
        FAMILY.open(str(copied))


@pytest.mark.parametrize(
    "name", ["resampler.pos_embed", "vpm.head.probe", "vpm.encoder.layers.2.mlp.fc1.bias"]
)
def test_an_unexpected_tensor_is_named(copied: Path, name: str) -> None:
    """Also a last layer of the tower that config.json says was dropped."""
    rewrite(copied, lambda tensors: tensors.update({name: torch.ones(3)}))
    with pytest.raises(ModelError, match=f"holds .* no known use: {name}"):
        FAMILY.open(str(copied))


def test_a_tensor_of_another_shape_is_named(copied: Path) -> None:
    rewrite(copied, lambda tensors: tensors.update({"resampler.query": torch.ones(9, 128)}))
    with pytest.raises(ModelError, match=r"resampler\.query in .* \(9, 128\), but \(4, 128\)"):
        FAMILY.open(str(copied))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"query_num": 9}, r"resampler\.query"),
        ({"drop_vision_last_layer": False}, r"missing: vpm\.encoder\.layers\.2"),
        ({"num_hidden_layers": 1, "layer_types": None}, r"no known use: llm\.model\.layers\.1"),
        ({"hidden_size": 96}, "hidden_size 96"),
    ],
)
def test_a_configuration_that_does_not_fit_is_told(copied: Path, change: Any, why: str) -> None:
    configure(copied, **change)
    with pytest.raises(ModelError, match=why):
        as_loaded(copied)


def test_a_damaged_file_is_named(copied: Path) -> None:
    file = copied / WEIGHTS
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ModelError, match=rf"{WEIGHTS} cannot be read"):
        FAMILY.open(str(copied))


def test_a_missing_file_of_an_index_is_named(copied: Path) -> None:
    last = shards(copied)
    FAMILY.open(str(copied))
    last.unlink()
    with pytest.raises(ModelError, match=rf"{last.name} is named in .*{INDEX}"):
        FAMILY.open(str(copied))


def test_no_weights(copied: Path) -> None:
    (copied / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=WEIGHTS):
        FAMILY.open(str(copied))


def test_a_tied_head_need_not_be_there(copied: Path) -> None:
    rewrite(copied, lambda tensors: tensors.pop("llm.lm_head.weight"))
    configure(copied, tie_word_embeddings=True)
    model: Any = as_loaded(copied).model
    assert model.lm_head.weight is model.get_input_embeddings().weight


@pytest.mark.parametrize(
    ("config", "ours"),
    [
        ({"model_type": "minicpmv", "version": 2.6}, True),
        ({"model_type": "minicpmv", "version": "2.6"}, True),
        ({"model_type": "minicpmv"}, True),
        ({"model_type": "minicpmv", "version": 2.0}, False),
        ({"model_type": "minicpmv", "version": 4.5}, False),
        ({"model_type": "minicpmv4_6"}, False),
        ({}, False),
    ],
)
def test_which_folders_are_ours(tmp_path: Path, config: Any, ours: bool) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert (families.find(str(tmp_path)) is FAMILY) is ours


# ---- few bits ----


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_few_bits_are_for_the_language_model(
    source: str, loaded: Loaded, quantization: str
) -> None:
    import bitsandbytes

    kind = {"nf4": bitsandbytes.nn.Linear4bit, "int8": bitsandbytes.nn.Linear8bitLt}[quantization]
    small = load(source, quantization=quantization, device="cpu", dtype="float32")
    packed = {name for name, each in small.model.named_modules() if isinstance(each, kind)}
    parts = [f"self_attn.{each}_proj" for each in "qkvo"]
    parts += [f"mlp.{each}_proj" for each in ("gate", "up", "down")]
    layers = [f"model.language_model.layers.{number}" for number in range(2)]
    assert packed == {f"{layer}.{part}" for layer in layers for part in parts}
    gap = (logits(small) - logits(loaded)).abs().mean() / logits(loaded).abs().mean()
    assert 0 < gap < 0.8  # of weights without any pattern


def test_four_bits_are_saved_and_read_again(source: str, tmp_path: Path) -> None:
    small = load(source, quantization="nf4", device="cpu", dtype="float32")
    small.model.save_pretrained(tmp_path, save_original_format=False)
    small.processor.save_pretrained(tmp_path)
    again = load(str(tmp_path), quantization="auto", device="cpu", dtype="float32")
    torch.testing.assert_close(logits(again), logits(small), rtol=0, atol=0)

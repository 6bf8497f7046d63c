"""Sizes are read off tensors; nothing incomplete loads silently, and what is wrong is named."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vlm.errors import ModelError
from vlm.families.minimind_v import FAMILY, weights
from vlm.families.minimind_v.files import INSIDE
from vlm.families.stored import unpickle

from . import golden
from .conftest import write
from .test_modeling import EXPERTS, prompt


def rewrite(source: str, change: Callable[[dict[str, Tensor]], object]) -> None:
    file = source.split("+")[0]
    tensors = {name: each.clone() for name, each in unpickle(Path(file)).items()}
    change(tensors)
    torch.save(tensors, file)


def test_sizes_follow_from_shapes(tmp_path: Path) -> None:
    source, model = write(
        tmp_path, "seed", dim=48, n_layers=3, hidden_dim=72, n_kv_heads=4, **EXPERTS["seed"]
    )
    found, expected = FAMILY.open(source).config.text, model.config.text
    assert found == expected


@pytest.mark.parametrize("experts", [False, True])
def test_sizes_of_the_second_generation(tmp_path: Path, experts: bool) -> None:
    source, model = write(
        tmp_path, "mid", num_hidden_layers=3, **(EXPERTS["mid"] if experts else {})
    )
    assert FAMILY.open(source).config.text == model.config.text


def test_a_norm_tells_how_wide_heads_are(tmp_path: Path) -> None:
    """Four heads of 6 in the stored file, with nothing beside it; other models have eight."""
    head = golden.of("head")  # its tokenizer: byte tokenizers cannot stand in for it
    checkpoint = head.folder / "checkpoint"
    (tmp_path / "sft_vlm.pth").write_bytes(golden.checkpoint(head).read_bytes())
    tower = f"{checkpoint}/siglip2-base-p32-256-ve"
    config = FAMILY.open(f"{tmp_path}/sft_vlm.pth+{tower}+{checkpoint}/hf_export").config.text
    assert (config.num_attention_heads, config.num_key_value_heads, config.head_dim) == (4, 2, 6)
    assert (config.num_experts, config.num_experts_per_tok, config.moe_intermediate_size) == (
        4,
        1,
        64,
    )


def test_settings_beside_a_file(tmp_path: Path) -> None:
    source, _ = write(tmp_path, "seed", n_heads=4)
    said = {"VLMConfig": {"n_heads": 4, "rope_theta": 1e4, "hidden_dim": None}}
    (tmp_path / "upstream_args.json").write_text(json.dumps(said))
    config = FAMILY.open(source).config.text
    assert (config.num_attention_heads, config.head_dim) == (4, 8)
    assert config.rope_parameters["rope_theta"] == 1e4
    (tmp_path / "upstream_args.json").unlink()
    assert FAMILY.open(source).config.text.num_attention_heads == 8  # where nothing is said


def test_heads_that_do_not_fit(tmp_path: Path) -> None:
    source, _ = write(tmp_path, "mid", hidden_size=24, num_attention_heads=4)
    with pytest.raises(ModelError, match="24 rows of queries and 12 of keys, which 8 heads"):
        FAMILY.open(source)


@pytest.mark.parametrize("generation", ["seed", "mid"])
@pytest.mark.parametrize("tower", [True, False])
def test_a_whole_state_dict(tmp_path: Path, generation: str, tower: bool) -> None:
    """The tower inside is the one that is used; its folder only says how it is built."""
    source, model = write(tmp_path, generation)
    vision = model.model.vision_tower
    inside = {f"{INSIDE}vision_model.{n}": t + 0.25 for n, t in vision.state_dict().items()}
    inside |= {
        f"{INSIDE}logit_scale": torch.ones(()),
        f"{INSIDE}text_model.final_layer_norm.bias": torch.ones(3),
        f"{INSIDE}vision_model.embeddings.position_ids": torch.arange(197),
    }
    rewrite(source, lambda tensors: tensors.update(inside))
    file, _, words = source.split("+")
    opened: Any = FAMILY.open(source if tower else f"{file}+{words}")
    heads = 3 if tower else 1  # 24 wide: heads of 64 are the published ones
    assert opened.config.vision.num_attention_heads == heads
    name = f"{INSIDE}vision_model.pre_layrnorm.bias"
    assert torch.equal(opened.weights[name], inside[name])
    loaded = type(model).from_pretrained(
        None, config=opened.config, state_dict=opened.weights, dtype=torch.float32
    )
    assert torch.equal(loaded.model.vision_tower.pre_layrnorm.bias, inside[name])
    assert loaded(**prompt(loaded, "I", "a")).logits.isfinite().all()


@pytest.mark.parametrize(
    "name", ["layers.1.attention.wk.weight", "norm.weight", "vision_proj.vision_proj.0.bias"]
)
def test_missing_tensor(tmp_path: Path, name: str) -> None:
    source, _ = write(tmp_path, "seed")
    rewrite(source, lambda tensors: tensors.pop(name))
    with pytest.raises(ModelError, match=f"missing: {name}"):
        FAMILY.open(source)


def test_a_language_model_alone(tmp_path: Path) -> None:
    source, _ = write(tmp_path, "mid")
    rewrite(
        source,
        lambda tensors: [tensors.pop(name) for name in list(tensors) if "vision_proj" in name],
    )
    with pytest.raises(ModelError, match=r"missing: vision_proj\.vision_proj\.0\.bias"):
        FAMILY.open(source)


def test_unexpected_tensor(tmp_path: Path) -> None:
    source, _ = write(tmp_path, "mid")
    rewrite(source, lambda tensors: tensors.update({"model.layers.0.extra": torch.ones(3)}))
    with pytest.raises(ModelError, match=r"no known use: model\.layers\.0\.extra"):
        FAMILY.open(source)


def test_masks_are_left_out(tmp_path: Path) -> None:
    source, _ = write(tmp_path, "seed")
    mask = {"layers.0.attention.mask": torch.zeros(1, 1, 4, 4)}
    rewrite(source, lambda tensors: tensors.update(mask))
    FAMILY.open(source)


def test_wrong_shape(tmp_path: Path) -> None:
    source, _ = write(tmp_path, "seed")
    name = "layers.1.feed_forward.w2.weight"
    rewrite(source, lambda tensors: tensors.update({name: torch.zeros(32, 5)}))
    with pytest.raises(ModelError, match=r"w2\.weight in .* shape \(32, 5\), but \(32, "):
        FAMILY.open(source)


def test_tower_of_another_width(tmp_path: Path) -> None:
    source, _ = write(tmp_path, "mid")
    name = "vision_proj.vision_proj.0.weight"
    rewrite(source, lambda tensors: tensors.update({name: torch.zeros(32, 768)}))
    with pytest.raises(ModelError, match=r"takes features of width 768, but .* gives 24"):
        FAMILY.open(source)


def test_incomplete_tower(tmp_path: Path) -> None:
    source, model = write(tmp_path, "mid")
    state = dict(model.model.vision_tower.state_dict())
    state.pop("encoder.layers.1.mlp.fc1.bias")
    (tmp_path / "clip" / "model.safetensors").unlink()
    torch.save(state, tmp_path / "clip" / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"clip holds .*missing: encoder\.layers\.1\.mlp\.fc1"):
        FAMILY.open(source)


def test_code_is_never_run(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "ran"),)

    source, _ = write(tmp_path, "mid")
    torch.save({"a": Harmful()}, source.split("+")[0])
    with pytest.raises(ModelError, match="pickled together with code"):
        FAMILY.open(source)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a checkpoint at all"])
def test_damaged_file(tmp_path: Path, content: bytes) -> None:
    source, _ = write(tmp_path, "mid")
    Path(source.split("+")[0]).write_bytes(content)
    with pytest.raises(ModelError) as caught:
        FAMILY.open(source)
    assert caught.value.key in ("file_damaged", "pickled_code")


def test_the_layout_of_march_2026(tmp_path: Path) -> None:
    source, _ = write(tmp_path, "mid")
    march = {"vision_proj.mlp.0.weight": torch.zeros(32, 4 * 24)}
    rewrite(source, lambda tensors: tensors.update(march))
    with pytest.raises(ModelError, match="layout of March 2026"):
        FAMILY.open(source)


@pytest.mark.parametrize("content", [{}, {"conv.weight": torch.ones(3)}])
def test_other_models(tmp_path: Path, content: dict[str, Tensor]) -> None:
    source, _ = write(tmp_path, "mid")
    torch.save(content, source.split("+")[0])
    with pytest.raises(ModelError, match="holds no MiniMind-V model"):
        FAMILY.open(source)


def test_a_saved_folder_is_compared_too(tmp_path: Path) -> None:
    source, model = write(tmp_path, "mid")
    opened = FAMILY.open(source)
    folder = tmp_path / "saved"
    model.config = opened.config
    model.save_pretrained(folder)
    opened.processor.save_pretrained(folder)
    FAMILY.open(str(folder))
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] = 3
    config["text_config"].pop("layer_types")
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"missing: model\.layers\.2\."):
        FAMILY.open(str(folder))


def test_names_of_heads_and_embeddings() -> None:
    assert weights.HEADS.keys() == weights.EMBEDDINGS.keys() == {"seed", "mid", "head"}

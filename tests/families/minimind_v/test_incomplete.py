"""Tensors that are missing, left over or of another shape, in every generation and in its tower."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.support.shapes import shards
from vlm.errors import ModelError
from vlm.families.minimind_v import FAMILY, files, sources, weights
from vlm.families.minimind_v.sources import Parts
from vlm.families.stored import INDEX, unpickle

from .conftest import build, write

Change = Callable[[dict[str, Tensor]], object]
GENERATIONS = ("seed", "mid", "head")
TENSORS = [
    ("seed", "layers.1.attention_norm.weight"),
    ("seed", "vision_proj.vision_proj.0.bias"),
    ("mid", "model.layers.1.self_attn.k_proj.weight"),
    ("mid", "model.layers.0.input_layernorm.weight"),
    ("mid", "model.layers.1.mlp.down_proj.weight"),
    ("mid", "model.norm.weight"),
    ("mid", "vision_proj.vision_proj.0.bias"),
    ("head", "model.layers.1.self_attn.q_norm.weight"),
    ("head", "model.layers.1.self_attn.o_proj.weight"),
    ("head", "model.layers.0.post_attention_layernorm.weight"),
    ("head", "model.layers.1.mlp.up_proj.weight"),
    ("head", "model.norm.weight"),
    ("head", "vision_proj.mlp.0.bias"),
    ("head", "vision_proj.mlp.3.weight"),
]
TOWER_TENSORS = [
    "embeddings.patch_embedding.weight",
    "encoder.layers.1.self_attn.q_proj.bias",
    "encoder.layers.0.layer_norm2.weight",
    "post_layernorm.bias",
]


def parts(folder: Path, generation: str) -> Parts:
    """A `.pth` and a tower that are whole."""
    model = build(generation)
    model.model.vision_tower.save_pretrained(folder / "tower")
    torch.save(weights.published_state(model), folder / "model.pth")
    return Parts(language=folder / "model.pth", tower=folder / "tower", settings=HEADS[generation])


HEADS = {
    "seed": {"n_heads": 4},
    "mid": {"num_attention_heads": 4},
    "head": {},
}
"""How many heads the models here have, where shapes do not tell."""


def rewrite(place: Parts, change: Change, tower: bool = False) -> None:
    if tower:
        assert place.tower is not None
        file = place.tower / "model.safetensors"
        tensors = load_file(file)
        change(tensors)
        save_file(tensors, file, metadata={"format": "pt"})
        return
    tensors = {name: each.clone() for name, each in unpickle(place.language).items()}
    change(tensors)
    torch.save(tensors, place.language)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_whole_ones_are_read(generation: str, tmp_path: Path) -> None:
    files.read(parts(tmp_path, generation))


@pytest.mark.parametrize(("generation", "name"), TENSORS)
def test_a_missing_tensor_is_named(generation: str, name: str, tmp_path: Path) -> None:
    place = parts(tmp_path, generation)
    rewrite(place, lambda tensors: tensors.pop(name))
    with pytest.raises(ModelError, match=rf"model\.pth holds .* missing: {name}"):
        files.read(place)


@pytest.mark.parametrize(("generation", "name"), TENSORS)
def test_a_tensor_of_another_shape_is_named(generation: str, name: str, tmp_path: Path) -> None:
    place = parts(tmp_path, generation)
    rewrite(place, lambda tensors: tensors.update({name: torch.zeros(5, 7)}))
    with pytest.raises(ModelError, match=rf"{name} in .*model\.pth has the shape \(5, 7\)"):
        files.read(place)


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("name", ["model.layers.1.more", "layers.0.more", "vision_proj.more"])
def test_a_tensor_of_no_use_is_named(generation: str, name: str, tmp_path: Path) -> None:
    place = parts(tmp_path, generation)
    rewrite(place, lambda tensors: tensors.update({name: torch.ones(3)}))
    with pytest.raises(ModelError, match=rf"model\.pth holds .* no known use: {name}"):
        files.read(place)


# ---- towers ----


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("name", TOWER_TENSORS)
def test_a_tensor_that_a_tower_lacks_is_named(generation: str, name: str, tmp_path: Path) -> None:
    place = parts(tmp_path, generation)
    rewrite(place, lambda tensors: tensors.pop(name), tower=True)
    with pytest.raises(ModelError, match=rf"tower holds .* missing: {name}"):
        files.read(place)


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("name", TOWER_TENSORS)
def test_a_tensor_of_a_tower_of_another_shape_is_named(
    generation: str, name: str, tmp_path: Path
) -> None:
    place = parts(tmp_path, generation)
    rewrite(place, lambda tensors: tensors.update({name: torch.zeros(5, 7)}), tower=True)
    with pytest.raises(ModelError, match=rf"{name} in .*tower.* has the shape \(5, 7\)"):
        files.read(place)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_layer_too_many_in_a_tower_is_named(generation: str, tmp_path: Path) -> None:
    place, name = parts(tmp_path, generation), "encoder.layers.2.mlp.fc1.bias"
    rewrite(place, lambda tensors: tensors.update({name: torch.ones(48)}), tower=True)
    with pytest.raises(ModelError, match=rf"tower.* no known use: {name}"):
        files.read(place)


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("name", ["more.weight", "embeddings.more", "vision_model.more"])
def test_a_tensor_of_a_tower_of_no_use_is_named(generation: str, name: str, tmp_path: Path) -> None:
    place = parts(tmp_path, generation)
    rewrite(place, lambda tensors: tensors.update({name: torch.ones(3)}), tower=True)
    with pytest.raises(ModelError, match=rf"tower.* no known use: {name}"):
        files.read(place)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_what_towers_are_published_with_is_left_out(generation: str, tmp_path: Path) -> None:
    place = parts(tmp_path, generation)
    _, state = files.read(place)
    names = [
        "text_model.encoder.layers.0.mlp.fc1.weight",
        "text_projection.weight",
        "visual_projection.weight",
        "logit_scale",
        "logit_bias",
        "vision_model.head.probe",
        "vision_model.embeddings.position_ids",
    ]
    rewrite(place, lambda tensors: tensors.update({n: torch.ones(3) for n in names}), tower=True)
    assert state.keys() == files.read(place)[1].keys()


@pytest.mark.parametrize("name", list(files.MEASURED))
def test_a_tower_that_is_stored_inside_is_told_by_its_tensors(name: str, tmp_path: Path) -> None:
    """Nothing says how large it is but the tensors themselves."""
    whole = parts(tmp_path, "seed")
    assert whole.tower is not None
    tower = load_file(whole.tower / "model.safetensors")
    inside = {f"vision_encoder.vision_model.{own}": each for own, each in tower.items()}
    place = Parts(language=whole.language, tower=None, settings=whole.settings)
    rewrite(place, lambda tensors: tensors.update(inside))
    full = f"vision_encoder.vision_model.{name}"
    rewrite(place, lambda tensors: tensors.update({full: torch.zeros(7)}))
    with pytest.raises(ModelError, match=rf"{name} in .* has the shape \(7,\)"):
        files.read(place)
    rewrite(place, lambda tensors: tensors.pop(full))
    with pytest.raises(ModelError, match=rf"model\.pth holds .* missing: {name}"):
        files.read(place)


# ---- files that an index names ----


@pytest.mark.parametrize("generation", ["mid", "head"])
def test_a_missing_file_of_an_export_is_named(generation: str, tmp_path: Path) -> None:
    place, folder = parts(tmp_path, generation), tmp_path / "hf_export"
    folder.mkdir()
    state = {name: each.clone() for name, each in unpickle(place.language).items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    settings = {"model_type": sources.MODEL_TYPE, **HEADS[generation]}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    export = Parts(language=folder, tower=place.tower, settings=settings)
    last = shards(folder)
    files.read(export)
    last.unlink()
    with pytest.raises(ModelError, match=rf"{last.name} is named in .*hf_export.*{INDEX}"):
        files.read(export)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_missing_file_of_a_tower_is_named(generation: str, tmp_path: Path) -> None:
    place = parts(tmp_path, generation)
    assert place.tower is not None
    last = shards(place.tower)
    files.read(place)
    last.unlink()
    with pytest.raises(ModelError, match=rf"{last.name} is named in .*tower.*{INDEX}"):
        files.read(place)


def test_a_missing_file_stops_the_whole_source(tmp_path: Path) -> None:
    source, _ = write(tmp_path, "mid")
    last = shards(tmp_path / "clip")
    FAMILY.open(source)
    last.unlink()
    with pytest.raises(ModelError, match=f"{last.name} is named in"):
        FAMILY.open(source)

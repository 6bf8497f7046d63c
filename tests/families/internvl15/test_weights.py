"""Names on disk and in the model: all of it can be undone."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.goldens import cases
from vlm.families.internvl15 import files
from vlm.families.internvl15.configuration import InternVLChatConfig
from vlm.families.internvl15.files import published_shapes

from .checkpoints import read, tensors_of
from .conftest import LANGUAGE_MODELS, Build, language_model, small_config

Shape = tuple[int, ...]


def stored() -> Path:
    """A checkpoint in several files."""
    return next(
        case.folder / "checkpoint"
        for case in cases()
        if case.family == "internvl15"
        and (case.folder / "checkpoint" / "model.safetensors.index.json").exists()
    )


# ---- names ----


@pytest.mark.parametrize("name", LANGUAGE_MODELS[1:])
def test_other_language_models_keep_their_names(name: str) -> None:
    shapes = published_shapes(small_config(llm_config=language_model(name)))
    assert {"language_model.lm_head.weight", "language_model.model.embed_tokens.weight"} <= set(
        shapes
    )
    fused = "language_model.model.layers.0.self_attn.qkv_proj.weight" in shapes
    assert fused == name.startswith("Phi3")


# ---- saving ----


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
@pytest.mark.parametrize("vision", [{}, {"norm_type": "layer_norm", "qkv_bias": True}])
def test_saved_and_loaded_is_the_same(
    build: Build, prompt: Any, tmp_path: Path, name: str, vision: Any
) -> None:
    bias = {"bias": True} if name.startswith("Intern") else {}
    model = build(vision_config=vision, llm_config=language_model(name, **bias))
    model.save_pretrained(tmp_path)
    config = InternVLChatConfig.from_pretrained(tmp_path)
    written = {key: tuple(value.shape) for key, value in tensors_of(tmp_path).items()}
    assert written == published_shapes(config)
    files.check_files(tmp_path, config)
    again, report = read(tmp_path)
    assert not any(report.values())
    assert torch.equal(again(**prompt).logits, model(**prompt).logits)


def test_stored_file_comes_out_as_it_went_in(tmp_path: Path) -> None:
    folder = stored()
    model, _ = read(folder)
    model.save_pretrained(tmp_path)
    before, after = tensors_of(folder), tensors_of(tmp_path)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_names_of_the_model_load_too(build: Build, prompt: Any, tmp_path: Path) -> None:
    model = build()
    model.save_pretrained(tmp_path, save_original_format=False)
    assert "model.vision_tower.embeddings.cls_token" in tensors_of(tmp_path)
    files.check_files(tmp_path, model.config)
    again, report = read(tmp_path)
    assert not any(report.values())
    assert torch.equal(again(**prompt).logits, model(**prompt).logits)

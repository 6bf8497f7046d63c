"""The names of tensors are transformers' own rules: break one, and the stored numbers notice."""

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText
from transformers.conversion_mapping import (
    get_checkpoint_conversion_mapping,
    register_checkpoint_conversion_mapping,
)
from transformers.core_model_loading import WeightRenaming

from tests.support.goldens import Case, Check, cases, load_once
from vlm.errors import ModelError
from vlm.families.paligemma.modeling import LAYOUT

from . import golden

Rules = list[Any]


@pytest.fixture
def mapping() -> Iterator[Callable[[Rules], None]]:
    """Puts other rules in place of the real ones, for one test."""
    right = get_checkpoint_conversion_mapping(LAYOUT)
    load_once.cache_clear()
    yield lambda rules: register_checkpoint_conversion_mapping(LAYOUT, rules, overwrite=True)
    register_checkpoint_conversion_mapping(LAYOUT, right or [], overwrite=True)
    load_once.cache_clear()


@pytest.fixture(scope="module")
def case() -> Case:
    return next(case for case in cases() if case.family == "paligemma")


def missed(case: Case) -> list[str]:
    """What the golden suite says about a case; why, where it cannot even be loaded."""
    check = Check(case)
    try:
        golden.run(replace(case), check)
    except ModelError as error:
        return [str(error)]
    return check.missed


RULES = [
    (rule._original_source_patterns[0], rule._original_target_patterns[0])
    for rule in get_checkpoint_conversion_mapping(LAYOUT) or []
]
"""(on disk, in the model)."""
PAIRS = list(itertools.combinations(RULES, 2))


def renamings(rows: Iterable[tuple[str, str]]) -> Rules:
    return [WeightRenaming(*row) for row in rows]


def names_when_saved(source: Path, folder: Path) -> set[str]:
    """Of the tensors, after they were loaded and saved again."""
    model = AutoModelForImageTextToText.from_pretrained(source, dtype=torch.float32)
    model.save_pretrained(folder)
    return set(load_file(folder / "model.safetensors"))


def test_unbroken_rules_miss_nothing(mapping: Any, case: Case) -> None:
    assert {ours for _, ours in RULES} == {
        "lm_head",
        "model.language_model",
        "model.vision_tower",
        "model.multi_modal_projector",
    }
    assert missed(case) == []


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_exchanged_names_are_missed(mapping: Any, case: Case, one: Any, other: Any) -> None:
    changed = {one: (one[0], other[1]), other: (other[0], one[1])}
    mapping(renamings(changed.get(row, row) for row in RULES))
    assert missed(case)


@pytest.mark.parametrize("row", [row for row in RULES if "lm_head" not in row])
def test_a_rule_that_is_left_out_is_missed_when_saving(
    mapping: Any, case: Case, tmp_path: Path, row: tuple[str, str]
) -> None:
    """On loading, the loader guesses the beginning of these three names, and guesses right."""
    source = case.folder / "checkpoint"
    beginnings = {name.partition(".")[0] for name in load_file(source / "model.safetensors")}

    def kept() -> bool:
        saved = names_when_saved(source, tmp_path)
        return {name.partition(".")[0] for name in saved} == beginnings

    assert kept()
    mapping(renamings(other for other in RULES if other != row))
    assert not kept()


def test_a_head_of_its_own_needs_its_rule(mapping: Any, case: Case, tmp_path: Path) -> None:
    """Tied in every published file; one that was trained apart lies under this name."""
    source = case.folder / "checkpoint"
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = False
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tensors = load_file(source / "model.safetensors")
    head = 2 * tensors["language_model.model.embed_tokens.weight"]
    tensors["language_model.lm_head.weight"] = head
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})

    def read() -> tuple[Any, Any]:
        return AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)

    model, report = read()
    assert not any(report.values())
    assert torch.equal(model.lm_head.weight, head)
    mapping(renamings(row for row in RULES if "lm_head" not in row))
    assert read()[1]["missing_keys"] == {"lm_head.weight"}


ALIKE = [
    (".gate_proj.", ".up_proj."),
    (".input_layernorm.", ".post_attention_layernorm."),
    (".layer_norm1.", ".layer_norm2."),
    ("self_attn.v_proj.bias", "self_attn.out_proj.bias"),
    ("self_attn.q_proj.bias", "self_attn.k_proj.bias"),
    ("vision_tower.vision_model.encoder.layers.0.", "vision_tower.vision_model.encoder.layers.1."),
    ("language_model.model.layers.0.", "language_model.model.layers.1."),
]
"""Tensors of one shape: only the numbers tell."""


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_tensors_of_one_shape_are_told_apart(
    mapping: Any, case: Case, one: str, other: str
) -> None:
    patterns = [re.escape(each) for each in (one, other)]
    turns = [(patterns[0], ".elsewhere."), (patterns[1], one), (r"\.elsewhere\.", other)]
    mapping(renamings([*turns, *RULES]))
    wrong = missed(case)
    assert {"final_hidden_prefill", "prefill_logits_last32", "step_logits"} <= set(wrong)

"""Names on disk and in the model: every rule matters, and all of it can be undone."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.conversion_mapping import register_checkpoint_conversion_mapping

from tests.support.goldens import TOLERANCES, Case, cases
from vlm.families.internvl15 import files, weights
from vlm.families.internvl15.configuration import InternVLChatConfig
from vlm.families.internvl15.files import published_shapes
from vlm.families.internvl15.published import INTERNLM2_20B, VISION_6B, VISION_300M

from .checkpoints import read, tensors_of
from .conftest import LANGUAGE_MODELS, Build, language_model, small_config

Shape = tuple[int, ...]


@pytest.fixture
def mapping() -> Iterator[Callable[[list[weights.Transform]], None]]:
    """Puts other rules in place of the real ones, for one test."""
    yield lambda rules: register_checkpoint_conversion_mapping(
        "internvl_chat", rules, overwrite=True
    )
    register_checkpoint_conversion_mapping("internvl_chat", weights.loading(), overwrite=True)


# ---- stored logits ----


@cache
def stored() -> Case:
    """A case with InternLM2 whose groups have several heads."""
    return next(
        case
        for case in cases()
        if case.family == "internvl15"
        and case.has_images
        and (case.folder / "checkpoint" / "model.safetensors.index.json").exists()
    )


def error(folder: Path) -> tuple[float, list[str]]:
    """(largest difference from the stored logits, names of missing tensors)."""
    case = stored()
    model, report = read(folder)
    model.config.image_token_id = case.data["img_context_token_id"]
    with torch.no_grad():
        logits = model(
            input_ids=case.expected["input_ids"], pixel_values=case.expected["pixel_values"]
        ).logits
    gap = (logits - case.expected["prefill_logits"]).abs().max()
    return float(gap), sorted(report["missing_keys"])


TOLERANCE = TOLERANCES["internvl15"]["logits"][0]


def test_unbroken_rules_meet_the_stored_logits() -> None:
    difference, missing = error(stored().folder / "checkpoint")
    assert difference <= TOLERANCE
    assert missing == []


TABLES = (weights.VISION, weights.PROJECTOR, weights.INTERNLM2, weights.LANGUAGE)
USED = [
    (source, target)
    for table in TABLES
    for source, target in table
    if "_norm" not in target  # this case has no norm of queries and keys
]


@pytest.mark.parametrize(("source", "target"), USED, ids=[target for _, target in USED])
def test_a_name_that_is_left_out_is_missed(mapping: Any, source: str, target: str) -> None:
    rules = weights.loading()
    left = [rule for rule in rules if rule._original_source_patterns != [source]]
    assert len(left) == len(rules) - 1
    mapping(left)
    _, missing = error(stored().folder / "checkpoint")
    assert missing


class ByKind(weights.SplitByGroup):
    """As if the rows were all queries, then all keys, then all values."""

    def convert(
        self, input_dict: Any, source_patterns: Any, target_patterns: Any, **kw: Any
    ) -> Any:
        fused = weights._only(input_dict)
        groups, queries, dim = weights._groups(kw["config"])
        sizes = (groups * queries * dim, groups * dim, groups * dim)
        return dict(zip(target_patterns, fused.split(sizes), strict=True))


class KeysForValues(weights.SplitByGroup):
    """As if the value head came before the key head."""

    def convert(
        self, input_dict: Any, source_patterns: Any, target_patterns: Any, **kw: Any
    ) -> Any:
        rows = super().convert(input_dict, source_patterns, target_patterns, **kw)
        query, key, value = target_patterns
        return {query: rows[query], key: rows[value], value: rows[key]}


class RotaryPairs(weights.SplitByGroup):
    """As if the rotary halves of each head were interleaved."""

    def convert(
        self, input_dict: Any, source_patterns: Any, target_patterns: Any, **kw: Any
    ) -> Any:
        rows = super().convert(input_dict, source_patterns, target_patterns, **kw)
        dim = weights._groups(kw["config"])[2]
        for name in target_patterns[:2]:
            heads = rows[name].unflatten(0, (-1, dim // 2, 2)).transpose(1, 2)
            rows[name] = heads.flatten(0, 2).contiguous()
        return rows


class Turned(weights.Chunk):
    """As if the tower had keys, values, queries."""

    def convert(
        self, input_dict: Any, source_patterns: Any, target_patterns: Any, **kw: Any
    ) -> Any:
        turned = [*target_patterns[1:], target_patterns[0]]
        return super().convert(input_dict, source_patterns, turned, **kw)


def swapped(*pairs: tuple[str, str]) -> list[weights.Transform]:
    """The rules with two tensors exchanged."""
    names = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    rules: list[weights.Transform] = []
    for rule in weights.loading():
        (first, *more), sources = rule._original_target_patterns, rule._original_source_patterns
        if more or first not in names:
            rules.append(rule)
        else:
            rules.append(weights.WeightRenaming(sources[0], names[first]))
    return rules


def with_split(fused: str, split: Any, operation: Any) -> list[weights.Transform]:
    left = [rule for rule in weights.loading() if rule._original_source_patterns != [fused]]
    return [*left, *weights._splits(fused, split, operation)]


BROKEN = {
    "rows by kind": with_split(weights.INTERNLM2_FUSED, weights.INTERNLM2_SPLIT, ByKind()),
    "keys for values": with_split(
        weights.INTERNLM2_FUSED, weights.INTERNLM2_SPLIT, KeysForValues()
    ),
    "rotary pairs": with_split(weights.INTERNLM2_FUSED, weights.INTERNLM2_SPLIT, RotaryPairs()),
    "tower turned": with_split(weights.VISION_FUSED, weights.VISION_SPLIT, Turned(dim=0)),
    "gate for up": swapped((".mlp.gate_proj.", ".mlp.up_proj.")),
    "norms of the tower": swapped((".layernorm_before.", ".layernorm_after.")),
    "scales of the tower": swapped((".lambda_1", ".lambda_2")),
    "norms of the language model": swapped((".input_layernorm.", ".post_attention_layernorm.")),
    "head for embedding": swapped((".embed_tokens.", "lm_head.")),
}


@pytest.mark.parametrize("rules", BROKEN.values(), ids=BROKEN)
def test_stored_logits_notice_a_broken_rule(mapping: Any, rules: Any) -> None:
    mapping(rules)
    difference, missing = error(stored().folder / "checkpoint")
    assert missing or difference > TOLERANCE


# ---- shapes of the whole ----


def full_size(vision: Mapping[str, Any], llm: Mapping[str, Any]) -> InternVLChatConfig:
    return InternVLChatConfig(vision_config=dict(vision), llm_config=dict(llm))


def test_published_shapes_of_26b() -> None:
    shapes = published_shapes(full_size(VISION_6B, INTERNLM2_20B))
    layer, block = "vision_model.encoder.layers.44", "language_model.model.layers.47"
    for name, shape in {
        "vision_model.embeddings.class_embedding": (1, 1, 3200),
        "vision_model.embeddings.position_embedding": (1, 1025, 3200),
        "vision_model.embeddings.patch_embedding.weight": (3200, 3, 14, 14),
        "vision_model.embeddings.patch_embedding.bias": (3200,),
        f"{layer}.attn.qkv.weight": (9600, 3200),
        f"{layer}.attn.q_norm.weight": (3200,),
        f"{layer}.attn.k_norm.weight": (3200,),
        f"{layer}.attn.proj.weight": (3200, 3200),
        f"{layer}.attn.proj.bias": (3200,),
        f"{layer}.norm1.weight": (3200,),
        f"{layer}.norm2.weight": (3200,),
        f"{layer}.ls1": (3200,),
        f"{layer}.ls2": (3200,),
        f"{layer}.mlp.fc1.weight": (12800, 3200),
        f"{layer}.mlp.fc2.bias": (3200,),
        "mlp1.0.weight": (12800,),
        "mlp1.1.weight": (6144, 12800),
        "mlp1.3.weight": (6144, 6144),
        "language_model.model.tok_embeddings.weight": (92553, 6144),
        f"{block}.attention.wqkv.weight": ((48 + 2 * 8) * 128, 6144),
        f"{block}.attention.wo.weight": (6144, 6144),
        f"{block}.feed_forward.w1.weight": (16384, 6144),
        f"{block}.feed_forward.w3.weight": (16384, 6144),
        f"{block}.feed_forward.w2.weight": (6144, 16384),
        f"{block}.attention_norm.weight": (6144,),
        f"{block}.ffn_norm.weight": (6144,),
        "language_model.model.norm.weight": (6144,),
        "language_model.output.weight": (92553, 6144),
    }.items():
        assert shapes[name] == shape, name
    assert f"{layer}.attn.qkv.bias" not in shapes
    assert f"{layer}.norm1.bias" not in shapes
    assert len(shapes) == 4 + 45 * 13 + 6 + 48 * 7 + 3
    numbers = sum(torch.Size(shape).numel() for shape in shapes.values())
    assert numbers == pytest.approx(25.5e9, rel=0.01)


def test_published_shapes_of_the_small_tower() -> None:
    shapes = published_shapes(full_size(VISION_300M, {**INTERNLM2_20B, "bias": True}))
    layer, block = "vision_model.encoder.layers.23", "language_model.model.layers.47"
    assert shapes[f"{layer}.attn.qkv.bias"] == (3072,)
    assert shapes[f"{layer}.norm1.bias"] == (1024,)
    assert f"{layer}.attn.q_norm.weight" not in shapes
    assert shapes[f"{block}.attention.wqkv.bias"] == (64 * 128,)
    assert shapes[f"{block}.attention.wo.bias"] == (6144,)


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
    folder = stored().folder / "checkpoint"
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

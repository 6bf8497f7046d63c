"""Every rule of weights.py, left out or exchanged: stored logits of the published code notice."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers.conversion_mapping import register_checkpoint_conversion_mapping

from tests.support.goldens import TOLERANCES, Case, cases
from vlm.families.internvl15 import weights
from vlm.families.internvl15.configuration import InternVLChatConfig
from vlm.families.internvl15.files import published_shapes

from .breaking import (
    CONVERTERS,
    ByKind,
    KeysForValues,
    RotaryPairs,
    Rules,
    Turned,
    swapped,
    with_operation,
    without,
)
from .checkpoints import read, tensors_of
from .conftest import LANGUAGE_MODELS, Build, language_model

Mapping = Callable[[Rules], None]
TOLERANCE = TOLERANCES["internvl15"]["logits"][0]
RANK = 3
"""Of the adapters that are taken out of stored weights."""


@pytest.fixture
def mapping() -> Iterator[Mapping]:
    """Puts other rules in place of the real ones, for one test."""
    yield lambda rules: register_checkpoint_conversion_mapping(
        "internvl_chat", rules, overwrite=True
    )
    register_checkpoint_conversion_mapping("internvl_chat", weights.loading(), overwrite=True)


# ---- stored logits ----


@cache
def stored(norms: bool, language: str) -> Case:
    """A case with images. Skips by name where `VLM_GOLDENS` holds none.

    Args:
        norms: whether queries and keys of the tower have norms.
        language: the class of the language model.
    """
    for case in cases():
        if case.family != "internvl15" or not case.has_images or case.data.get("questions"):
            continue
        config = json.loads((case.folder / "checkpoint" / "config.json").read_text("utf-8"))
        tower, text = config["vision_config"], config["llm_config"]
        if tower["qk_normalization"] is norms and language in text["architectures"]:
            return case
    pytest.skip(f"no golden of {language} with norms {norms} here: see VLM_GOLDENS")


def plain() -> Case:
    """With InternLM2, whose groups have several heads, and a tower with biases."""
    return stored(False, "InternLM2ForCausalLM")


def llama() -> Case:
    """With norms of queries and keys in the tower."""
    return stored(True, "LlamaForCausalLM")


FORMS = {"plain": plain, "llama": llama}


def notices(case: Case, folder: Path | None = None) -> bool:
    """Whether tensors are missing, or the logits further off than they may be.

    Args:
        case: with the expected logits.
        folder: of the weights; those of the case if it is None.
    """
    model, report = read(folder or case.folder / "checkpoint")
    if report["missing_keys"] or report["mismatched_keys"]:
        return True
    model.config.image_token_id = case.data["img_context_token_id"]
    inputs = {name: case.expected[name] for name in ("input_ids", "pixel_values")}
    gap = (model(**inputs).logits - case.expected["prefill_logits"]).abs().max()
    return not bool(gap <= TOLERANCE)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_unbroken_rules_meet_the_stored_logits(form: Callable[[], Case]) -> None:
    assert not notices(form())


# ---- names ----

SHARED = (*weights.VISION, *weights.PROJECTOR, *weights.LANGUAGE)
NORMS = [row for row in SHARED if row[1] in (".attention.q_norm.", ".attention.k_norm.")]
assert len(NORMS) == 2
NAMES = {
    "plain": [row for row in SHARED if row not in NORMS] + list(weights.INTERNLM2),
    "llama": list(SHARED) + list(weights.HEAD),
}
"""Form -> the rows that it needs."""
ROWS = [(form, row) for form, rows in NAMES.items() for row in rows]
IDS = [f"{form} {source}" for form, (source, _) in ROWS]


def test_every_row_of_every_table_is_tried() -> None:
    tables = (weights.VISION, weights.PROJECTOR, weights.LANGUAGE, weights.HEAD, weights.INTERNLM2)
    tried = {row for _, row in ROWS} | set(weights.ADAPTED)
    assert tried == {row for table in (*tables, weights.ADAPTED) for row in table}
    rules = weights.loading()
    renamings = [rule for rule in rules if isinstance(rule, weights.WeightRenaming)]
    assert len(renamings) == len(tried)
    assert len(rules) - len(renamings) == len(CONVERTERS)


@pytest.mark.parametrize(("form", "row"), ROWS, ids=IDS)
def test_a_name_that_is_left_out_is_noticed(mapping: Mapping, form: str, row: Any) -> None:
    mapping(without(row[0]))
    assert notices(FORMS[form]())


@pytest.mark.parametrize(("form", "row"), ROWS, ids=IDS)
def test_a_name_exchanged_with_another_is_noticed(mapping: Mapping, form: str, row: Any) -> None:
    """The next but one: the norms of queries and keys are neighbours, and told apart below."""
    rows = NAMES[form]
    mapping(swapped(row[1], rows[(rows.index(row) + 2) % len(rows)][1]))
    assert notices(FORMS[form]())


ALIKE = [
    ("plain", ".layernorm_before.", ".layernorm_after."),
    ("plain", ".lambda_1", ".lambda_2"),
    ("plain", ".mlp.gate_proj.", ".mlp.up_proj."),
    ("plain", ".input_layernorm.", ".post_attention_layernorm."),
    ("plain", ".embed_tokens.", "lm_head."),
]
"""Tensors of one shape: only the numbers tell."""


@pytest.mark.parametrize(("form", "first", "second"), ALIKE)
def test_tensors_of_one_shape_are_told_apart(
    mapping: Mapping, form: str, first: str, second: str
) -> None:
    mapping(swapped(first, second))
    assert notices(FORMS[form]())


def test_norms_of_queries_and_of_keys_are_told_apart(
    build: Build, mapping: Mapping, tmp_path: Path
) -> None:
    """By their numbers: exchanged, the products of queries and keys are the same ones."""

    def same() -> bool:
        norm = read(tmp_path)[0].model.vision_tower.encoder.layer[1].attention.q_norm
        return torch.equal(norm.weight, tensors_of(tmp_path)[name])

    name = "vision_model.encoder.layers.1.attn.q_norm.weight"
    build(vision_config={"qk_normalization": True}).save_pretrained(tmp_path)
    assert same()
    mapping(swapped(".attention.q_norm.", ".attention.k_norm."))
    assert not same()


@pytest.mark.parametrize("name", LANGUAGE_MODELS[1:])
@pytest.mark.parametrize(
    "row", [*weights.HEAD, *weights.LANGUAGE, *NORMS], ids=lambda row: row[1].strip(".")
)
def test_language_models_with_native_names_need_their_rows(
    build: Build, mapping: Mapping, tmp_path: Path, name: str, row: Any
) -> None:
    """Llama, Phi3 and Qwen2, of which few are stored: written here, with norms in the tower."""
    norms = {"qk_normalization": True}
    build(vision_config=norms, llm_config=language_model(name)).save_pretrained(tmp_path)
    assert not any(read(tmp_path)[1].values())
    mapping(without(row[0]))
    assert read(tmp_path)[1]["missing_keys"]


# ---- fused rows ----


SPLITS = [
    ("tower", Turned(dim=0)),
    ("language", ByKind()),
    ("language", KeysForValues()),
    ("language", RotaryPairs()),
]
SPLIT_IDS = [f"{name} {type(wrong).__name__}" for name, wrong in SPLITS]


@pytest.mark.parametrize(("name", "wrong"), SPLITS, ids=SPLIT_IDS)
def test_rows_taken_apart_wrongly_are_noticed(mapping: Mapping, name: str, wrong: Any) -> None:
    mapping(with_operation(name, wrong))
    assert notices(plain())


@pytest.mark.parametrize("name", ["tower", "language"])
def test_a_split_that_is_left_out_is_noticed(mapping: Mapping, name: str) -> None:
    mapping(without(*CONVERTERS[name]))
    assert notices(plain())


# ---- adapters ----


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Path]:
    """Stored weights as W - 2 B A and an adapter: what it makes of them is what is stored."""

    @cache
    def make(folder: Path) -> Path:
        return take_out_adapters(folder, tmp_path_factory.mktemp("adapted"))

    return lambda case: make(case.folder / "checkpoint")


def take_out_adapters(folder: Path, target: Path) -> Path:
    """Writes the checkpoint of `folder` with adapters around all linear layers to `target`."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"use_backbone_lora": RANK, "use_llm_lora": RANK}
    (target / "config.json").write_text(json.dumps(config), encoding="utf-8")
    whole, random = tensors_of(folder), torch.Generator().manual_seed(0)
    written: dict[str, Tensor] = {}
    for name, shape in published_shapes(InternVLChatConfig.from_pretrained(target)).items():
        if ".lora_" in name:
            written[name] = torch.randn(shape, generator=random) * 0.2
        else:
            bare = name.replace("base_model.model.", "").replace(".base_layer", "")
            written[name] = whole[bare].clone()
    for name in [name for name in written if ".lora_A." in name]:
        up = written[name.replace(".lora_A.", ".lora_B.")]
        base = written[name.replace(".lora_A.default.", ".base_layer.")]
        base -= 2 * up @ written[name]
    save_file(written, target / "model.safetensors", metadata={"format": "pt"})
    return target


Adapted = Callable[[Case], Path]


@pytest.mark.parametrize("form", ["plain", "llama"])
def test_adapters_give_back_the_stored_logits(adapted: Adapted, form: str) -> None:
    case = FORMS[form]()
    assert not notices(case, adapted(case))


@pytest.mark.parametrize("row", weights.ADAPTED, ids=lambda row: row[0])
def test_a_name_of_adapters_that_is_left_out_is_noticed(
    adapted: Adapted, mapping: Mapping, row: Any
) -> None:
    mapping(without(row[0]))
    assert notices(plain(), adapted(plain()))


@pytest.mark.parametrize("name", [name for name in CONVERTERS if name.startswith("adapted")])
def test_a_merge_that_is_left_out_is_noticed(adapted: Adapted, mapping: Mapping, name: str) -> None:
    mapping(without(*CONVERTERS[name]))
    assert notices(plain(), adapted(plain()))


ADAPTED_SPLITS = [(f"adapted {name}", wrong) for name, wrong in SPLITS]


@pytest.mark.parametrize(("name", "wrong"), ADAPTED_SPLITS, ids=SPLIT_IDS)
def test_merged_rows_taken_apart_the_wrong_way_are_noticed(
    adapted: Adapted, mapping: Mapping, name: str, wrong: Any
) -> None:
    mapping(with_operation(name, wrong))
    assert notices(plain(), adapted(plain()))


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 2.01, -2.0])
def test_another_scale_of_adapters_is_noticed(
    adapted: Adapted, monkeypatch: pytest.MonkeyPatch, scale: float
) -> None:
    monkeypatch.setattr(weights, "ADAPTER_SCALE", scale)
    assert notices(plain(), adapted(plain()))


def up_upside_down(weight: Tensor, down: Tensor, up: Tensor) -> tuple[Tensor, ...]:
    return weight, down, up.flip(0)


def down_backwards(weight: Tensor, down: Tensor, up: Tensor) -> tuple[Tensor, ...]:
    return weight, down.flip(1), up


def ranks_mixed(weight: Tensor, down: Tensor, up: Tensor) -> tuple[Tensor, ...]:
    return weight, down.flip(0), up


def transposed(weight: Tensor, down: Tensor, up: Tensor) -> tuple[Tensor, ...]:
    """Where the layer is square, as if A and B were each other's."""
    return (weight, up.T, down.T) if weight.shape[0] == weight.shape[1] else (weight, down, up)


@pytest.mark.parametrize("change", [up_upside_down, down_backwards, ranks_mixed, transposed])
def test_an_adapter_put_together_the_wrong_way_is_noticed(
    adapted: Adapted, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    right = weights.MergeAdapter.convert

    def wrong(self: Any, input_dict: Any, source_patterns: Any, *rest: Any, **kw: Any) -> Any:
        parts = [weights._first(input_dict[name]) for name in source_patterns]
        broken = dict(zip(source_patterns, change(*parts), strict=True))
        return right(self, broken, source_patterns, *rest, **kw)

    monkeypatch.setattr(weights.MergeAdapter, "convert", wrong)
    assert notices(plain(), adapted(plain()))

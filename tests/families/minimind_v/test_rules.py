"""Every rule of weights.py, left out, exchanged or turned the wrong way: stored numbers notice."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.conversion_mapping import register_checkpoint_conversion_mapping

from tests.support.goldens import Case, Check, load_once
from vlm.errors import ModelError
from vlm.families.minimind_v import modeling, weights
from vlm.families.stored import unpickle
from vlm.loading import load

from . import golden
from .conftest import build, write
from .test_modeling import EXPERTS, prompt

Rules = list[weights.Transform]


@pytest.fixture
def mapping() -> Iterator[Callable[[Rules], None]]:
    """Puts other rules in place of the real ones, for one test."""
    load_once.cache_clear()
    yield lambda rules: register_checkpoint_conversion_mapping("minimind-v", rules, overwrite=True)
    register_checkpoint_conversion_mapping("minimind-v", weights.loading(), overwrite=True)
    load_once.cache_clear()


def missed(case: Case) -> list[str]:
    """What the golden suite says about a case; why, where it cannot even be loaded."""
    check = Check(case)
    try:
        golden.run(replace(case), check)
    except ModelError as error:
        return [str(error)]
    return check.missed


# ---- names ----

TABLES = {
    "seed": (weights.VISION, weights.PROJECTOR, weights.SEED, weights.SEED_LAYERS),
    "mid": (weights.VISION, weights.PROJECTOR, weights.LANGUAGE),
    "head": (weights.VISION, weights.DEEP_PROJECTOR, weights.LANGUAGE),
}
"""Generation -> the tables that it needs."""
ROWS = [
    (generation, source)
    for generation, tables in TABLES.items()
    for table in tables
    for source, _ in table
    if "output" not in source and "shared" not in source  # not in these files; see below
]


def test_every_row_of_every_table_is_tried() -> None:
    tried = {source for _, source in ROWS} | {source for source, _ in weights.TURNED}
    rules = {rule._original_source_patterns[0] for rule in weights.loading()}
    assert sorted(rules - tried) == [r"\.shared_experts\.(w1|w2|w3)\.", r"^output\."]


@pytest.mark.parametrize("case", golden.STORED, ids=lambda case: case.name)
def test_unbroken_rules_are_met(mapping: Any, case: Case) -> None:
    assert missed(case) == []


def without(source: str) -> Rules:
    """The rules but the one with this name on disk."""
    rules = weights.loading()
    left = [rule for rule in rules if rule._original_source_patterns != [source]]
    assert len(left) == len(rules) - 1
    return left


@pytest.mark.parametrize(("generation", "source"), ROWS)
def test_a_name_that_is_left_out_is_missed(mapping: Any, generation: str, source: str) -> None:
    mapping(without(source))
    assert missed(golden.of(generation))


@pytest.mark.parametrize(("generation", "source"), ROWS)
def test_the_loader_guesses_no_name_that_is_left_out(
    mapping: Any, generation: str, source: str, tmp_path: Path
) -> None:
    """The same of a model of each generation that is written here."""
    model = build(generation)
    model.save_pretrained(tmp_path)

    def missing() -> object:
        _, report = type(model).from_pretrained(tmp_path, output_loading_info=True)
        return report["missing_keys"]

    assert not missing()
    mapping(without(source))
    assert missing()


@pytest.mark.parametrize(("generation", "source"), ROWS)
def test_a_name_exchanged_with_the_next_is_missed(
    mapping: Any, generation: str, source: str
) -> None:
    targets = {s: t for table in TABLES[generation] for s, t in table if (generation, s) in ROWS}
    names = list(targets)
    other = names[(names.index(source) + 1) % len(names)]
    mapping(swapped(targets[source], targets[other]))
    assert missed(golden.of(generation))


def swapped(first: str, second: str) -> Rules:
    """The rules with two names in the model exchanged."""
    names = {first: second, second: first}
    rules: Rules = []
    for rule in weights.loading():
        (target,), (source,) = rule._original_target_patterns, rule._original_source_patterns
        if target in names:
            other = weights.WeightRenaming(source, names[target])
            other.scope_prefix, other.base_model_prefix = rule.scope_prefix, rule.base_model_prefix
            rule = other
        rules.append(rule)
    return rules


def turned(source: str, operation: Any) -> Rules:
    """The rules with the rows of one projection turned in another way, or not at all."""
    rules: Rules = []
    for rule in weights.loading():
        if rule._original_source_patterns == [source]:
            names = rule._original_source_patterns[0], rule._original_target_patterns[0]
            scope = rule.scope_prefix, rule.base_model_prefix
            rule = weights.WeightRenaming(*names)
            if operation is not None:
                rule = weights.WeightConverter([names[0]], [names[1]], operations=[operation])
            rule.scope_prefix, rule.base_model_prefix = scope
        rules.append(rule)
    return rules


class WholePairs(weights.PairsToHalves):
    """As if pairs ran over all heads, not within each."""

    def convert(
        self, input_dict: Any, source_patterns: Any, target_patterns: Any, **kw: Any
    ) -> Any:
        rows = weights._only(input_dict)
        return {target_patterns[0]: rows.unflatten(0, (-1, 2)).transpose(0, 1).flatten(0, 1)}


BROKEN = {
    "gate for up": (".gate_proj.", ".up_proj."),
    "norms": (".input_layernorm.", ".post_attention_layernorm."),
    "values for output": (".self_attn.v_proj.", ".self_attn.o_proj."),
    "queries for keys": ("self_attn.q_proj.weight", "self_attn.k_proj.weight"),
}


@pytest.mark.parametrize("names", BROKEN.values(), ids=BROKEN)
def test_stored_numbers_notice_exchanged_names(mapping: Any, names: tuple[str, str]) -> None:
    mapping(swapped(*names))
    assert missed(golden.of("seed"))


QUERIES, KEYS = (source for source, _ in weights.TURNED)
TURNS = {
    "queries not turned": (QUERIES, None),
    "queries turned back": (QUERIES, weights.HalvesToPairs()),
    "queries turned across heads": (QUERIES, WholePairs()),
    "keys not turned": (KEYS, None),
    "keys turned back": (KEYS, weights.HalvesToPairs()),
}
"""The stored model has one head of keys; see below for several."""


@pytest.mark.parametrize(("source", "operation"), TURNS.values(), ids=TURNS)
def test_stored_numbers_notice_rows_turned_the_wrong_way(
    mapping: Any, source: str, operation: Any
) -> None:
    """One projection at a time: both at once may undo each other."""
    mapping(turned(source, operation))
    assert "step_logits" in missed(golden.of("seed"))


def test_keys_are_turned_within_each_of_several_heads(mapping: Any, tmp_path: Path) -> None:
    source, _ = write(tmp_path, "seed", n_heads=4, n_kv_heads=2)
    rows = unpickle(tmp_path / "model.pth")["layers.0.attention.wk.weight"]  # (2 * 8, 32)
    expected = torch.stack(
        [rows[head * 8 + 2 * at + odd] for head in range(2) for odd in range(2) for at in range(4)]
    )

    def keys() -> Tensor:
        again: Any = load(source, quantization="none", device="cpu", dtype="float32").model
        return again.model.language_model.layers[0].self_attn.k_proj.weight

    (tmp_path / "upstream_args.json").write_text('{"VLMConfig": {"n_heads": 4}}')
    assert torch.equal(keys(), expected)
    mapping(turned(KEYS, WholePairs()))
    assert not torch.equal(keys(), expected)


@pytest.mark.parametrize("source", [QUERIES, KEYS])
def test_a_turn_that_is_left_out_is_missed(mapping: Any, source: str) -> None:
    mapping(without(source))
    assert missed(golden.of("seed"))


# ---- a head of its own ----


@pytest.fixture
def doubled(tmp_path: Path) -> Path:
    """The stored checkpoint of the seed generation with a head twice as large: not tied."""
    case = golden.of("seed")
    folder = tmp_path / "checkpoint"
    shutil.copytree(case.folder / "checkpoint", folder)
    file = folder / golden.checkpoint(case).name
    state = {name: tensor.clone() for name, tensor in unpickle(file).items()}
    state[weights.HEADS["seed"]] *= 2
    torch.save(state, file)
    return folder


def last_logits(folder: Path) -> Tensor:
    """(words,) after the stored prompt."""
    case = golden.of("seed")
    loaded = load(str(folder), quantization="none", device="cpu", dtype="float32")
    inputs = golden._inputs(case, Check(case), loaded)
    return loaded.model(**inputs).logits[0, -1]


def is_doubled(logits: Tensor) -> bool:
    expected = 2 * golden.of("seed").expected["step_logits"][0]
    return torch.allclose(logits, expected, atol=4e-4, rtol=1e-4)


def test_a_stored_head_of_its_own_is_used(mapping: Any, doubled: Path) -> None:
    assert is_doubled(last_logits(doubled))


def test_the_name_of_the_head_is_needed(mapping: Any, doubled: Path) -> None:
    mapping(without(r"^output\."))
    with pytest.raises(ModelError, match=r"lm_head"):
        last_logits(doubled)


def test_the_head_taken_for_the_embedding_is_noticed(mapping: Any, doubled: Path) -> None:
    mapping(swapped("lm_head.", "model.language_model.embed_tokens."))
    assert not is_doubled(last_logits(doubled))


def test_the_linear_layers_of_the_deep_projector_are_told_apart(mapping: Any) -> None:
    mapping(
        swapped("model.multi_modal_projector.linear_1.", "model.multi_modal_projector.linear_2.")
    )
    assert missed(golden.of("head"))


def test_stored_numbers_notice_weights_of_experts_that_do_not_add_up(
    mapping: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modeling.MiniMindTextConfig, "renormalises", property(lambda config: False))
    assert "step_logits" in missed(golden.of("head"))


def test_stored_numbers_notice_heads_without_norms(
    mapping: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plain(self: Any, hidden: Tensor) -> Tensor:
        if hidden.ndim == 4:  # (batch, tokens, heads, head dim): queries and keys
            return hidden
        return modeling.Qwen3RMSNorm.forward(self, hidden)

    monkeypatch.setattr(modeling.ScalingRMSNorm, "forward", plain)
    assert "step_logits" in missed(golden.of("head"))


# ---- experts that all tokens share ----


@pytest.mark.parametrize("generation", ["seed", "mid"])
def test_shared_experts_count(generation: str, tmp_path: Path) -> None:
    """Written, read back and run; without them the numbers are others."""
    source, model = write(tmp_path, generation, **EXPERTS[generation])
    again = load(source, quantization="none", device="cpu", dtype="float32").model
    inputs = prompt(model, "a", "@", "a")
    again.config.text.num_experts_per_tok = 2
    logits = model(input_ids=inputs["input_ids"]).logits
    torch.testing.assert_close(again(input_ids=inputs["input_ids"]).logits, logits)
    for layer in again.model.language_model.layers:
        del layer.mlp.shared_experts[-1]
    assert (again(input_ids=inputs["input_ids"]).logits - logits).abs().max() > 1e-2


def test_shared_experts_of_the_seed_generation_need_their_rule(
    mapping: Any, tmp_path: Path
) -> None:
    source, _ = write(tmp_path, "seed", **EXPERTS["seed"])
    mapping([r for r in weights.loading() if "shared" not in r._original_source_patterns[0]])
    with pytest.raises(Exception, match="shared_experts"):
        load(source, quantization="none", device="cpu", dtype="float32")

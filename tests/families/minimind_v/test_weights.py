"""Names on disk and in the model: every rule matters, and all of it can be undone."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers.conversion_mapping import register_checkpoint_conversion_mapping

from tests.support.goldens import Case, Check, load_once
from vlm.families.minimind_v import FAMILY, modeling, weights
from vlm.families.stored import unpickle
from vlm.loading import load

from . import golden
from .conftest import build, write
from .test_modeling import EXPERTS, prompt


@pytest.fixture
def mapping() -> Iterator[Callable[[list[weights.Transform]], None]]:
    """Puts other rules in place of the real ones, for one test."""
    load_once.cache_clear()
    yield lambda rules: register_checkpoint_conversion_mapping("minimind-v", rules, overwrite=True)
    register_checkpoint_conversion_mapping("minimind-v", weights.loading(), overwrite=True)
    load_once.cache_clear()


def missed(case: Case) -> list[str]:
    """What the golden suite says about a case; everything, where it cannot even be loaded."""
    check = Check(case)
    try:
        golden.run(replace(case), check)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    return check.missed


# ---- every rule is seen ----

ROWS = [
    (generation, source)
    for generation, table in (
        ("seed", weights.PROJECTOR),
        ("seed", weights.SEED),
        ("seed", weights.SEED_LAYERS),
        ("head", weights.DEEP_PROJECTOR),
        ("head", weights.LANGUAGE),
        ("head", weights.VISION),
        ("seed", weights.VISION),
    )
    for source, _ in table
    if "output" not in source and "shared" not in source  # not in these files; see below
]


@pytest.mark.parametrize("case", golden.STORED, ids=lambda case: case.name)
def test_unbroken_rules_are_met(mapping: Any, case: Case) -> None:
    assert missed(case) == []


@pytest.mark.parametrize(("generation", "source"), ROWS)
def test_a_name_that_is_left_out_is_missed(mapping: Any, generation: str, source: str) -> None:
    rules = weights.loading()
    left = [rule for rule in rules if rule._original_source_patterns != [source]]
    assert len(left) == len(rules) - 1
    mapping(left)
    assert missed(golden.of(generation))


def swapped(first: str, second: str) -> list[weights.Transform]:
    """The rules with two names in the model exchanged."""
    names = {first: second, second: first}
    rules: list[weights.Transform] = []
    for rule in weights.loading():
        (target,), (source,) = rule._original_target_patterns, rule._original_source_patterns
        if target in names:
            other = weights.WeightRenaming(source, names[target])
            other.scope_prefix, other.base_model_prefix = rule.scope_prefix, rule.base_model_prefix
            rule = other
        rules.append(rule)
    return rules


def without_turning() -> list[weights.Transform]:
    """The seed generation as if its rows were in halves already."""
    rules: list[weights.Transform] = []
    for rule in weights.loading():
        if isinstance(rule, weights.WeightConverter):
            plain = weights.WeightRenaming(
                rule._original_source_patterns[0], rule._original_target_patterns[0]
            )
            plain.scope_prefix, plain.base_model_prefix = rule.scope_prefix, rule.base_model_prefix
            rule = plain
        rules.append(rule)
    return rules


def with_operation(operation: Any) -> list[weights.Transform]:
    rules = weights.loading()
    for rule in rules:
        if isinstance(rule, weights.WeightConverter):
            rule.operations = [operation]
    return rules


class WholePairs(weights.PairsToHalves):
    """As if pairs ran over all heads, not within each."""

    def convert(
        self, input_dict: Any, source_patterns: Any, target_patterns: Any, **kw: Any
    ) -> Any:
        rows = weights._only(input_dict)
        return {target_patterns[0]: rows.unflatten(0, (-1, 2)).transpose(0, 1).flatten(0, 1)}


BROKEN = {
    "gate for up": lambda: swapped(".gate_proj.", ".up_proj."),
    "norms": lambda: swapped(".input_layernorm.", ".post_attention_layernorm."),
    "values for output": lambda: swapped(".self_attn.v_proj.", ".self_attn.o_proj."),
    "rows not turned": without_turning,
    "rows turned back": lambda: with_operation(weights.HalvesToPairs()),
    "rows turned across heads": lambda: with_operation(WholePairs()),
}


@pytest.mark.parametrize("rules", BROKEN.values(), ids=BROKEN)
def test_stored_numbers_notice_a_broken_rule(mapping: Any, rules: Any) -> None:
    mapping(rules())
    assert missed(golden.of("seed"))


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


# ---- there and back ----


def stored_tensors(source: Path) -> dict[str, Tensor]:
    tower = "vision_encoder.vision_model."
    return {
        name: tensor
        for name, tensor in unpickle(source).items()
        if not name.startswith("vision_encoder.") or name.startswith(tower)
    }


@pytest.mark.parametrize("case", golden.STORED, ids=lambda case: case.name)
def test_stored_file_comes_out_as_it_went_in(case: Case, tmp_path: Path) -> None:
    loaded = case.load()
    loaded.model.save_pretrained(tmp_path)
    before, after = (
        stored_tensors(golden.checkpoint(case)),
        load_file(tmp_path / "model.safetensors"),
    )
    head = weights.HEADS[loaded.model.config.generation]
    assert torch.equal(before.pop(head), before[weights.EMBEDDINGS[loaded.model.config.generation]])
    assert before.keys() <= after.keys()
    assert all(torch.equal(tensor.float(), after[name]) for name, tensor in before.items())
    rest = after.keys() - before.keys()
    assert all(name.startswith("vision_encoder.vision_model.") for name in rest)


@pytest.mark.parametrize("generation", ["seed", "mid", "head"])
@pytest.mark.parametrize("original", [True, False])
@pytest.mark.parametrize("experts", [True, False])
def test_saved_and_loaded_is_the_same(
    generation: str, original: bool, experts: bool, tmp_path: Path
) -> None:
    model = build(generation, **(EXPERTS[generation] if experts else {}))
    model.save_pretrained(tmp_path, save_original_format=original)
    again, report = type(model).from_pretrained(
        tmp_path, dtype=torch.float32, output_loading_info=True
    )
    assert not any(report.values())
    tensors, expected = again.state_dict(), model.state_dict()
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], each) for name, each in expected.items())
    inputs = prompt(model, "a", "I", "a")
    torch.testing.assert_close(again(**inputs).logits, model(**inputs).logits)


@pytest.mark.parametrize("generation", ["seed", "mid"])
def test_a_head_of_its_own_is_kept(generation: str, tmp_path: Path) -> None:
    source, model = write(tmp_path, generation)
    file = tmp_path / "model.pth"
    state = unpickle(file)
    state = {name: tensor.clone() for name, tensor in state.items()}
    state[weights.HEADS[generation]] *= 2
    torch.save(state, file)
    loaded = load(source, quantization="none", device="cpu", dtype="float32")
    ids = prompt(model, "a", "@")["input_ids"]
    torch.testing.assert_close(loaded.model(input_ids=ids).logits, 2 * model(input_ids=ids).logits)


def test_four_bits_are_saved_and_loaded(source: str, tmp_path: Path) -> None:
    small = load(source, quantization="nf4", device="cpu", dtype="float32")
    small.model.save_pretrained(tmp_path, save_original_format=False)
    small.processor.save_pretrained(tmp_path)
    opened = FAMILY.open(str(tmp_path))
    again = type(small.model).from_pretrained(
        tmp_path, config=opened.config, dtype=torch.float32, device_map={"": "cpu"}
    )
    inputs = prompt(small.model, "a", "I", "a")
    assert torch.equal(again(**inputs).logits, small.model(**inputs).logits)

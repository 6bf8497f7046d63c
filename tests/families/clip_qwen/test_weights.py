"""Every rule that turns the published tensors into the model's matters to the golden suite."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from transformers.conversion_mapping import register_checkpoint_conversion_mapping

from tests.support.goldens import DEFAULT_ROOT, Case, Check, cases
from vlm.errors import ModelError
from vlm.families.clip_qwen import FAMILY, weights
from vlm.families.clip_qwen.modeling import ClipQwenModel, QwenModel
from vlm.loading import Loaded, load

from . import golden

CASE = next(case for case in cases([DEFAULT_ROOT]) if case.family == FAMILY.name)
"""Its prompt is longer than `seq_length`, so that nothing of the model is idle."""

Rules = list[weights.Transform]
INCOMPLETE = "are expected; missing: |conversion of the weights"


@pytest.fixture
def mapping() -> Iterator[Callable[[Rules], None]]:
    """Puts other rules in place of the real ones, for one test."""
    yield lambda rules: register_checkpoint_conversion_mapping("clip_qwen", rules, overwrite=True)
    register_checkpoint_conversion_mapping("clip_qwen", weights.loading(), overwrite=True)


def missed(monkeypatch: Any, change: Callable[[Loaded], object] = lambda _: None) -> list[str]:
    """What the golden suite finds wrong with the case.

    Args:
        change: done to the model after it was loaded.
    """

    def anew(source: str) -> Loaded:
        loaded = load(source, quantization="none", device="cpu", dtype="float32")
        change(loaded)
        return loaded

    monkeypatch.setattr(golden, "load_once", anew)
    check = Check(Case(family=CASE.family, name=CASE.name, folder=CASE.folder, data=CASE.data))
    golden.run(check.case, check)
    assert check.uncompared == []
    return check.missed


def test_unbroken_rules_miss_nothing(monkeypatch: Any) -> None:
    assert missed(monkeypatch) == []


ROWS = [
    row
    for table in (weights.ADAPTER, weights.VISION, weights.PROJECTOR, weights.LANGUAGE)
    for row in table
]


@pytest.mark.parametrize(("source", "target"), ROWS, ids=[source for source, _ in ROWS])
def test_a_name_that_is_left_out(mapping: Any, monkeypatch: Any, source: str, target: str) -> None:
    rules = weights.loading()
    left = [rule for rule in rules if rule._original_source_patterns != [source]]
    assert len(left) == len(rules) - 1
    mapping(left)
    with pytest.raises(ModelError, match=INCOMPLETE):
        missed(monkeypatch)


@pytest.mark.parametrize("number", range(3), ids=["adapted and fused", "adapted", "fused"])
def test_a_rule_that_is_left_out(mapping: Any, monkeypatch: Any, number: int) -> None:
    rules = weights.loading()
    converters = [rule for rule in rules if isinstance(rule, weights.WeightConverter)]
    assert len(converters) == 3
    mapping([rule for rule in rules if rule is not converters[number]])
    with pytest.raises(ModelError, match=INCOMPLETE):
        missed(monkeypatch)


def exchanged(first: str, second: str) -> Rules:
    """The rules with two rows leading to each other's target."""
    targets = dict(ROWS)
    swap = {first: targets[second], second: targets[first]}
    return [
        weights.WeightRenaming(source, swap[source])
        if (source := rule._original_source_patterns[0]) in swap
        else rule
        for rule in weights.loading()
    ]


def split_otherwise(*order: str) -> Rules:
    """The thirds of the fused projection in another order."""
    rules = [rule for rule in weights.loading() if isinstance(rule, weights.WeightRenaming)]
    names = [f"self_attn.{letter}_proj" for letter in order]
    return [
        *rules,
        weights.WeightConverter(
            [f"{weights.FUSED}.{part}" for part in weights.ADAPTER_PARTS],
            [f"{name}.weight" for name in names],
            operations=[weights.MergeAdapter(), weights.Chunk(dim=0)],
        ),
        weights.WeightConverter(
            list(weights.ADAPTER_PARTS), ["weight"], operations=[weights.MergeAdapter()]
        ),
        weights.WeightConverter([weights.FUSED], names, operations=[weights.Chunk(dim=0)]),
    ]


BROKEN = {
    "gate for up": exchanged(r"\.mlp\.w1\.", r"\.mlp\.w2\."),
    "norms": exchanged(r"\.ln_1\.", r"\.ln_2\."),
    "keys for values": split_otherwise("q", "v", "k"),
    "queries for keys": split_otherwise("k", "q", "v"),
    "values first": split_otherwise("v", "q", "k"),
}


@pytest.mark.parametrize("rules", BROKEN.values(), ids=BROKEN)
def test_what_is_taken_for_something_else(mapping: Any, monkeypatch: Any, rules: Rules) -> None:
    mapping(rules)
    wrong = missed(monkeypatch)
    assert {"prefill_logits", "step_logits", "generated_ids"} <= set(wrong)
    assert "projector_output" not in wrong


SCALES = {
    "left out": lambda config: 0.0,
    "one": lambda config: 1.0,
    "turned over": lambda config: 1 / config.adapter_scale,
    "of another rank": lambda config: 32 / 128,
    "a little off": lambda config: config.adapter_scale * 1.001,
}


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_another_scale_of_the_adapter(monkeypatch: Any, scale: Callable[[Any], float]) -> None:
    monkeypatch.setattr(weights.MergeAdapter, "_scale", lambda self, config: scale(config))
    assert {"prefill_logits", "step_logits"} <= set(missed(monkeypatch))


def test_an_adapter_put_together_the_wrong_way(monkeypatch: Any) -> None:
    """B in the order of another layer's rows: the shapes fit and the numbers do not."""
    plain = weights.MergeAdapter.convert

    def reversed_rows(self: Any, input_dict: Any, *args: Any, **kwargs: Any) -> Any:
        name = weights.ADAPTER_PARTS[-1]
        found = next(each for each in input_dict if each.endswith(name))
        input_dict[found] = [input_dict[found][0].flip(0)]
        return plain(self, input_dict, *args, **kwargs)

    monkeypatch.setattr(weights.MergeAdapter, "convert", reversed_rows)
    assert "prefill_logits" in missed(monkeypatch)


def test_the_adapter_is_merged_in_float32() -> None:
    torch.manual_seed(0)
    weight, down, up = torch.randn(6, 4), torch.randn(3, 4), torch.randn(6, 3)
    names = list(weights.ADAPTER_PARTS)
    parts = [tensor.bfloat16() for tensor in (weight, down, up)]

    class Config:
        adapter_scale = 0.3

    found = weights.MergeAdapter().convert(
        dict(zip(names, [[part] for part in parts], strict=True)), names, ["w"], config=Config()
    )
    exact = parts[0].double() + 0.3 * parts[2].double() @ parts[1].double()
    assert found["w"].dtype == torch.bfloat16
    assert torch.equal(found["w"], exact.float().bfloat16())


# ---- what the model does with them ----


def without_ntk(loaded: Loaded) -> None:
    loaded.model.get_decoder().config.use_dynamic_ntk = False


def without_logn(loaded: Loaded) -> None:
    loaded.model.get_decoder().config.use_logn_attn = False


def with_another_base(loaded: Loaded) -> None:
    loaded.model.get_decoder().config.seq_length *= 2


@pytest.mark.parametrize("change", [without_ntk, without_logn, with_another_base])
def test_scaling_of_long_prompts_matters(monkeypatch: Any, change: Any) -> None:
    wrong = missed(monkeypatch, change)
    assert {"prefill_logits", "step_logits"} <= set(wrong)
    assert "inputs_embeds" not in wrong


def test_scaling_by_the_present_length_is_missed(monkeypatch: Any) -> None:
    """As if the alpha of the angles were one larger at each step."""
    plain = QwenModel._level
    monkeypatch.setattr(
        QwenModel, "_level", lambda self, hidden, *rest: plain(self, hidden, *rest) + 1
    )
    assert "prefill_logits" in missed(monkeypatch)


def features_of(change: Callable[[Any, Any], torch.Tensor]) -> Callable[..., Any]:
    def get_image_features(self: Any, pixel_values: torch.Tensor, **_: object) -> Any:
        outputs = self.vision_tower(pixel_values, output_hidden_states=True)
        outputs.pooler_output = list(self.multi_modal_projector(change(self, outputs)))
        return outputs

    return get_image_features


@pytest.mark.parametrize(
    "change",
    [
        lambda self, outputs: self.vision_tower.post_layernorm(outputs.last_hidden_state)[:, 1:],
        lambda self, outputs: outputs.hidden_states[-2][:, 1:],
        lambda self, outputs: outputs.last_hidden_state[:, :-1],
        lambda self, outputs: outputs.last_hidden_state[:, 1:].flip(1),
    ],
    ids=["with the norm", "the layer before", "with the class token", "backwards"],
)
def test_other_features_are_missed(monkeypatch: Any, change: Any) -> None:
    monkeypatch.setattr(ClipQwenModel, "get_image_features", features_of(change))
    wrong = missed(monkeypatch)
    assert {"projector_output", "prefill_logits"} <= set(wrong)

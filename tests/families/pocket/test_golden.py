"""Every stored value is met in float32, and a blanked photo misses them."""

from typing import Any

import pytest
import torch

from .golden import CASES, EXPECTED, TOLERANCES, ask_case, beyond, differences


@pytest.mark.parametrize("case", CASES)
def test_case(model: Any, processor: Any, case: str) -> None:
    inputs = ask_case(processor, case)
    assert inputs["input_ids"][0].tolist() == CASES[case]["input_ids"]
    tower = model.model.vision_tower(inputs["pixel_values"]).last_hidden_state
    found = differences(case, inputs, model(**inputs), tower)
    print(case, {name: f"{value:.1e}" for name, value in found.items()}, TOLERANCES)
    assert not beyond(found)

    greedy = CASES[case]["greedy_ids"]
    answer = model.generate(**inputs, do_sample=False, max_new_tokens=len(greedy))
    assert answer[0, inputs["input_ids"].shape[1] :].tolist() == greedy


def test_every_stored_tensor_is_compared() -> None:
    kinds = dict.fromkeys(CASES, ("projector", "first_logits"))
    kinds |= {
        file.removesuffix(".png"): ("pixel_sum", "tower")
        for case in CASES.values()
        for file in case["images"]
    }
    assert {f"{name}.{kind}" for name, pair in kinds.items() for kind in pair} == set(EXPECTED)


@pytest.mark.parametrize("case", CASES)
def test_blanked_images_fail(model: Any, processor: Any, case: str) -> None:
    inputs = ask_case(processor, case)
    inputs["pixel_values"] = torch.zeros_like(inputs["pixel_values"])
    tower = model.model.vision_tower(inputs["pixel_values"]).last_hidden_state
    found = differences(case, inputs, model(**inputs), tower)
    assert beyond(found) == set(TOLERANCES)


def test_swapped_images_fail(model: Any, processor: Any) -> None:
    inputs = ask_case(processor, "two")
    inputs["pixel_values"] = inputs["pixel_values"].flip(0)
    tower = model.model.vision_tower(inputs["pixel_values"]).last_hidden_state
    assert beyond(differences("two", inputs, model(**inputs), tower)) == set(TOLERANCES)

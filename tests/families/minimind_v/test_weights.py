"""Names on disk and in the model: all of it can be undone, and nothing is lost on the way."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.support.goldens import Case
from vlm.families.minimind_v import FAMILY, weights
from vlm.families.stored import unpickle
from vlm.loading import load

from . import golden
from .conftest import build, write
from .test_modeling import EXPERTS, prompt

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

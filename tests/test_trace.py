"""The stages of models without a family, and what a tap may ask for."""

from typing import Any

import numpy
import pytest
import torch
from torch import nn

from tests.support.fakes import photo
from vlm.engine import Engine
from vlm.errors import RequestError
from vlm.families import Tap
from vlm.messages import Message, Text, user_message
from vlm.trace import CONVOLUTIONS, _patches, _seen, _stage, native_taps, trace

QUESTION = [user_message("What?", [photo(), photo(size=(40, 90), seed=2)])]


@pytest.fixture(scope="module", params=["llava", "smolvlm", "qwen2_5_vl", "gemma3"])
def engine(request: Any, checkpoints: Any) -> Any:
    engine = Engine.load(str(checkpoints[request.param]), quantization="none", dtype="float32")
    yield engine
    engine.close()


def test_stages_of_a_model_without_a_family(engine: Engine) -> None:
    stages = list(engine.trace(QUESTION))
    names = [stage.name for stage in stages]
    expected = ["input_ids", "pixel_values", "patch_embedding", "vision_tower", "projector"]
    expected += ["inputs_embeds", "final_hidden", "logits"]
    assert [name for name in expected if name in names] == list(dict.fromkeys(names))
    assert set(expected) - set(names) <= {"projector"}  # some are parts of the tower
    for stage in stages:
        assert stage.array.ndim == len(stage.axes)


def test_the_last_stage_is_what_the_model_says(engine: Engine) -> None:
    stages = {stage.name: stage.array for stage in engine.trace(QUESTION)}
    inputs = engine.prepare(QUESTION)
    with torch.inference_mode():
        logits = engine.model(**inputs).logits
    numpy.testing.assert_allclose(stages["logits"], logits.numpy(), rtol=1e-4, atol=1e-4)
    assert stages["input_ids"].tolist() == inputs["input_ids"].tolist()


def test_no_hook_is_left_behind(engine: Engine) -> None:
    def hooks() -> int:
        parts = engine.model.modules()
        return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in parts)

    list(engine.trace(QUESTION))  # transformers leaves some of its own the first time
    before = hooks()
    list(engine.trace(QUESTION))
    assert hooks() == before


def test_what_the_model_refuses_is_raised(engine: Engine) -> None:
    with pytest.raises(RequestError):
        list(engine.trace([Message("tool", (Text("x"),))]))  # type: ignore[arg-type]


class Twice(nn.Module):
    """Calls its part as often as it is told, the second time with a name."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.part, self.widths = nn.Identity(), widths

    def prepare_inputs_for_generation(self, ids: Any, **rest: Any) -> dict[str, Any]:
        return {"input_ids": ids}

    def _prepare_position_ids_for_generation(self, ids: Any, rest: Any) -> None:
        return None

    def forward(self, input_ids: Any) -> None:
        for width in self.widths:
            self.part(input=torch.ones(2, width))


@pytest.mark.parametrize(("widths", "shapes"), [([3, 3], [(4, 3)]), ([3, 5], [(2, 3), (2, 5)])])
@pytest.mark.parametrize("side", ["input", "output"])
def test_calls_are_joined_where_they_fit(widths: Any, shapes: Any, side: Any) -> None:
    value = "input" if side == "input" else ""
    tap = Tap(name="stage", module="part", side=side, value=value, axes="rows, width")
    found = trace(Twice(widths), {"input_ids": torch.zeros(1, 2)}, [tap])  # type: ignore[arg-type]
    assert [stage.array.shape for stage in found] == shapes


def test_a_layout_is_chosen_by_the_number_of_axes() -> None:
    tap = Tap(name="stage", side="input", axes="rows, width|batch, rows, width")

    def stage(tensor: torch.Tensor) -> Any:
        return _stage(tap, [_seen(tensor, 0.0)])

    assert stage(torch.ones(1, 2, 3)).axes == ("batch", "rows", "width")
    half = stage(torch.ones(2, 3, dtype=torch.bfloat16))
    assert (half.array.dtype, half.dtype, half.device) == (numpy.float32, "bfloat16", "cpu")
    with pytest.raises(ValueError, match=r"stage has the shape \(2,\), not rows"):
        stage(torch.ones(2))
    shape = stage(torch.ones(2, 3, device="meta", dtype=torch.bfloat16))
    assert (shape.known, shape.array.shape, shape.array.base is not None) == (False, (2, 3), True)


def test_patches_come_from_the_one_convolution_over_colours(engine: Engine) -> None:
    found = next(tap for tap in native_taps(engine.model) if tap.name == "patch_embedding")
    tower = engine.model.get_encoder(modality="image")
    modules = engine.model.get_submodule(found.module).modules()
    assert sum(isinstance(each, CONVOLUTIONS) and each.in_channels == 3 for each in modules) == 1
    stages = {stage.name: stage for stage in engine.trace(QUESTION)}
    width = stages["patch_embedding"].array.shape[-1]
    assert width == tower.config.hidden_size


def test_a_tower_of_convolutions_has_no_patches() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3))
    assert _patches(nn.ModuleDict({"layers": layers})) is None
    assert _patches(nn.Conv2d(3, 8, 3)) is None
    patches = nn.ModuleDict({"convolution": nn.Conv2d(3, 8, 3)})
    assert _patches(nn.ModuleDict({"patches": patches, "rest": nn.Linear(8, 8)})) is patches


def test_taps_are_found_by_structure(engine: Engine) -> None:
    modules = {tap.module for tap in native_taps(engine.model)}
    assert all(engine.model.get_submodule(name) is not None for name in modules)

"""Embeddings of images are what the model itself makes of them, image by image, in every model."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

from tests.support.fakes import photo
from tests.support.tiny import BUILDERS
from vlm import embedding, families
from vlm.embedding import TOWER, Embedding, ModelEmbedder, _projected, mean_of, open_embedder
from vlm.engine import Engine
from vlm.errors import ModelError, RequestError
from vlm.families import Tap
from vlm.loading import Loaded
from vlm.messages import Image, user_message
from vlm.settings import Settings

IMAGES = (photo(), photo("LA", (333, 57), seed=2))
WITH_TILES = ("internvl15", "minicpm_v26", "smolvlm")
"""Models that see a wide picture as several."""
PROJECTOR_INSIDE = ("gemma4", "minicpm_v4_6", "qwen2_5_vl")
"""Models in which no module of its own gives what goes into the prompt."""


@pytest.fixture(scope="module", params=[*families.NAMES, *BUILDERS])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def settings(name: str, checkpoints: Any, tmp_path_factory: Any) -> Settings:
    if name in BUILDERS:
        source = str(checkpoints[name])
    else:
        source = families.families()[name].tiny(tmp_path_factory.mktemp(name))
    return Settings(model=source, device="cpu", dtype="float32", quantization="none")


@pytest.fixture(scope="module")
def loaded(settings: Settings) -> Loaded:
    embedder = open_embedder(settings, "tower", {})
    assert isinstance(embedder, ModelEmbedder)
    return embedder.loaded


@pytest.fixture(scope="module")
def engine(loaded: Loaded) -> Iterator[Engine]:
    engine = Engine(loaded)
    yield engine
    engine.close()


def traced(engine: Engine, image: Image, stage: str) -> list[Tensor]:
    """The stage of an image in a prompt with words around it."""
    message = [user_message("What is in the picture?", [image])]
    return [torch.from_numpy(each.array) for each in engine.trace(message) if each.name == stage]


@pytest.mark.parametrize("image", IMAGES, ids=["wide", "wider"])
def test_the_tower_is_the_stage_of_the_trace(
    name: str, loaded: Loaded, engine: Engine, image: Image
) -> None:
    found = ModelEmbedder(loaded, "tower", {}).embed(image)
    (expected,) = traced(engine, image, TOWER)
    assert torch.equal(found.features, expected)
    if found.features.ndim == 3:
        assert found.axes == ("tiles", "positions", "width")
        assert (len(found.features) > 1) == (name in WITH_TILES)
    else:
        assert found.axes == ("positions", "width")
    assert found.pooled is not None
    assert found.pooled.shape == found.features.shape[:-2] + found.features.shape[-1:]


@pytest.mark.parametrize("image", IMAGES, ids=["wide", "wider"])
def test_the_projector_is_what_the_model_puts_into_the_prompt(
    name: str, loaded: Loaded, engine: Engine, image: Image
) -> None:
    found = ModelEmbedder(loaded, "projector", {}).embed(image)
    inputs = engine.prepare([user_message("What?", [image])])
    encode: Any = loaded.model.base_model.get_image_features
    taken = inspect.signature(encode).parameters
    with torch.inference_mode():
        output = encode(**{key: value for key, value in inputs.items() if key in taken})
    parts = getattr(output, "pooler_output", output)
    flat = [part.reshape(-1, part.shape[-1]) for part in parts]
    features = found.features.reshape(-1, found.features.shape[-1])
    assert torch.equal(features, torch.cat(flat))
    placeholder = loaded.model.config.image_token_id
    assert len(features) == int((inputs["input_ids"] == placeholder).sum())
    assert len(found.axes) == found.features.ndim
    assert found.pooled is None
    shown = traced(engine, image, "projector")
    if name in PROJECTOR_INSIDE:
        assert sum(each.numel() for each in shown) != features.numel()
    else:
        assert torch.equal(features, torch.cat(shown).reshape(features.shape))


def test_each_image_has_its_own(loaded: Loaded) -> None:
    embedder = ModelEmbedder(loaded, "tower", {})
    first, second, again = (embedder.embed(IMAGES[index]).features for index in (0, 1, 0))
    assert torch.equal(first, again)
    assert first.shape != second.shape or not torch.equal(first, second)


def test_no_hook_is_left_behind(loaded: Loaded) -> None:
    def hooks() -> int:
        parts = loaded.model.modules()
        return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in parts)

    embedder = ModelEmbedder(loaded, "tower", {})
    embedder.embed(IMAGES[0])  # transformers leaves some of its own the first time
    before = hooks()
    embedder.embed(IMAGES[0])
    assert hooks() == before


def test_the_choices_about_images_hold(checkpoints: Any) -> None:
    settings = Settings(model=str(checkpoints["smolvlm"]), device="cpu", dtype="float32")
    shapes = [
        open_embedder(settings, "tower", detail).embed(photo()).features.shape
        for detail in ({}, {"splitting": False})
    ]
    assert [shape[0] for shape in shapes] == [5, 1]
    with pytest.raises(RequestError) as caught:
        open_embedder(settings, "tower", {"wings": 2})
    assert caught.value.key == "image_detail_unknown"


# ---- what a tower says of one image ----


class Model(nn.Module):
    """A model whose tower gives what it is told, as often as it is told.

    As some models do, it puts what its projector makes of that where the pooling was.
    """

    def __init__(self, *outputs: Any) -> None:
        super().__init__()
        self.tower, self.outputs = nn.Identity(), outputs
        self.device = torch.device("cpu")

    @property
    def base_model(self) -> "Model":
        return self

    def get_image_features(self, pixel_values: Any, return_dict: bool) -> None:
        for output in self.outputs:
            self.tower(output)
            output.pooler_output = torch.zeros(7)


def embed(monkeypatch: Any, *outputs: Any, axes: str = "images, positions, width") -> Embedding:
    tap = Tap(name=TOWER, module="tower", side="output", value="last_hidden_state", axes=axes)
    family: Any = SimpleNamespace(stages=(tap,))
    loaded: Any = SimpleNamespace(
        model=Model(*outputs), processor=None, name="Twice", family=family
    )
    inputs: Any = type("Inputs", (dict,), {"to": lambda self, device: self})
    reader = SimpleNamespace(prepare=lambda *_: inputs(pixel_values=0, input_ids=0))
    monkeypatch.setattr(embedding, "PromptReader", lambda *_: reader)
    return ModelEmbedder(loaded, "tower", {}).embed(photo())


def output(shape: tuple[int, ...], pooled: tuple[int, ...] | None = None) -> SimpleNamespace:
    made = SimpleNamespace(last_hidden_state=torch.randn(shape))
    if pooled:
        made.pooler_output = torch.randn(pooled)
    return made


def test_its_own_pooling_is_taken(monkeypatch: Any) -> None:
    both = output((2, 4, 8), (2, 8)), output((1, 4, 8), (1, 8))
    expected = torch.cat([each.pooler_output for each in both])
    found = embed(monkeypatch, *both)
    assert found.own_pooling
    assert found.features.shape == (3, 4, 8)
    assert found.pooled is not None
    assert torch.equal(found.pooled, expected)


@pytest.mark.parametrize("pooled", [None, (2, 3, 8), (6, 8)])
def test_without_a_pooling_it_is_the_mean(monkeypatch: Any, pooled: Any) -> None:
    """What is called so but has other positions is no pooling: some towers merge patches there."""
    found = embed(monkeypatch, made := output((2, 4, 8), pooled))
    assert not found.own_pooling
    assert found.pooled is not None
    torch.testing.assert_close(found.pooled, made.last_hidden_state.mean(dim=1))


def test_a_grid_becomes_positions_row_by_row(monkeypatch: Any) -> None:
    made = output((2, 8, 3, 5))
    found = embed(monkeypatch, made, axes="images, width, rows, columns")
    assert found.axes == ("tiles", "positions", "width")
    assert torch.equal(found.features[1, 6], made.last_hidden_state[1, :, 1, 1])


@pytest.mark.parametrize("outputs", [[], [output((1, 4, 8)), output((1, 5, 8))]])
def test_a_tower_that_is_not_asked_or_in_two_ways(monkeypatch: Any, outputs: Any) -> None:
    with pytest.raises(RequestError, match="Twice does not show what its tower makes"):
        embed(monkeypatch, *outputs)


def test_a_model_that_does_not_show_it() -> None:
    loaded: Any = SimpleNamespace(model=nn.Identity(), name="Plain", family=None, processor=None)
    loaded.model.base_model = loaded.model
    with pytest.raises(RequestError, match="Plain does not show what its projector makes"):
        ModelEmbedder(loaded, "projector", {}).embed(photo())


@pytest.mark.parametrize(
    ("shapes", "together", "axes"),
    [
        ([(4, 8)], (4, 8), ("positions", "width")),
        ([(2, 4, 8)], (2, 4, 8), ("tiles", "positions", "width")),
        ([(4, 8), (4, 8)], (2, 4, 8), ("tiles", "positions", "width")),
        ([(4, 8), (3, 8)], (7, 8), ("positions", "width")),
        ([(1, 4, 8), (2, 4, 8)], (12, 8), ("positions", "width")),
    ],
)
def test_what_a_projector_returns_for_one_image(shapes: Any, together: Any, axes: Any) -> None:
    parts = [torch.randn(shape) for shape in shapes]
    found = _projected(SimpleNamespace(pooler_output=parts))
    assert (found.features.shape, found.axes) == (together, axes)
    assert torch.equal(found.features.flatten(), torch.cat([part.flatten() for part in parts]))


# ---- towers alone ----


@pytest.fixture
def tower(tmp_path: Path) -> str:
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=3,
        image_size=28,
        patch_size=14,
    )
    CLIPVisionModel(config).save_pretrained(tmp_path)
    return str(tmp_path)


def test_a_tower_alone(tower: str) -> None:
    embedder = open_embedder(Settings(model=tower, device="cpu", dtype="bfloat16"), "tower", {})
    assert (embedder.name, embedder.precision) == (Path(tower).name, "bf16")
    found = embedder.embed(photo())
    assert (found.features.shape, found.features.dtype) == ((1, 5, 24), torch.float32)
    assert found.axes == ("tiles", "positions", "width")
    assert found.pooled is not None and found.own_pooling
    assert (found.pooled.shape, found.pooled.dtype) == ((1, 24), torch.float32)


def test_a_tower_alone_has_no_projector_and_no_choices(tower: str) -> None:
    settings = Settings(model=tower, device="cpu")
    for stage, detail, key in [
        ("projector", {}, "stage_not_shown"),
        ("tower", {"tiles": 2}, "image_detail_unknown"),
    ]:
        with pytest.raises(RequestError) as caught:
            open_embedder(settings, stage, detail)  # type: ignore[arg-type]
        assert caught.value.key == key


def test_what_has_no_tower(tmp_path: Path) -> None:
    config = LlamaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    for model, key in [(str(tmp_path), "no_vision_tower"), ("nowhere", "no_such_checkpoint")]:
        with pytest.raises(ModelError) as caught:
            open_embedder(Settings(model=model, device="cpu"), "tower", {})
        assert caught.value.key == key


def test_rows_that_fill_up_do_not_count_in_the_mean() -> None:
    features = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [0.0, 0.0]], [[0.0, 4.0]] * 3])
    assert mean_of(features, 1).tolist() == [[2.0, 4.0], [0.0, 4.0]]

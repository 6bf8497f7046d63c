"""One run looked into: the prompt it gets, its stages, the next tokens, and leaving it half-way."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy
import pytest
import torch

from tests.support.fakes import ScriptedBackend, photo
from vlm.backend import Progress
from vlm.engine import Engine
from vlm.errors import RequestError
from vlm.inspection import Inspection, TowerFacts, tile_spans
from vlm.inspector import tower_facts
from vlm.messages import user_message
from vlm.model_slot import ModelSlot
from vlm.options import GenerationOptions
from vlm.settings import Settings

QUESTION = [user_message("What?", [photo(), photo(size=(40, 90), seed=2)])]
OPTIONS = GenerationOptions()


@pytest.fixture(scope="module", params=["llava", "smolvlm", "qwen2_5_vl", "gemma3"])
def engine(request: Any, checkpoints: Any) -> Iterator[Engine]:
    engine = Engine.load(str(checkpoints[request.param]), quantization="none", dtype="float32")
    yield engine
    engine.close()


def inspect(engine: Any, cancel: threading.Event | None = None) -> tuple[Inspection, list[Any]]:
    *events, found = engine.inspect(QUESTION, OPTIONS, cancel or threading.Event())
    assert isinstance(found, Inspection)
    return found, events


def test_the_prompt_in_pieces_is_the_prompt(engine: Engine) -> None:
    found, _ = inspect(engine)
    ids = engine.prepare(QUESTION)["input_ids"][0]
    assert found.tokens == len(ids) == found.pieces[-1].stop
    assert [each.start for each in found.pieces[1:]] == [each.stop for each in found.pieces[:-1]]
    assert found.image_tokens == engine.reader.count_image_tokens(ids) > 0
    assert found.image_tokens == sum(each.placeholders for each in found.layouts)
    written = "".join(each.text for each in found.pieces if not each.placeholder)
    assert "What?" in written


def test_every_token_of_a_tile_is_a_placeholder(engine: Engine) -> None:
    found, _ = inspect(engine)
    ids = engine.prepare(QUESTION)["input_ids"][0].tolist()
    placeholder = engine.reader.placeholder_id
    for span in tile_spans(found.layouts, found.pieces):
        assert span.tokens == span.shown.rows * span.shown.columns
        assert {ids[at] for start, stop in span.ranges for at in range(start, stop)} == {
            placeholder
        }


def test_the_likeliest_tokens_are_those_of_the_model(engine: Engine) -> None:
    found, _ = inspect(engine)
    with torch.inference_mode():
        logits = engine.model(**engine.prepare(QUESTION)).logits[0, -1]
    best = logits.float().softmax(-1).topk(5)
    assert [word.number for word in found.words] == best.indices.tolist()
    numpy.testing.assert_allclose([w.probability for w in found.words], best.values, rtol=1e-3)


def test_progress_counts_the_stages(engine: Engine) -> None:
    found, events = inspect(engine)
    told = [(event.current, event.total) for event in events if isinstance(event, Progress)]
    total = len(found.names)
    assert told[0] == (0, total)
    assert told == sorted(told)
    assert told[-1] == (len({stage.name for stage in found.stages}), total)


def test_the_form_of_the_tower_is_told(engine: Engine) -> None:
    tower = inspect(engine)[0].tower
    assert tower.attends
    if engine.model.config.model_type == "llava":  # the last layer but one
        assert tower.layers == engine.model.config.vision_config.num_hidden_layers
        assert tower.selected == tower.layers - 1
    elif engine.model.config.model_type != "qwen2_5_vl":
        assert tower.selected is None


def test_towers_of_convolutions_and_none_at_all() -> None:
    from vlm.unweighted import open_unweighted

    found = open_unweighted("pocket").inspect(QUESTION)
    assert found.tower == TowerFacts(attends=False)
    assert found.of_images.sum() == found.image_tokens == 32
    starts = [(each.start, each.stop) for each in found.pieces if each.placeholder]
    assert all(found.of_images[start:stop].all() for start, stop in starts)

    class NoTower:
        config = base_model = None

        def get_encoder(self, modality: str) -> "NoTower":
            return self

    assert tower_facts(NoTower()) == TowerFacts()


def test_times_go_on_and_types_are_told(engine: Engine) -> None:
    found, _ = inspect(engine)
    assert all(stage.seconds >= 0 for stage in found.stages)
    assert found.stages[-1].seconds == max(stage.seconds for stage in found.stages)
    assert {stage.device for stage in found.stages} == {"cpu"}
    assert found.stages[-1].dtype == "float32"


# ---- leaving it half-way ----


def cancelled_at(engine: Engine, module: torch.nn.Module) -> tuple[Inspection, threading.Event]:
    """A run that somebody cancels while a module is at work."""
    cancel = threading.Event()
    hook = module.register_forward_pre_hook(lambda *_: cancel.set())
    try:
        return inspect(engine, cancel)[0], cancel
    finally:
        hook.remove()


def test_a_run_is_left_half_way(engine: Engine) -> None:
    decoder = engine.model.get_decoder()
    found, _ = cancelled_at(engine, decoder.layers[0])
    names = [stage.name for stage in found.stages]
    assert not found.complete and found.words == ()
    assert "pixel_values" in names and "inputs_embeds" in names
    assert "logits" not in names and "final_hidden" not in names
    again, _ = inspect(engine)  # nothing is left behind that would stop the next one
    assert again.complete


def test_a_trace_is_left_half_way_too(engine: Engine) -> None:
    cancel = threading.Event()
    hook = engine.model.get_decoder().layers[0].register_forward_pre_hook(lambda *_: cancel.set())
    try:
        names = {stage.name for stage in engine.trace(QUESTION, None, cancel)}
    finally:
        hook.remove()
    assert "pixel_values" in names and "logits" not in names


def test_no_hook_is_left_behind_by_a_cancelled_run(engine: Engine) -> None:
    def hooks() -> int:
        parts = engine.model.modules()
        return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in parts)

    inspect(engine)
    before = hooks()
    cancelled_at(engine, engine.model.get_decoder().layers[0])
    assert hooks() == before


# ---- through the place of the model ----


def test_a_backend_that_shows_nothing_says_so() -> None:
    slot = ModelSlot(lambda *_: ScriptedBackend(), Settings())
    slot.start()
    with pytest.raises(RequestError, match="Scripted"):
        list(slot.inspect(QUESTION, OPTIONS, threading.Event()))
    slot.close()

"""What a model and what answers left behind take of memory now, by part, in plain numbers."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest
import torch

from tests.support.answers import ask
from tests.support.fakes import ScriptedBackend, photo
from vlm import memory
from vlm.backend import Held, Holds
from vlm.engine import Engine
from vlm.errors import RequestError
from vlm.holding import held
from vlm.messages import Message, Text, user_message
from vlm.model_parts import part_bytes
from vlm.model_slot import ModelSlot
from vlm.options import GenerationOptions
from vlm.settings import Settings

SHORT = GenerationOptions(max_new_tokens=8, min_new_tokens=8)
QUESTION = [user_message("What is this?", [photo(seed=1)])]


@pytest.fixture(scope="module", params=["llava", "smolvlm"])
def engine(request: pytest.FixtureRequest, checkpoints: Mapping[str, Path]) -> Iterator[Engine]:
    engine = Engine.load(str(checkpoints[request.param]), quantization="none", dtype="float32")
    yield engine
    engine.close()


def added_up(found: Held) -> int:
    return sum(found.weights.values()) + sum(found.besides.values()) - found.away


def test_the_parts_add_up_to_what_the_system_shows(engine: Engine) -> None:
    found = engine.held()
    resident = psutil.Process().memory_info().rss
    assert found.measured == "process"
    assert 0.8 * resident < found.total < 1.25 * resident
    assert added_up(found) == found.total
    assert found.weights == part_bytes(engine.model)
    assert found.besides["runtime"] > 100_000_000  # Python and torch alone
    assert (found.besides["spare"], found.away) == (0, 0)


def test_what_an_answer_leaves_behind_is_counted_and_goes_again(engine: Engine) -> None:
    engine.forget()
    before = engine.held()
    assert (before.besides["states"], before.besides["features"]) == (0, 0)
    said = ask(engine, QUESTION, SHORT)
    first = engine.held()
    text = engine.model.config.get_text_config(decoder=True)
    usage = said.finished.usage
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    a_token = 2 * text.num_hidden_layers * text.num_key_value_heads * head * 4  # of 32 bits
    # `generate` leaves out the last token
    assert first.besides["states"] == (usage.prompt_tokens + usage.completion_tokens - 1) * a_token
    assert first.besides["features"] == usage.image_tokens * text.hidden_size * 4
    ask(engine, [*QUESTION, Message("assistant", (Text(said.text),)), user_message("And?")], SHORT)
    second = engine.held()
    assert second.besides["states"] > first.besides["states"]  # it went on
    assert second.besides["features"] == first.besides["features"]
    for found in (before, first, second):
        assert added_up(found) == found.total
    assert engine.forget()
    after = engine.held()
    assert (after.besides["states"], after.besides["features"]) == (0, 0)


def test_they_are_plain_numbers(engine: Engine) -> None:
    ask(engine, QUESTION, SHORT)
    found = engine.held()
    numbers = [found.total, found.away, *found.weights.values(), *found.besides.values()]
    assert {type(number) for number in numbers} == {int}


def test_of_weights_in_files_only_what_was_read_is_there(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = sum(part_bytes(engine.model).values())
    monkeypatch.setattr(memory, "taken_bytes", lambda device: (weights - 1000, weights - 1000))
    found = held(engine.model, 400, 0)
    assert (found.total, found.away, found.besides["runtime"]) == (weights - 1000, 1400, 0)
    assert added_up(found) == found.total


class Spread:
    """A model with a parameter on each of these devices, which need not be here."""

    def __init__(self, *devices: str) -> None:
        self.base_model = self
        self._devices = devices

    def named_children(self) -> list[object]:
        return []

    def parameters(self) -> list[object]:
        return [type("Parameter", (), {"device": torch.device(each)}) for each in self._devices]


TAKEN = {"cuda:0": (900, 700), "cuda:1": (300, 300), "cpu": (50, 50)}


def test_of_an_accelerator_torch_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "taken_bytes", lambda device: TAKEN[str(device)])
    found = held(Spread("cuda:0", "cuda:0"), 30, 20)  # type: ignore[arg-type]
    assert found.besides == {"states": 30, "features": 20, "work": 650, "spare": 200}
    assert (found.measured, found.total, added_up(found)) == ("device", 900, 900)
    found = held(Spread("cuda:0", "cuda:1", "cpu"), 30, 20)  # type: ignore[arg-type]
    assert found.besides == {"states": 30, "features": 20, "runtime": 1000, "spare": 200}
    assert (found.measured, found.total, added_up(found)) == ("spread", 1250, 1250)


# ---- through the place of the model ----


def test_the_place_of_the_model_tells_it_without_waiting(engine: Engine) -> None:
    assert isinstance(engine, Holds)
    slot = ModelSlot(lambda *_: engine, Settings())
    assert slot.held() is None
    slot.opened()
    told = slot.held()
    assert told is not None and told.weights == engine.held().weights
    elsewhere = ModelSlot(lambda *_: ScriptedBackend(), Settings())
    elsewhere.opened()
    assert elsewhere.held() is None


def test_a_model_that_was_closed_holds_nothing(checkpoints: Mapping[str, Path]) -> None:
    engine = Engine.load(str(checkpoints["llava"]), quantization="none")
    engine.close()
    with pytest.raises(RequestError):
        engine.held()

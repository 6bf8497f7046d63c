"""The whole way on a device: load, answer, look inside, save, run out of memory, unload.

Each test runs on the CPU, which shows that the test itself is right, and on an NVIDIA GPU where
there is one; otherwise that half is skipped by name.
"""

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.answers import ask, work_out
from tests.support.fakes import photo
from tests.support.tiny import EVERY_MODEL
from vlm import blueprint, families, memory
from vlm import quantization as bits
from vlm.chat import ChatSession
from vlm.engine import Engine
from vlm.errors import ModelError, RequestError
from vlm.loading import load
from vlm.messages import user_message
from vlm.options import GenerationOptions
from vlm.saving import quantize
from vlm.trace import Stage
from vlm.workload import Workload

GPU = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
)
DEVICES = ("cpu", pytest.param("cuda", marks=GPU))
SHOWN_ON_A_CPU = ("internvl15", "llava", "qwen2_5_vl")
"""Of tests that a CPU runs elsewhere with every model."""
MODELS = [("cpu", name) for name in SHOWN_ON_A_CPU]
MODELS += [pytest.param("cuda", name, marks=GPU) for name in EVERY_MODEL]

MEGABYTE = 1 << 20
SHORT = GenerationOptions(max_new_tokens=6, min_new_tokens=6, temperature=0)
QUESTION = [user_message("What is this?", [photo(size=(90, 60))])]


@pytest.fixture
def sources(checkpoints: dict[str, Path], tmp_path: Path) -> Any:
    """From a name to a folder."""

    def source(name: str) -> str:
        known = families.families()
        return known[name].tiny(tmp_path / name) if name in known else str(checkpoints[name])

    return source


@pytest.fixture
def _limit() -> Iterator[None]:
    """Whatever a test allows this process of a GPU, the next may have all of it again."""
    yield
    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(1.0)


def place(device: str) -> torch.device:
    return torch.device("cuda", 0) if device == "cuda" else torch.device(device)


@pytest.mark.parametrize(("device", "name"), MODELS)
def test_an_answer_is_that_of_transformers(device: str, name: str, sources: Any) -> None:
    engine = Engine.load(sources(name), quantization="none", device=device, dtype="float32")
    assert {each.device for each in engine.model.parameters()} == {place(device)}
    first = ask(engine, QUESTION, SHORT)
    expected = work_out(engine, QUESTION, SHORT)
    torch.testing.assert_close(first.logits, expected.logits, rtol=1e-4, atol=1e-4)
    assert expected.text.startswith(first.text.rstrip("\ufffd"))  # a last byte may be half a letter
    assert first.finished is not None
    assert first.finished.timings.peak_bytes >= bits.held_bytes(engine.model)
    assert ask(engine, QUESTION, SHORT).text == first.text  # from states that were kept
    engine.close()


@pytest.mark.parametrize(("device", "name"), MODELS)
def test_what_is_shown_of_a_run_comes_as_arrays(device: str, name: str, sources: Any) -> None:
    engine = Engine.load(sources(name), quantization="none", device=device, dtype="float32")
    stages: list[Stage] = list(engine.trace(QUESTION))
    assert [each for each in stages if each.array.ndim != len(each.axes)] == []
    on_cpu = Engine.load(sources(name), quantization="none", device="cpu", dtype="float32")
    for one, other in zip(stages, on_cpu.trace(QUESTION), strict=True):
        assert one.name == other.name
        torch.testing.assert_close(
            torch.as_tensor(one.array), torch.as_tensor(other.array), rtol=1e-3, atol=1e-3
        )
    found, same = (each.explain(QUESTION, "A cat.") for each in (engine, on_cpu))
    assert [token.text for token in found.tokens] == [token.text for token in same.tokens]
    for one, other in zip(found.sights, same.sights, strict=True):
        torch.testing.assert_close(
            torch.as_tensor(one.weights), torch.as_tensor(other.weights), rtol=1e-3, atol=1e-3
        )
    engine.close()
    on_cpu.close()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["none", *bits.KINDS])
def test_every_precision_takes_what_was_estimated_and_answers(
    wide: Path, device: str, kind: str
) -> None:
    engine = Engine.load(str(wide), quantization=kind, device=device)
    skeleton, dtype = blueprint.read(str(wide), device=device).empty[0], engine.model.dtype
    layers = bits.layers_to_quantise(skeleton, kind, place(device))
    assert bits.quantised_modules(engine.model) == dict.fromkeys(layers, kind)
    estimate = bits.weight_bytes(skeleton, kind, dtype, place(device))
    assert estimate == pytest.approx(bits.held_bytes(engine.model), rel=0.02)
    said = ask(engine, QUESTION, SHORT)
    assert said.finished is not None
    assert said.finished.usage.completion_tokens == 6
    assert said.logits.isfinite().all()
    engine.close()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", bits.KINDS)
def test_a_saved_checkpoint_comes_back_bit_by_bit(
    wide: Path, device: str, kind: str, tmp_path: Path
) -> None:
    folder = quantize(str(wide), tmp_path / kind, kind, device=device)
    first = load(str(wide), quantization=kind, device=device).model.state_dict()
    again = load(str(folder), device=device).model.state_dict()
    assert first.keys() == again.keys()
    assert [name for name in first if not torch.equal(first[name], again[name])] == []


@pytest.mark.parametrize("device", DEVICES)
def test_states_in_8_bits_answer(wide: Path, device: str) -> None:
    engine = Engine.load(str(wide), quantization="none", device=device)
    assert 8 in engine.capabilities().kv_cache_bits
    options = GenerationOptions(max_new_tokens=6, min_new_tokens=6, kv_cache_bits=8)
    assert ask(engine, QUESTION, options).logits.isfinite().all()
    engine.close()


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_map_puts_the_model_where_it_fits(wide: Path, device: str) -> None:
    if device == "cpu" and torch.cuda.is_available():
        pytest.skip("the GPU would be taken")
    loaded = load(str(wide), quantization="none", device=device, device_map="auto")
    assert {each.device for each in loaded.model.parameters()} == {place(device)}


@pytest.mark.parametrize("device", DEVICES)
def test_an_unloaded_model_gives_everything_back(wide: Path, device: str) -> None:
    def models() -> int:
        gc.collect()
        return sum(isinstance(each, torch.nn.Linear) for each in gc.get_objects())

    before, left = models(), []
    for _ in range(2):  # what a GPU's libraries keep for themselves stays from the first time
        engine = Engine.load(str(wide), quantization="nf4", device=device)
        ask(engine, QUESTION, SHORT)
        assert models() > before
        engine.close()
        assert models() == before
        left.append(torch.cuda.memory_allocated() if device == "cuda" else 0)
    assert left[0] == left[1]


# ---- figures and limits that only a GPU has ----


@pytest.mark.parametrize("device", DEVICES[1:])
def test_what_is_free_goes_down_by_what_is_taken(device: str) -> None:
    here = place(device)
    torch.cuda.empty_cache()
    free = memory.free_bytes(here)
    assert 0 < free <= memory.total_bytes(here)
    taken = torch.empty(256 * MEGABYTE, dtype=torch.uint8, device=here)  # (bytes,)
    assert free - memory.free_bytes(here) >= taken.nbytes
    assert memory.peak_bytes(here) >= taken.nbytes
    assert memory.most_bytes(here) == memory.free_bytes(here)


@pytest.mark.parametrize("device", DEVICES[1:])
def test_a_peak_is_what_was_estimated(device: str) -> None:
    """Of the embedded model, within 10 %; the allocator counts no libraries."""
    plan = blueprint.read("pocket", device=device)
    engine = Engine.load("pocket", quantization="none", device=device)
    picture = photo(size=(2048, 2048))
    tokens = engine.prepare([user_message("", [picture])])["input_ids"].shape[1]
    words = " dog" * (4096 - tokens - 16)
    said = ask(engine, [user_message(words, [picture])], SHORT)
    assert said.finished is not None
    estimate = plan.estimate("none", Workload(context=4096, images=1, size=(2048, 2048)))
    expected = estimate.total - estimate.runtime
    assert said.finished.timings.peak_bytes == pytest.approx(expected, rel=0.1)
    engine.close()


@pytest.mark.usefixtures("_limit")
@pytest.mark.parametrize("device", DEVICES[1:])
def test_weights_that_do_not_fit_are_refused_with_the_numbers(wide: Path, device: str) -> None:
    taken = _leave(4 * MEGABYTE)
    with pytest.raises(ModelError) as caught:
        load(str(wide), quantization="none", device=device)
    assert caught.value.key == "out_of_memory_weights"
    assert caught.value.facts["needed"] > 0
    _give_back(taken)
    assert load(str(wide), quantization="none", device=device).quantization == "none"


@pytest.mark.usefixtures("_limit")
@pytest.mark.parametrize("device", DEVICES[1:])
def test_an_answer_that_does_not_fit_costs_no_conversation(wide: Path, device: str) -> None:
    engine = Engine.load(str(wide), quantization="none", device=device)
    session = ChatSession(engine)
    list(session.send("What?", [photo()], SHORT))
    taken = _leave(4 * MEGABYTE)
    with pytest.raises(RequestError) as caught:
        list(session.send("dog " * 400, [], SHORT))
    assert caught.value.key == "out_of_memory_answer"
    assert caught.value.facts["tokens"] > 400
    _give_back(taken)
    assert len(session.turns) == 1
    assert list(session.send("And now?", [], SHORT))[-1].usage.completion_tokens == 6
    engine.close()


def _leave(room: int) -> list[torch.Tensor]:
    """Takes what this process may have of the GPU, but for so many bytes."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    allowed = torch.cuda.memory_reserved() + 64 * MEGABYTE
    torch.cuda.set_per_process_memory_fraction(allowed / total)
    first, *taken = [torch.empty(room, dtype=torch.uint8, device="cuda")]  # (bytes,)
    for size in (4 * MEGABYTE, MEGABYTE // 2, 512):  # what is left between them as well
        with contextlib.suppress(torch.OutOfMemoryError):
            while True:
                taken.append(torch.empty(size, dtype=torch.uint8, device="cuda"))  # (bytes,)
    del first
    return taken


def _give_back(taken: list[torch.Tensor]) -> None:
    taken.clear()
    torch.cuda.set_per_process_memory_fraction(1.0)

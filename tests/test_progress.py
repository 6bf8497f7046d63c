"""Loading that tells how far it is and can be called off, with nothing left behind."""

import gc
import threading
import weakref
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from vlm import memory, prequantized
from vlm.engine import Engine
from vlm.errors import ModelError
from vlm.loading import load
from vlm.opening import open_engine
from vlm.progress import LoadProgress, Watch
from vlm.saving import quantize
from vlm.settings import Settings


@pytest.fixture
def folder(checkpoints: dict[str, Path]) -> str:
    return str(checkpoints["llava"])


@pytest.mark.parametrize("kind", ["none", "nf4"])
def test_every_tensor_is_told(folder: str, kind: str) -> None:
    told: list[LoadProgress] = []
    model = load(folder, quantization=kind, device="cpu", watch=Watch(told.append)).model
    assert [each.stage for each in told[:2]] == ["open", "open"]
    weights = told[2:]
    assert {each.stage for each in weights} == {"weights"}
    assert [each.current for each in weights] == list(range(weights[0].total + 1))
    assert weights[0].total == len(list(model.parameters()))


def test_the_engine_hands_it_on(folder: str) -> None:
    told: list[LoadProgress] = []
    Engine.load(folder, device="cpu", watch=Watch(told.append)).close()
    count = len(told)
    open_engine(Settings(model=folder, device="cpu"), Watch(told.append)).close()
    assert len(told) == 2 * count > 10


@pytest.mark.parametrize("kind", ["none", "int8", "nf4"])
@pytest.mark.parametrize("when", ["open", "weights"])
def test_a_cancel_takes_effect_at_the_next_tensor(folder: str, kind: str, when: str) -> None:
    cancel, told = threading.Event(), []

    def tell(progress: LoadProgress) -> None:
        told.append(progress)
        if progress.stage == when and progress.current >= (3 if when == "weights" else 0):
            cancel.set()

    before = {id(each) for each in gc.get_objects() if isinstance(each, PreTrainedModel)}
    with pytest.raises(ModelError) as caught:
        load(folder, quantization=kind, device="cpu", watch=Watch(tell, cancel))
    assert caught.value.key == "loading_cancelled"
    assert told[-1].current == (3 if when == "weights" else 0)
    # also while the error is held, as whoever shows it does
    left = [each for each in gc.get_objects() if isinstance(each, PreTrainedModel)]
    assert [each for each in left if id(each) not in before] == []


def test_what_was_loaded_goes_when_memory_ran_out(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[weakref.ref] = []
    own = torch.nn.Module.__setattr__

    def note(self: torch.nn.Module, name: str, value: object) -> None:
        if isinstance(value, torch.nn.Parameter) and value.device.type == "cpu":
            seen.append(weakref.ref(value))
        own(self, name, value)

    def tell(progress: LoadProgress) -> None:
        if progress.stage == "weights" and progress.current == 9:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(torch.nn.Module, "__setattr__", note)
    with pytest.raises(ModelError) as caught:
        load(folder, quantization="none", device="cpu", watch=Watch(tell))
    monkeypatch.undo()
    assert caught.value.key == "out_of_memory_weights"
    assert caught.value.facts["free"] > 0.001
    assert caught.value.facts["needed"] == pytest.approx(0.00044, rel=0.1)
    assert "in bf16 its weights alone need" in str(caught.value)
    assert [each() for each in seen if each() is not None] == []
    assert load(folder, quantization="none", device="cpu").model is not None


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_what_can_never_fit_is_refused_before_a_tensor_is_read(
    folder: str, quantization: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux would end the process in the midst of it."""
    told: list[LoadProgress] = []
    monkeypatch.setattr(memory, "most_bytes", lambda device: 100_000)
    with pytest.raises(ModelError, match="its weights alone need") as caught:
        load(folder, quantization=quantization, device="cpu", watch=Watch(told.append))
    assert caught.value.key == "out_of_memory_weights"
    facts = caught.value.facts
    assert facts["precision"] == {"none": "bf16", "nf4": "nf4"}[quantization]
    assert (facts["free"], facts["needed"] > 0.0001) == (0.0001, True)
    assert {each.stage for each in told} == {"open"}


def test_files_that_are_quantised_can_be_too_large_too(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = quantize(folder, tmp_path / "small", "nf4", device="cpu")
    monkeypatch.setattr(memory, "most_bytes", lambda device: 100_000)
    with pytest.raises(ModelError, match="in nf4 its weights alone need") as caught:
        load(str(small), device="cpu")
    assert caught.value.facts["needed"] == prequantized.stored_bytes(str(small)) / 1e9


def test_with_a_device_map_all_devices_count(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 100_000)
    monkeypatch.setattr(memory, "most_bytes", lambda device: 100_000)
    monkeypatch.setattr(memory, "everywhere", lambda measure: 10**6 + measure(torch.device("cpu")))
    assert load(folder, device="cpu", device_map="sequential").quantization == "none"


def test_two_threads_have_a_watch_each(folder: str) -> None:
    told: dict[str, list[LoadProgress]] = {"one": [], "other": []}
    threads = [
        threading.Thread(
            target=load, args=(folder,), kwargs={"device": "cpu", "watch": Watch(each.append)}
        )
        for each in told.values()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = [[each.current for each in told[key] if each.stage == "weights"] for key in told]
    assert counts[0] == counts[1] == list(range(len(counts[0])))
    assert torch.get_default_dtype() is torch.float32  # nothing is left behind for others

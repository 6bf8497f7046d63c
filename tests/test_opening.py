"""What comes before a model is loaded: it is judged first and fetched then."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from vlm import download, memory, prequantized
from vlm.blueprint import read
from vlm.errors import ModelError
from vlm.estimate import judge
from vlm.opening import prepare_backend
from vlm.picker import Picker
from vlm.progress import Watch
from vlm.saving import quantize
from vlm.settings import Settings
from vlm.workload import Workload

from .support.hub import ID, Hub

SMALL = Workload(context=64, images=0)


def prepared(**settings: object) -> list[str]:
    """The stages that were told."""
    told: list[str] = []
    chosen = Settings(**{"model": ID, "device": "cpu", **settings})
    prepare_backend(chosen, lambda stage, *_: told.append(stage), threading.Event())
    return told


def weights_of(hub: Hub) -> list[str]:
    """The ranges that were asked for of any file of weights."""
    return hub.fetched("model.safetensors")


def test_a_model_is_judged_before_its_weights_are_fetched(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "total_bytes", lambda device: 100_000)
    with pytest.raises(ModelError) as caught:
        prepared()
    assert caught.value.key == "too_big"
    assert caught.value.facts["there"] == 0.0001
    assert weights_of(hub) == []
    monkeypatch.undo()


def test_a_model_that_fits_is_fetched(hub: Hub) -> None:
    told = prepared()
    assert told[0] == "open"
    assert "download" in told
    assert len(weights_of(hub)) == 1


def test_with_a_device_map_all_devices_count(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    sizes = {"cuda:0": 10**7, "cpu": 10**5}
    monkeypatch.setattr(memory, "total_bytes", lambda device: sizes[str(device)])
    with pytest.raises(ModelError):
        prepared()
    assert "download" in prepared(device_map="auto")


@pytest.fixture
def small(hub: Hub, tmp_path: Path, checkpoints: dict[str, Path]) -> Iterator[Path]:
    """The hub has the checkpoint in 4 bits."""
    folder = quantize(str(checkpoints["llava"]), tmp_path / "small", "nf4", device="cpu")
    hub.add(ID, folder)
    yield folder


def test_of_a_quantised_repository_the_headers_alone_are_read(hub: Hub, small: Path) -> None:
    whole = (small / "model.safetensors").stat().st_size
    blueprint = read(ID, device="cpu")
    (verdict,) = judge(blueprint, SMALL, free=10**9)
    assert verdict.estimate.weights == prequantized.stored_bytes(str(small)) > 0.8 * whole
    asked = weights_of(hub)
    assert asked
    assert all(span.startswith("bytes=0-") and span != "bytes=0-" for span in asked)


def test_of_any_repository_an_estimate_fetches_no_weights(hub: Hub) -> None:
    here = read(ID, device="cpu").estimate("none", SMALL)
    assert here.weights > 100_000
    assert weights_of(hub) == []


def test_what_is_quantised_otherwise_is_refused_before_it_is_fetched(hub: Hub, small: Path) -> None:
    with pytest.raises(ModelError) as caught:
        prepared(quantization="int8")
    assert caught.value.key == "already_quantised"
    assert {*weights_of(hub)} <= {"bytes=0-100000"}


def test_what_is_published_is_known_without_the_network() -> None:
    """Its own way of reading a configuration needs the weights."""
    source = "jingyaogong/minimind-3v+jingyaogong/siglip2-base-p32-256-ve"
    assert read("jingyaogong/minimind-3v", device="cpu").source == source
    estimate = read("jingyaogong/minimind-3v", device="cpu").estimate("none", SMALL)
    assert estimate.weights == pytest.approx(0.31e9, rel=0.03)  # as README's table says


# ---- without the network ----


def test_what_was_judged_once_is_judged_without_the_network(
    hub: Hub, lose_network: Callable[[], None]
) -> None:
    before = read(ID, device="cpu").estimate("none", SMALL)
    lose_network()
    assert read(ID, device="cpu").estimate("none", SMALL) == before
    assert weights_of(hub) == []
    row = Picker(Settings(device="cpu")).check(ID, "auto", 0)  # as the page asks
    assert {each.quantization for each in row.verdicts} == {"none", "int8", "nf4"}


def test_a_quantised_model_in_the_cache_is_judged_by_its_own_headers(
    hub: Hub, small: Path, lose_network: Callable[[], None]
) -> None:
    download.fetch(ID, Watch())
    asked = len(hub.asked)
    lose_network()
    stored = prequantized.stored_bytes(str(small))
    assert prequantized.stored_bytes(ID) == stored
    blueprint = read(ID, device="cpu")
    (verdict,) = judge(blueprint, SMALL, free=10**9)
    assert (verdict.quantization, verdict.estimate.weights) == (
        "nf4",
        prequantized.stored_bytes(ID),
    )
    prepared(quantization="auto")  # nothing is left to fetch
    assert len(hub.asked) == asked


def test_headers_that_nobody_can_send_are_a_sentence(
    hub: Hub, small: Path, lose_network: Callable[[], None]
) -> None:
    read(ID, device="cpu")  # its small files are here from now on
    lose_network()
    with pytest.raises(ModelError) as caught:
        judge(read(ID, device="cpu"), SMALL, free=10**9)
    assert caught.value.key == "hub_unreachable"
    with pytest.raises(ModelError) as caught:
        prepared(quantization="auto")
    assert caught.value.key == "hub_unreachable"


@pytest.mark.parametrize("model", ["", "   "])
def test_nothing_named_is_a_sentence_of_its_own(model: str) -> None:
    with pytest.raises(ModelError) as caught:
        prepared(model=model)
    assert caught.value.key == "no_model_named"

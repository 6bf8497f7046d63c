"""Files of a hub, from a hub on this machine: one figure, taken up again, refused in sentences."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download, hf_api

from vlm import memory
from vlm.errors import ModelError
from vlm.loading import load
from vlm.progress import LoadProgress, Watch

from .support.hub import Hub, serve

ID = "owner/model"


@pytest.fixture
def hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoints: dict[str, Path]
) -> Iterator[Hub]:
    cache = tmp_path / "cache"
    with serve() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.address)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            running.address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr(hf_api.api, "endpoint", running.address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 50_000)
        monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)
        monkeypatch.setattr("transformers.utils.hub.is_offline_mode", lambda: False)
        running.add(ID, checkpoints["llava"])
        yield running


def fetched(hub: Hub, **settings: object) -> list[LoadProgress]:
    told: list[LoadProgress] = []
    load(ID, quantization="none", device="cpu", dtype="float32", watch=Watch(told.append))
    return [each for each in told if each.stage == "download"]


def blobs(cache: Path) -> list[Path]:
    return [each for each in cache.rglob("*.incomplete") if each.is_file()]


def test_one_figure_over_all_files(hub: Hub) -> None:
    hub.files[ID]["remote.py"] = b"raise SystemExit"
    hub.files[ID]["pytorch_model.bin"] = b"the same weights once more"
    told = fetched(hub)
    sizes = [len(data) for name, data in hub.files[ID].items() if name not in UNWANTED]
    assert {each.total for each in told} == {sum(sizes) - len(hub.files[ID]["config.json"])}
    counts = [each.current for each in told]
    assert counts == sorted(counts)
    assert counts[-1] == told[0].total
    assert len(counts) > len(sizes)  # within files too
    assert not hub.fetched("remote.py") and not hub.fetched("pytorch_model.bin")


UNWANTED = ("remote.py", "pytorch_model.bin")


def test_what_is_there_is_not_fetched_again(hub: Hub) -> None:
    fetched(hub)
    before = len(hub.fetched("model.safetensors"))
    assert fetched(hub) == []
    assert len(hub.fetched("model.safetensors")) == before == 1


def test_a_broken_connection_is_taken_up_where_it_broke(hub: Hub) -> None:
    hub.break_after["model.safetensors"] = 300_000
    told = fetched(hub)
    first, second = hub.fetched("model.safetensors")
    assert first == ""
    start = int(second.removeprefix("bytes=").split("-")[0])
    assert 0 < start <= 300_000
    assert told[-1].current == told[-1].total
    assert max(each.current for each in told) == told[-1].total


def refusal() -> ModelError:
    with pytest.raises(ModelError) as caught:
        load(ID, quantization="none", device="cpu", dtype="float32")
    return caught.value


def test_a_licence_to_accept(hub: Hub) -> None:
    hub.gated.add(ID)
    error = refusal()
    assert error.key == "hub_refused"
    assert ID in str(error)


def test_no_such_repository(hub: Hub) -> None:
    hub.files.clear()
    assert refusal().key == "hub_refused"


def test_a_file_that_has_vanished(hub: Hub) -> None:
    hub.vanished.add((ID, "model.safetensors"))
    assert refusal().key == "hub_file_missing"


def test_too_small_a_disk(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "disk_free", lambda folder: 100_000)
    error = refusal()
    assert error.key == "disk_full"
    assert error.facts["free"] == 0.0001
    assert error.facts["needed"] == pytest.approx(0.00088, rel=0.1)
    assert not hub.fetched("model.safetensors")


def test_a_cancel_leaves_nothing_half_fetched(hub: Hub, tmp_path: Path) -> None:
    cancel = threading.Event()

    def tell(progress: LoadProgress) -> None:
        if progress.stage == "download" and progress.current > 200_000:
            cancel.set()

    with pytest.raises(ModelError) as caught:
        load(ID, quantization="none", device="cpu", watch=Watch(tell, cancel))
    assert caught.value.key == "loading_cancelled"
    assert blobs(tmp_path / "cache") == []
    assert fetched(hub)[-1].current > 0  # and it can be fetched afterwards

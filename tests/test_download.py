"""Files of a hub, from a hub on this machine: one figure, taken up again, refused in sentences."""

import errno
import json
import threading
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http

from vlm import download, memory
from vlm.errors import ModelError
from vlm.families import common
from vlm.loading import load
from vlm.model_errors import model_errors
from vlm.progress import LoadProgress, Watch
from vlm.unweighted import open_unweighted

from .support.hub import ID, Hub


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
    assert error.key == "hub_gated"
    assert ID in str(error)
    assert "licence" in str(error)


def test_no_such_repository(hub: Hub) -> None:
    hub.files.clear()
    error = refusal()
    assert error.key == "hub_missing"
    assert "has no model owner/model" in str(error)


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


def test_one_figure_over_all_parts_of_a_source(hub: Hub, checkpoints: dict[str, Path]) -> None:
    hub.add("owner/other", checkpoints["qwen2_5_vl"])
    told: list[LoadProgress] = []
    download.fetch(f"{ID}+owner/other", Watch(told.append))
    sizes = [len(data) for name in (ID, "owner/other") for data in hub.files[name].values()]
    assert {each.total for each in told} == {sum(sizes)}
    counts = [each.current for each in told]
    assert counts == sorted(counts)
    assert counts[-1] == sum(sizes)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("IO: No space left on device")],
)
def test_a_disk_that_fills_meanwhile(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """By Python's own words, and by those of a library that writes files itself."""

    def fail(*_: object, dry_run: bool = False, **settings: object) -> object:
        if dry_run:
            return own(*_, dry_run=True, **settings)
        raise error

    own = download.snapshot_download
    monkeypatch.setattr(download, "snapshot_download", fail)
    refused = refusal()
    assert refused.key == "disk_full"
    assert refused.facts["needed"] == pytest.approx(0.00088, rel=0.1)


def test_gguf_on_the_hub_is_refused_with_a_sentence(hub: Hub) -> None:
    """Alone, or beside the configuration of the model that it was made from."""
    config = hub.files[ID]["config.json"]
    hub.files[ID] = {"model.Q4_K_M.gguf": b"GGUF", "README.md": b"hello"}
    assert refusal().key == "gguf_not_taken"
    hub.files[ID]["config.json"] = config
    assert refusal().key == "gguf_not_taken"
    assert not hub.fetched("model.Q4_K_M.gguf")


def test_a_repository_of_something_else(hub: Hub) -> None:
    hub.files[ID] = {"notes.txt": b"hello"}
    error = refusal()
    assert (error.key, error.facts["found"]) == ("no_config", "notes.txt")


def test_a_connection_that_breaks_for_good(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **settings: object) -> None:
        raise httpx2.ConnectError("gone")

    monkeypatch.setattr(download, "_look", fail)
    assert refusal().key == "hub_unreachable"


def test_what_is_needed_without_weights_is_known_once_it_was_read(hub: Hub, tmp_path: Path) -> None:
    assert not common.is_described_here(ID)
    common.fetch_config(ID)
    assert not common.is_described_here(ID)  # no processor, no tokenizer
    open_unweighted(ID)
    assert common.is_described_here(ID)
    assert not common.is_described_here(f"{ID}+owner/other")
    assert not hub.fetched("model.safetensors")
    assert not common.is_described_here(str(tmp_path))


def test_what_the_cache_holds_is_known(hub: Hub) -> None:
    assert common.kept_folder(ID) is None
    common.fetch_config(ID)
    assert common.kept_folder(ID) is None  # the configuration alone is not enough
    fetched(hub)
    folder = common.kept_folder(ID)
    assert folder is not None
    assert (folder / "model.safetensors").is_file()
    shards = {"weight_map": {"a": "model-2.safetensors"}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(shards))
    assert common.kept_folder(ID) == folder  # of another kind than is read
    (folder / "model.safetensors.index.json").write_text(json.dumps(shards))
    assert common.kept_folder(ID) is None


def test_where_nobody_answers_any_more_nothing_is_fetched(
    hub: Hub, lose_network: Callable[[], None]
) -> None:
    told: list[LoadProgress] = []
    fetched(hub)
    lose_network()
    download.fetch(ID, Watch(told.append))  # whoever opens it says what is missing
    assert told == []


def test_a_repository_that_vanishes_before_the_download_is_told(hub: Hub) -> None:
    del hub.files[ID]
    with pytest.raises(ModelError) as caught, model_errors(ID):
        download.fetch(ID, Watch())
    assert caught.value.key == "hub_missing"


def test_a_model_that_is_here_is_loaded_without_the_network(
    hub: Hub, lose_network: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched(hub)
    tried: list[float] = []
    lose_network()
    monkeypatch.setattr(_http.time, "sleep", tried.append)
    assert load(ID, quantization="none").name == "model"
    assert tried == []  # nobody was asked again and again
    assert constants.HF_HUB_OFFLINE is False  # the next one may ask

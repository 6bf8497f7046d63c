"""Checkpoints written in fewer bits: complete or not at all, and the same when they come back."""

import shutil
import threading
from pathlib import Path

import pytest
import torch

from vlm import families, memory, saving
from vlm.errors import ModelError
from vlm.loading import Loaded, load
from vlm.messages import user_message
from vlm.progress import LoadProgress, Watch
from vlm.reading import PromptReader
from vlm.saving import quantize

from .support import tiny
from .support.fakes import photo

KINDS = ("nf4", "fp4", "int8")
NAMES = (*tiny.BUILDERS, *families.NAMES)


@pytest.fixture(scope="module", params=NAMES)
def source(
    request: pytest.FixtureRequest,
    checkpoints: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    if request.param in checkpoints:
        return str(checkpoints[request.param])
    family = families.families()[request.param]
    return family.tiny(tmp_path_factory.mktemp(f"tiny_{request.param}"))


def logits(loaded: Loaded) -> torch.Tensor:
    reader = PromptReader(loaded.model, loaded.processor)
    with torch.inference_mode():
        return loaded.model(**reader.prepare([user_message("What?", [photo()])], {})).logits


@pytest.mark.parametrize("kind", KINDS)
def test_it_comes_back_bit_by_bit_without_the_original(
    source: str, kind: str, tmp_path: Path
) -> None:
    original = shutil.copytree(source, tmp_path / "original")
    quantize(str(original), tmp_path / "small", kind, device="cpu", dtype="float32")
    first = load(source, quantization=kind, device="cpu", dtype="float32")
    shutil.rmtree(original)
    again = load(str(tmp_path / "small"), device="cpu", dtype="float32")
    assert again.quantization == kind
    assert again.family is first.family
    one, other = first.model.state_dict(), again.model.state_dict()
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    config, own = again.model.generation_config, first.model.generation_config
    assert (config.eos_token_id, config.pad_token_id) == (own.eos_token_id, own.pad_token_id)
    assert torch.equal(logits(first), logits(again))


@pytest.fixture
def llava(checkpoints: dict[str, Path]) -> str:
    return str(checkpoints["llava"])


def refusal(source: str, folder: Path, **settings: object) -> str:
    with pytest.raises(ModelError) as caught:
        quantize(source, folder, "nf4", device="cpu", **settings)
    return caught.value.key


def test_what_is_there_is_only_replaced_if_it_is_said(llava: str, tmp_path: Path) -> None:
    target = quantize(llava, tmp_path / "small", "nf4", device="cpu")
    (target / "mark").touch()
    assert refusal(llava, target) == "destination_exists"
    assert (target / "mark").exists()
    quantize(llava, target, "int8", device="cpu", force=True)
    assert not (target / "mark").exists()
    assert load(str(target), device="cpu").quantization == "int8"
    assert [each.name for each in tmp_path.iterdir()] == ["small"]


def test_a_folder_of_something_else_is_never_replaced(llava: str, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to_mother.txt").touch()
    assert refusal(llava, tmp_path / "letters", force=True) == "destination_foreign"
    assert (tmp_path / "letters" / "to_mother.txt").exists()


def test_a_checkpoint_that_is_small_already(llava: str, tmp_path: Path) -> None:
    target = quantize(llava, tmp_path / "small", "nf4", device="cpu")
    assert refusal(str(target), tmp_path / "smaller") == "nothing_to_quantise"
    with pytest.raises(ModelError) as caught:
        quantize(str(target), tmp_path / "smaller", "int8", device="cpu")
    assert caught.value.key == "already_quantised"
    assert not (tmp_path / "smaller").exists()


def test_a_full_disk_is_told_before(
    llava: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "disk_free", lambda folder: 1_000_000)
    with pytest.raises(ModelError, match=r"No space on disk: .* 0\.03 GB .* 0\.00 GB"):
        quantize(llava, tmp_path / "small", "nf4", device="cpu")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", ["open", "weights", "save"])
@pytest.mark.parametrize("force", [False, True])
def test_nothing_half_written_stays(llava: str, tmp_path: Path, stage: str, force: bool) -> None:
    target, cancel = tmp_path / "small", threading.Event()
    if force:
        quantize(llava, target, "int8", device="cpu")

    def tell(progress: LoadProgress) -> None:
        if progress.stage == stage:
            cancel.set()

    assert refusal(llava, target, force=force, watch=Watch(tell, cancel)) == "loading_cancelled"
    assert [each.name for each in tmp_path.iterdir()] == (["small"] if force else [])
    assert not force or load(str(target), device="cpu").quantization == "int8"


def test_an_error_while_writing_leaves_what_was_there(
    llava: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = quantize(llava, tmp_path / "small", "int8", device="cpu")

    def fail(loaded: Loaded, folder: Path, watch: Watch) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "write", fail)
    with pytest.raises(OSError):
        quantize(llava, target, "nf4", device="cpu", force=True)
    assert [each.name for each in tmp_path.iterdir()] == ["small"]
    assert load(str(target), device="cpu").quantization == "int8"


def test_progress_is_told(llava: str, tmp_path: Path) -> None:
    told: list[LoadProgress] = []
    quantize(llava, tmp_path / "small", "nf4", device="cpu", watch=Watch(told.append))
    stages = list(dict.fromkeys(each.stage for each in told))
    assert stages == ["open", "weights", "save"]
    for stage in ("weights", "save"):
        counts = [each.current for each in told if each.stage == stage]
        assert counts == list(range(len(counts)))
        assert told[-1].current == told[-1].total

"""Three parts in any order, told apart by what lies in them; what is missing is said."""

import itertools
import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError

from vlm import families
from vlm.errors import ModelError
from vlm.families import common
from vlm.families.clip_qwen import FAMILY, open, sources
from vlm.loading import load

from .checkpoints import PARTS, configure


@pytest.mark.parametrize("order", itertools.permutations(PARTS), ids="+".join)
def test_parts_in_any_order(apart: dict[str, str], order: tuple[str, ...]) -> None:
    source = "+".join(apart[part] for part in order)
    assert families.find(source) is FAMILY
    assert sources.find_parts(source) == {part: Path(apart[part]) for part in PARTS}


def test_one_folder_and_three_are_the_same_checkpoint(copied: Path, apart: dict[str, str]) -> None:
    whole, parts = open(str(copied)), open(" + ".join(apart.values()))
    assert isinstance(whole.weights, dict) and isinstance(parts.weights, dict)
    assert whole.weights.keys() == parts.weights.keys()
    assert whole.config.to_dict() == parts.config.to_dict()


def test_a_joined_source_is_loaded_under_a_name_for_people(
    copied: Path, apart: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(copied.parent))
    source = f"~/whole/llm+{apart['clip']}+~/whole/adapter"
    loaded = load(source, quantization="none", device="cpu", dtype="float32")
    assert loaded.name == "llm"
    assert loaded.source == "+".join(apart.values())


@pytest.mark.parametrize("left", [("llm",), ("adapter",), ("llm", "clip"), ("clip", "adapter")])
def test_what_is_missing_is_said(apart: dict[str, str], left: tuple[str, ...]) -> None:
    source = "+".join(apart[part] for part in left)
    assert families.find(source) is FAMILY
    missing = ", ".join(part for part in PARTS if part not in left)
    with pytest.raises(ModelError, match=rf"missing is {missing}\. .*LLM\+CLIP\+ADAPTER"):
        load(source)


def test_a_folder_without_one_of_the_parts(copied: Path) -> None:
    shutil.rmtree(copied / "adapter")
    with pytest.raises(ModelError, match="there is llm, clip, missing is adapter"):
        load(str(copied))


def test_a_part_that_is_there_twice(apart: dict[str, str]) -> None:
    with pytest.raises(ModelError, match="are the same kind of part"):
        load("+".join([*apart.values(), apart["clip"]]))


@pytest.mark.parametrize("other", ["/no/such/folder", "name", "a b/c"])
def test_a_part_that_is_none(apart: dict[str, str], other: str) -> None:
    with pytest.raises(ModelError, match=f"{other} in .* is none of the parts"):
        load(f"{apart['llm']}+{apart['clip']}+{other}")


def test_other_models_are_not_claimed(copied: Path, apart: dict[str, str]) -> None:
    assert families.find(apart["clip"]) is None
    configure(copied / "llm", visual={"width": 1664})  # Qwen-VL
    assert families.find(apart["llm"]) is None
    configure(copied / "llm", visual=None, model_type="qwen2")
    assert families.find(apart["llm"]) is None


@pytest.mark.parametrize("name", ["other_params.bin", "adapter_model.bin", "adapter_config.json"])
def test_a_training_output_without_a_file(copied: Path, name: str) -> None:
    (copied / "adapter" / name).unlink()
    with pytest.raises(ModelError, match=f"training output without {name}"):
        load(str(copied))


def test_the_state_of_training_is_never_unpickled(copied: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return Path.touch, (copied / "sprung",)

    torch.save(Trap(), copied / "adapter" / "training_args.bin")
    open(str(copied))
    assert not (copied / "sprung").exists()


# ---- the hub ----


@pytest.fixture
def hub(
    tmp_path: Path, apart: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, list[str]]:
    """The three parts as repositories; what is fetched of each is noted."""
    fetched: dict[str, list[str]] = {}

    def download(name: str, allow_patterns: list[str]) -> str:
        part = name.split("/")[1]
        cache = tmp_path / "cache" / part
        cache.mkdir(parents=True, exist_ok=True)
        for pattern in allow_patterns:
            for file in Path(apart[part]).glob(pattern):
                shutil.copy(file, cache)
                fetched.setdefault(part, []).append(file.name)
        return str(cache)

    def no_network(url: str, **_: object) -> None:
        raise OSError(url)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", no_network)
    return fetched


def test_parts_from_the_hub(hub: dict[str, list[str]], apart: dict[str, str]) -> None:
    (Path(apart["llm"]) / "modeling_qwen.py").write_text("raise SystemExit")
    (Path(apart["adapter"]) / "training_args.bin").write_bytes(b"pickle")
    (Path(apart["clip"]) / "pytorch_model.bin").write_bytes(b"the same once more")
    opened = open("me/adapter+me/llm+me/clip")
    assert opened.weights.keys() == open("+".join(apart.values())).weights.keys()
    assert set(hub["llm"]) == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "qwen.tiktoken",
    }
    assert set(hub["clip"]) == {"config.json", "model.safetensors"}
    assert set(hub["adapter"]) == {"adapter_config.json", "adapter_model.bin", "other_params.bin"}


def test_weights_that_are_only_there_pickled(
    hub: dict[str, list[str]], apart: dict[str, str]
) -> None:
    from safetensors.torch import load_file

    folder = Path(apart["clip"])
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    opened = open(f"{apart['llm']}+me/clip+{apart['adapter']}")
    assert "pytorch_model.bin" in hub["clip"]
    assert "vision_model.pre_layrnorm.weight" in opened.weights


def test_a_repository_without_config_hides_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An adapter has no config.json; the parts after it are still asked about."""
    asked: list[str] = []

    def answer(url: str, **_: object) -> None:
        asked.append(url)
        raise EntryNotFoundError("404")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", answer)
    common.fetch_config("me/adapter+me/language")
    assert len(asked) == 2


def test_a_saved_checkpoint_is_one_folder(loaded, tmp_path: Path) -> None:
    loaded.model.save_pretrained(tmp_path)
    loaded.processor.save_pretrained(tmp_path)
    read = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert read["model_type"] == "clip_qwen"
    assert read["adapter_scale"] is None
    assert families.find(str(tmp_path)) is FAMILY
    names = open(str(tmp_path)).weights
    assert names == tmp_path

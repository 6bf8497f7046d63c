"""Sources of every form are found, and what is missing is asked for."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from vlm import families, loading
from vlm.errors import ModelError
from vlm.families.minimind_v import FAMILY
from vlm.families.minimind_v.sources import locate

from .conftest import build, write


@pytest.fixture
def pieces(tmp_path: Path) -> tuple[Path, Path, Path]:
    """(`.pth`, tower, tokenizer), each in a folder of its own."""
    source, _ = write(tmp_path, "mid")
    file, tower, words = (Path(part) for part in source.split("+"))
    (tmp_path / "weights").mkdir()
    moved = Path(shutil.move(file, tmp_path / "weights" / "sft_vlm_32.pth"))
    return moved, tower, words


def joined(*parts: Path) -> str:
    return "+".join(map(str, parts))


def test_parts_joined(pieces: Any) -> None:
    file, tower, words = pieces
    for source in (joined(*pieces), joined(file, words, tower), " + ".join(map(str, pieces))):
        assert families.find(source) is FAMILY
        parts = locate(source)
        assert (parts.language, parts.tower, parts.words) == pieces


def test_home_is_written_out_in_each_part(pieces: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    home = pieces[1].parent
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    source = "+".join(f"~/{part.relative_to(home).as_posix()}" for part in pieces)
    loaded = loading.load(source, quantization="none", device="cpu", dtype="float32")
    assert loaded.family is FAMILY
    assert loaded.name == "sft_vlm_32.pth"
    assert str(home) in loaded.source


PLACES = [
    (".", "vision_model/clip-vit-base-patch16", "tokenizer"),
    ("out", "model/vision_model/clip-vit-base-patch16", "model/minimind_tokenizer"),
    ("out", "model/vision_model/clip-vit-base-patch16", "model"),
    (".", "model/vision_model/clip-vit-base-patch16", "."),
]


@pytest.mark.parametrize(("weights", "tower", "words"), PLACES)
def test_a_folder_that_holds_the_parts(
    pieces: Any, tmp_path: Path, weights: str, tower: str, words: str
) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(pieces[1], clone / tower)
    shutil.copytree(pieces[2], clone / words, dirs_exist_ok=True)
    (clone / weights).mkdir(exist_ok=True)
    shutil.copy(pieces[0], clone / weights)
    for source in (clone, clone / weights / pieces[0].name):
        assert families.find(str(source)) is FAMILY
        opened = FAMILY.open(str(source))
        assert opened.processor.tokenizer.name_or_path == str(clone / words)


def test_an_export_beside_the_published_places(pieces: Any, tmp_path: Path) -> None:
    file, tower, words = pieces
    export = tmp_path / "clone" / "MiniMind2-V"
    shutil.copytree(words, export)
    shutil.copy(file, export / "pytorch_model.bin")
    settings = {"model_type": "minimind-v", "hidden_size": 32, "num_hidden_layers": 2}
    (export / "config.json").write_text(json.dumps(settings))
    assert families.find(str(export)) is FAMILY
    with pytest.raises(ModelError, match="has no vision tower; it needs CLIP ViT-B/16"):
        FAMILY.open(str(export))
    assert FAMILY.open(joined(export, tower)).config.generation == "mid"
    shutil.copytree(tower, tmp_path / "clone/model/vision_model/clip-vit-base-patch16")
    assert FAMILY.open(str(export)).config.generation == "mid"


def test_no_tower(pieces: Any) -> None:
    with pytest.raises(ModelError) as caught:
        FAMILY.open(joined(pieces[0], pieces[2]))
    assert caught.value.key == "tower_missing"
    assert f"{pieces[0]}+openai/clip-vit-base-patch16" in str(caught.value)


def test_no_tokenizer(pieces: Any) -> None:
    with pytest.raises(ModelError, match=r"no tokenizer beside it.*\+TOWER\+TOKENIZER"):
        FAMILY.open(joined(*pieces[:2]))


def test_several_checkpoints(pieces: Any, tmp_path: Path) -> None:
    shutil.copy(pieces[0], pieces[0].with_name("pretrain_vlm_32.pth"))
    with pytest.raises(ModelError, match=r"meant: pretrain_vlm_32\.pth, sft_vlm_32\.pth"):
        FAMILY.open(str(pieces[0].parent))


def test_a_part_of_no_use(pieces: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither a vision tower nor a tokenizer"):
        FAMILY.open(joined(pieces[0], tmp_path / "nowhere"))


def test_a_tower_of_the_other_kind(pieces: Any, tmp_path: Path) -> None:
    build("head").model.vision_tower.save_pretrained(tmp_path / "siglip")
    with pytest.raises(ModelError, match=r"another kind \(siglip_vision_model\).*CLIP ViT-B/16"):
        FAMILY.open(joined(pieces[0], tmp_path / "siglip", pieces[2]))


def test_a_tower_of_other_patches(pieces: Any) -> None:
    file = pieces[1] / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"patch_size": 32}))
    with pytest.raises(ModelError, match="49 tokens"):
        FAMILY.open(joined(*pieces))


def test_a_tower_of_any_resolution(pieces: Any) -> None:
    file = pieces[1] / "config.json"
    file.write_text(json.dumps({"model_type": "siglip2_vision_model"}))
    with pytest.raises(ModelError, match="siglip2_vision_model"):
        FAMILY.open(joined(*pieces))


@pytest.mark.parametrize("name", ["classifier.pth", "sft_vlm.pth"])
def test_other_folders_with_weights(tmp_path: Path, name: str) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / name)
    assert FAMILY.recognises(str(tmp_path)) is ("vlm" in name)
    (tmp_path / "config.json").write_text('{"model_type": "llava"}')
    assert not FAMILY.recognises(str(tmp_path))


def test_adapters_of_other_families(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "adapter.pth")
    assert not FAMILY.recognises(f"{tmp_path}+{tmp_path / 'adapter.pth'}")
    assert not FAMILY.recognises(str(tmp_path / "missing.pth"))

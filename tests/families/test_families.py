"""The registry: what is recognised as what, and the list of checkpoints that can be named."""

import re
from pathlib import Path

import huggingface_hub
import pytest

from vlm import families
from vlm.families import common
from vlm.options import GenerationOptions, with_preset
from vlm.strings import TABLE

CATALOGUE = families.catalogue()


def test_every_folder_is_registered():
    package = Path(families.__file__).parent
    folders = {file.parent.name for file in package.glob("*/__init__.py")}
    assert folders == set(families.NAMES)


@pytest.mark.parametrize("name", families.NAMES)
def test_family_declares_itself(name):
    family = families.families()[name]
    assert family.name == name
    names = [tap.name for tap in family.stages]
    assert len(set(names)) == len(names) > 0
    assert names[-1] == "logits"


@pytest.mark.parametrize("name", families.NAMES)
def test_presets_are_options_with_words_for_people(name):
    presets = families.families()[name].presets
    for preset in presets:
        assert with_preset(GenerationOptions(), preset.name, presets) != GenerationOptions()
        assert f"answer_preset.{preset.name}" in TABLE
    assert len({preset.name for preset in presets}) == len(presets)


@pytest.mark.parametrize("name", families.NAMES)
@pytest.mark.parametrize("source", ["", "someone/something", "/no/such/folder", "a\0b", "."])
def test_what_belongs_to_no_family(name, source):
    assert not families.families()[name].recognises(source)
    assert families.find(source) is None


def test_the_embedded_model_is_found_by_its_folder():
    checkpoint = families.look_up("pocket")
    assert checkpoint is not None
    family = families.find(checkpoint.source)
    assert family is not None
    assert checkpoint in family.checkpoints


def test_look_up():
    assert [families.look_up(each.name) for each in CATALOGUE] == list(CATALOGUE)
    assert families.look_up("Pocket") is None
    assert families.look_up("") is None


def test_names_are_unique():
    names = [each.name for each in CATALOGUE]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("checkpoint", CATALOGUE, ids=lambda each: each.name)
def test_catalogue_says_what_people_want_to_know(checkpoint):
    assert checkpoint.good_at in TABLE
    assert checkpoint.title
    assert all(re.fullmatch("[a-z]{2,3}", each) for each in checkpoint.languages)
    assert checkpoint.languages
    assert 10 <= checkpoint.parameters <= 30_000
    assert 1024 <= checkpoint.context_length <= 1024**2
    assert checkpoint.images is None or checkpoint.images > 0
    assert checkpoint.revision is None or re.fullmatch("[0-9a-f]{40}", checkpoint.revision)
    for part in common.parts(checkpoint.source):
        assert Path(part).is_dir() or part.count("/") == 1


@pytest.mark.parametrize("name", families.NAMES)
def test_a_hub_repository_is_recognised_by_its_cached_configuration(name, tmp_path, monkeypatch):
    family = families.families()[name]
    (tmp_path / "tiny").mkdir()
    tiny = family.tiny(tmp_path / "tiny")
    snapshot = tmp_path / "hub" / "models--owner--name" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    family.open(tiny).config.save_pretrained(snapshot)
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    assert families.find("owner/name") is None
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert families.find("owner/name") is family
    assert families.find("owner/other") is None


def test_the_hub_is_asked_once_and_only_about_its_own(monkeypatch):
    asked = []

    def refuse(url, **_):
        asked.append(url)
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", refuse)
    for source in ("", ".", "/no/folder", "a/b/c", "name", "a\0b", "./owner/name"):
        assert families.find(source) is None
    assert asked == []
    assert families.find("owner/name") is None
    assert len(asked) == 1


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"', '{"model_type": 3}', "\xff"])
def test_a_damaged_configuration_is_nobodys(text, tmp_path):
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    assert common.model_type(str(tmp_path)) == ""
    assert families.find(str(tmp_path)) is None


def test_parts_of_a_source(tmp_path):
    assert common.parts("a/b + c/d+e") == ("a/b", "c/d", "e")
    (tmp_path / "x+y").mkdir()
    assert common.parts(str(tmp_path / "x+y")) == (str(tmp_path / "x+y"),)

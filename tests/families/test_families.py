"""The registry: what is recognised as what, and the list of checkpoints that can be named."""

from pathlib import Path

import pytest

from vlm import families
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
    assert len(set(family.stages)) == len(family.stages) > 0


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
    assert checkpoint.license
    assert checkpoint.parameters > 0
    assert Path(checkpoint.source).is_dir() or checkpoint.source.count("/") == 1

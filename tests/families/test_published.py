"""Full sizes: what README and the list of models say of a system is what its configuration says."""

import re
from pathlib import Path

import pytest

from tests import published
from vlm import families
from vlm.loading import empty_model

README = Path(__file__).parents[2] / "README.md"
CATALOGUE = [each for name in families.NAMES for each in families.families()[name].checkpoints]
"""Those of the families; of others no configuration is published here."""
OWN_FILES = ("out/sft_vlm_512.pth", "checkpoint-N")
"""In a command: what a person has, and no list of models can."""


def rows() -> dict[str, list[str]]:
    """Title -> the other cells of its row: command, parameters, 16, 8, 4 bits, upstream's code."""
    _, _, rest = README.read_text(encoding="utf-8").partition("| system | command |")
    table = rest.split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {title: others for title, *others in cells}


def test_every_system_has_a_row() -> None:
    assert list(rows()) == list(published.SYSTEMS)
    assert all(len(cells) == 6 and all(cells) for cells in rows().values())


@pytest.mark.parametrize("title", published.SYSTEMS)
def test_readme_says_what_the_command_prints(title: str) -> None:
    assert rows()[title][1:5] == published.sizes(title)


def test_commands_are_those_of_the_list_of_models() -> None:
    sources = {each.source for each in CATALOGUE} - {families.look_up("pocket").source}
    commands = [cells[0] for cells in rows().values()]
    named = {found[1] for each in commands if (found := re.search(r"--model ([^\s`]+)", each))}
    listed = {each for each in named if not any(own in each for own in OWN_FILES)}
    assert listed <= sources
    sizes = {re.sub(r"-(224|448)$", "", each) for each in sources - listed}
    assert sizes <= {re.sub(r"-(224|448)$", "", each) for each in listed}  # only sides left out
    assert [each for each in commands if "--model" not in each] == ["`python app.py`"]


SYSTEMS = {
    each.name: each for name in families.NAMES for each in families.families()[name].published
}


def test_everything_in_the_list_has_a_published_configuration() -> None:
    assert {each.name for each in CATALOGUE} <= SYSTEMS.keys()


@pytest.mark.parametrize("checkpoint", CATALOGUE, ids=lambda each: each.name)
def test_parameters_in_the_list_are_the_models(checkpoint: families.Checkpoint) -> None:
    """In millions, to one in a hundred."""
    model = empty_model(SYSTEMS[checkpoint.name].open().config)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert checkpoint.parameters == pytest.approx(count / 1e6, rel=0.01)

"""docs/reading*.md: the lines, the stages and the numbers that they name are there."""

import re
from pathlib import Path

import numpy
import pytest

from tests.reading_lines import LINK, PAGES, ROOT
from vlm import families
from vlm.images import open_image
from vlm.inspection import Inspection, pictures
from vlm.messages import user_message
from vlm.ui.shelf import Shelf
from vlm.words.stages import STAGES as STAGE_WORDS

WRITTEN = {path: path.read_text(encoding="utf-8") for path in PAGES}
LINKS = [(path.name, link) for path, page in WRITTEN.items() for link in LINK.finditer(page)]
STAGES = {tap.name for family in families.families().values() for tap in family.stages}


def links(page: str) -> list[tuple[str, str]]:
    return [(link["file"], link["text"]) for link in LINK.finditer(page)]


@pytest.mark.parametrize(
    ("page", "link"), LINKS, ids=[f"{page} {link['text'][:30]}" for page, link in LINKS]
)
def test_the_line_says_what_the_page_says_of_it(page: str, link: re.Match[str]) -> None:
    lines = (ROOT / link["file"]).read_text(encoding="utf-8").splitlines()
    assert link["text"] in lines[int(link["line"]) - 1], (
        "the code has moved: python -m tests.reading_lines writes the numbers anew"
    )


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_is_one_that_is_checked(path: Path) -> None:
    page = WRITTEN[path]
    assert page.count("](../") == len(links(page))
    for target in re.findall(r"\]\((\w[\w.]+)\)", page):
        assert (path.parent / target).exists()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_twelve_questions_each_with_a_line(path: Path) -> None:
    questions = re.split(r"^## \d+\. ", WRITTEN[path], flags=re.MULTILINE)[1:]
    assert len(questions) == 12
    assert all(links(each) for each in questions)


def test_both_languages_lead_to_the_same_lines() -> None:
    first, second = (links(page) for page in WRITTEN.values())
    assert first == second


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_stages_that_are_named_exist(path: Path) -> None:
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`", WRITTEN[path]))
    assert len(named) >= 7
    assert named <= STAGES
    assert all(f"stage.{name}" in STAGE_WORDS for name in named)


# ---- the numbers in the answers, as the tab shows them ----

SHELF = Shelf()


def look(name: str, example: str = "coffee") -> Inspection:
    image = open_image(ROOT / "assets" / "examples" / f"{example}.jpg")
    return SHELF.open(name).inspect([user_message("", [image])])


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    return {stage.name: stage.array.shape for stage in look(name).stages}


TOKENS = {
    "OpenGVLab/InternVL-Chat-V1-5": 256,
    "google/paligemma-3b-mix-224": 256,
    "google/paligemma-3b-mix-448": 1024,
    "CLIP-ViT-L+Qwen-7B": 256,
    "jingyaogong/MiniMind2-V": 196,
    "jingyaogong/minimind-3v": 64,
    "openbmb/MiniCPM-V-2_6": 64,
    "pocket": 16,
}


@pytest.mark.parametrize("name", TOKENS)
def test_the_first_question(name: str) -> None:
    assert shapes(name)["projector"][1] == TOKENS[name]


def test_the_third_question() -> None:
    for name, first, tiles in (
        ("OpenGVLab/InternVL-Chat-V1-5", False, 6),
        ("openbmb/MiniCPM-V-2_6", True, 2),
    ):
        (layout,) = look(name).layouts
        assert (layout.thumbnail_first, len(layout.tiles or ())) == (first, tiles)
        assert len(pictures(layout)) == tiles + 1
    assert look("OpenGVLab/InternVL-Chat-V1-5").image_tokens == 1792
    (layout,) = look("openbmb/MiniCPM-V-2_6", "cat").layouts
    assert layout.thumbnail is None and len(pictures(layout)) == 1


def test_the_fourth_question() -> None:
    found = shapes("OpenGVLab/InternVL-Chat-V1-5")
    assert found["selected"] == (7, 1025, 3200)
    assert found["pixel_shuffle"] == (7, 256, 12800)


def test_the_sixth_question() -> None:
    found = shapes("openbmb/MiniCPM-V-2_6")
    assert found["vision_tower"] == (3, 1036, 1152)
    assert found["projector"] == (3, 64, 3584)
    for page in WRITTEN.values():
        assert "3 x 1036 x 1152" in page and "7 x 256 x 12800" in page


def test_the_fifth_question() -> None:
    (drawn,) = look("openbmb/MiniCPM-V-2_6").figures
    assert (drawn.facts["patches"], drawn.facts["used"], drawn.facts["places"]) == (
        3086,
        1826,
        4900,
    )
    sizes = next(s.array for s in look("openbmb/MiniCPM-V-2_6").stages if s.name == "tgt_sizes")
    assert sizes.tolist() == [[26, 39], [37, 28], [37, 28]]


TABLES = {
    "OpenGVLab/InternVL-Chat-V1-5": 32,
    "CLIP-ViT-L+Qwen-7B": 16,
    "google/paligemma-3b-mix-224": 16,
    "jingyaogong/MiniMind2-V": 14,
    "jingyaogong/minimind-3v": 8,
}


@pytest.mark.parametrize("name", TABLES)
def test_the_tenth_question(name: str) -> None:
    facts = next(figure.facts for figure in look(name).figures if figure.name == "table")
    assert dict(facts) == {"stored": TABLES[name], "side": TABLES[name]}
    assert not any(figure.name == "table" for figure in look("pocket").figures)


@pytest.mark.parametrize("name", TOKENS)
def test_the_twelfth_question(name: str) -> None:
    (layout,) = look(name).layouts
    boxes = numpy.array([tile.box for tile in layout.tiles or ()])
    seen = [*boxes[:, :2].min(0), *boxes[:, 2:].max(0)]
    assert seen == ([100, 0, 500, 400] if name == "jingyaogong/MiniMind2-V" else [0, 0, 600, 400])
    (square,) = look(name, "astronaut").layouts
    assert sum((t.box[2] - t.box[0]) * (t.box[3] - t.box[1]) for t in square.tiles or ()) == 512**2

"""What is drawn of a comparison, as HTML, and what the room of a visit keeps."""

import subprocess
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy
import pytest

from tests.support.fakes import photo
from vlm.backend import Finished, Progress, Tile
from vlm.chat import Turn
from vlm.compare import Region, compare
from vlm.compare_ask import Part, Plan, Reply
from vlm.difference_pictures import HOTTEST, scale_colours
from vlm.errors import RequestError
from vlm.feature_difference import FeatureDifference
from vlm.messages import user_message
from vlm.options import GenerationOptions
from vlm.settings import Settings
from vlm.strings import TABLE
from vlm.ui import compare_answer, compare_view
from vlm.ui.compare_examples import PAIRS, example_pair
from vlm.ui.compare_offer import ROOM, Offer
from vlm.ui.compare_panel import SECTIONS
from vlm.ui.compare_room import KEPT_RESULTS, Result, Room, compared
from vlm.ui.compare_view import Pair
from vlm.ui.look import head

IMAGES = [photo(seed=seed, size=(300, 150)) for seed in range(4)]
FOUND = compare(IMAGES[0], IMAGES[0])
PICTURES = {"first": "a", "second": "b", "heat": "c"}


def pair(**changes: object) -> Pair:
    return Pair((1, 2), (IMAGES[0], IMAGES[1]), replace(FOUND, **changes), PICTURES)


def test_figures_and_regions_beside_the_pictures():
    regions = (
        Region(1, (0, 0, 60, 30), 0.04, 9.0, 0.5, False),
        Region(2, (200, 100, 300, 150), 0.02, 9.0, 0.1, True),
    )
    drawn = compare_view.side(pair(regions=regions, similarity=0.8765, changed_share=0.061), "en")
    for words in ("0.876", "6.1 %", "60 × 30 px", "4.0 %", "upper left", "lower right"):
        assert words in drawn
    assert drawn.count("can hardly see") == 1
    assert 'data-region="2" data-hardly="true"' in drawn
    boxes = compare_view.viewer(pair(regions=regions), "en")
    assert "left: 66.667%; top: 66.667%; width: 33.333%; height: 33.333%" in boxes
    assert boxes.count('class="box"') == 4  # of both panes
    assert boxes.count('tabindex="-1"') == 2


def test_two_regions_of_one_place_are_told_apart_everywhere():
    regions = (Region(1, (120, 55, 130, 65), 0.04, 9.0), Region(2, (110, 80, 120, 90), 0.02, 9.0))
    for drawn in (
        compare_view.side(pair(regions=regions), "en"),
        compare_view.viewer(pair(regions=regions), "en"),
    ):
        assert "middle (upper)" in drawn
        assert "middle (lower)" in drawn


def test_what_the_shares_are_shares_of_is_said():
    drawn = compare_view.side(pair(regions=(Region(1, (0, 0, 60, 30), 0.04, 9.0),)), "en")
    assert "what both pictures show, and is therefore compared" in drawn
    assert "Share of what is compared; all regions add up" in drawn


def test_numbers_lie_above_the_handle_and_can_be_pressed_through():
    drawn = compare_view.viewer(pair(regions=(Region(1, (0, 0, 60, 30), 0.04, 9.0),)), "en")
    assert drawn.index("sheet boxes") < drawn.index('class="grip"') < drawn.index("sheet labels")
    assert drawn.count('<span class="number" aria-hidden="true"') == 2


def test_heat_maps_have_a_scale():
    drawn = compare_view.viewer(pair(), "en")
    assert f"{HOTTEST:.0f} and more" in drawn
    assert scale_colours()[-1] in drawn
    assert "model-scale" not in compare_view.side(pair(), "en")  # the model was not asked
    tiles = tuple(
        Tile(box=(0, 0, 300, 150), rows=rows, columns=columns) for rows, columns in ((3, 6), (2, 2))
    )
    apart = tuple(numpy.zeros((tile.rows, tile.columns), numpy.float32) for tile in tiles)
    seen = replace(pair(), seen=FeatureDifference(tiles, apart, 0.0312))
    drawn = compare_view.side(seen, "en")
    for words in (
        "alike up to 0.031",
        "1 and more",
        "about 50 × 50 px",
        "0.031 is what",
    ):
        assert words in drawn
    assert "0.031" in compare_view.side(seen, "zh")


def test_names_of_files_are_escaped():
    bad = replace(IMAGES[0], name='<img src=x onerror="alert(1)">.png')
    drawn = compare_view.viewer(Pair((1, 2), (bad, IMAGES[1]), FOUND, PICTURES), "en")
    drawn += compare_view.strip([bad, bad, bad], (0, 1), "en")
    drawn += compare_view.waiting_for_second(bad, "en")
    assert "<img src=x" not in drawn


def test_identical_and_unchanged_are_told_apart():
    same = Pair((1, 2), (IMAGES[0], IMAGES[0]), FOUND, PICTURES)
    assert compare_view.sentences_of(same, "en") == ["Identical: no pixel differs."]
    assert any("No change found" in each for each in compare_view.sentences_of(pair(), "en"))


def turn(text: str) -> Turn:
    return Turn(user_message("What?"), text, Finished("stop"), GenerationOptions())


def test_an_answer_grows_ends_and_is_stopped():
    waiting = Reply((Part(None),), waiting=Progress("thinking"))
    assert "thinking" in compare_answer.answer(waiting, "en")
    assert compare_answer.answer(waiting, "en", ended=True).count("stopped") == 1
    assert compare_answer.answer(Reply((Part(None, "A cup."),)), "en") == "A cup."
    done = Reply((Part(None, "A cup.", turn("A cup.")),))
    assert compare_answer.answer(done, "en", ended=True) == "A cup."
    parts = Reply((Part(1, "A."), Part(2, "B.")), unjoined=RequestError("empty_message"))
    drawn = compare_answer.answer(parts, "en", ended=True)
    assert "**Picture 1**" in drawn
    assert "could not be joined" in drawn


def test_how_it_was_asked_is_said():
    assert "one prompt" in compare_answer.how_asked(Plan(True), 3, 0, None, "en")
    assert "2 of 5" in compare_answer.how_asked(Plan(True, 2), 2, 5, None, "en")
    assert "1 picture(s)" in compare_answer.how_asked(Plan(False), 2, 0, 1, "en")


# ---- the room ----


def test_pictures_are_added_chosen_and_removed():
    room = Room()
    assert room.pair is None
    assert room.add(IMAGES[:2], 3) == 0
    assert room.pair == (IMAGES[0], IMAGES[1])
    assert room.add(IMAGES[2:], 3) == 1  # one too many
    assert room.pair == (IMAGES[0], IMAGES[2])
    room.choose(2, "first")  # it was right: they swap
    assert room.pair == (IMAGES[2], IMAGES[0])
    room.choose(1, "second")
    assert room.pair == (IMAGES[2], IMAGES[1])
    room.remove(2)
    assert room.pair == (IMAGES[0], IMAGES[1])
    room.remove(9)
    room.remove(0)
    assert (room.pair, room.images) == (None, [IMAGES[1]])


def test_results_are_kept_for_a_few_pairs_and_forgotten_with_the_visit(tmp_path):
    room = Room()
    room.add(IMAGES[:2], 8)
    cancel = threading.Event()
    result = compared((IMAGES[0], IMAGES[1]), True, tmp_path, lambda stage: None, cancel)
    assert len(list(tmp_path.iterdir())) == 3
    assert all(each.startswith("gradio_api/file=") for each in result.pictures.values())
    room.keep(room.key, result)
    assert room.result is result
    for number in range(KEPT_RESULTS):
        room.keep((number,), Result(FOUND, PICTURES))
    assert room.result is None
    running = room.begin()
    room.leave()
    assert running.is_set()
    assert (room.images, room.results) == ([], {})


def test_what_comparing_needs_is_imported_beforehand_and_not_before_it_is_asked_for():
    code = """
import sys
from vlm.ui import ASSETS, compare_room
assert "skimage" not in sys.modules
compare_room.prepare().join()
there = set(sys.modules)
from vlm.compare import compare
from vlm.ui.compare_examples import PAIRS, example_pair
for name in PAIRS:
    assert compare(*example_pair(ASSETS, name)).regions
late = {name for name in set(sys.modules) - there if name.split(".")[0] in ("skimage", "scipy")}
assert not late, late
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_another_comparison_ends_the_one_before():
    room = Room()
    first = room.begin()
    assert not room.begin().is_set()
    assert first.is_set()


def test_no_more_is_offered_to_other_sections_than_they_may_hold():
    room = Room()
    room.add([*IMAGES, IMAGES[0]], 8)
    context = SimpleNamespace(settings=Settings(max_images=3))
    offer, visit = Offer(context, "grid"), SimpleNamespace(rooms={ROOM: room})
    assert offer.images(visit, ()) == IMAGES[:3]
    assert offer.images(visit, {IMAGES[0].sha256}) == IMAGES[1:3]
    assert offer.images(visit, {"another", "one", "more"}) == []
    assert offer.images(SimpleNamespace(rooms={}), ()) == []
    assert list(offer.drawn(visit, {each.sha256 for each in IMAGES}, "en").values()) == [""]


# ---- examples, sections ----


@pytest.mark.parametrize("name", PAIRS)
def test_example_pairs_are_always_the_same_and_show_changes(name):
    from vlm.ui import ASSETS

    first, second = example_pair(ASSETS, name)
    assert example_pair(ASSETS, name)[1] == second
    found = compare(first, second)
    assert found.alignment.state == "aligned"
    assert found.regions


def test_every_section_has_a_label_and_the_script_is_in_the_page():
    from vlm.ui import ASSETS

    assert all(f"section.{name}" in TABLE for name in SECTIONS)
    assert "window.diptych.compare" in head(ASSETS)

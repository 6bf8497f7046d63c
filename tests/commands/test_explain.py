"""`python -m vlm explain`: tokens, maps, and the check of itself with the embedded model."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from PIL import Image as pillow

from vlm.commands.compare_pairs import PHOTOS
from vlm.commands.explain_check import (
    make_picture,
    measure_one,
    measure_own,
    measure_two,
    wilson,
)
from vlm.engine import Engine

CAT = str(PHOTOS / "cat.jpg")
ASK = ("explain", CAT, "-p", "Describe the image.", "--answer", "A cat.", "--device", "cpu")


def test_tokens_in_words_and_a_map(run, tmp_path):
    ran = run(*ASK, "--word", "cat", "--out", str(tmp_path / "map.png"))
    assert ran.status == 0
    lines = ran.out.splitlines()
    assert [line.split("\t")[0] for line in lines[:3]] == ['"A"', '" cat"', '"."']
    assert lines[3].startswith("image 1: ")
    assert ran.err == "loading the model …\nlooking where it looked, 1 of 1 …\n"
    picture = pillow.open(tmp_path / "map.png")
    assert (picture.mode, picture.size) == ("RGB", (451, 300))


def test_json(run):
    found = json.loads(run(*ASK, "--word", "cat", "--json").out)
    assert (found["answer"], found["chosen"], found["method"]) == ("A cat.", [1], "attention")
    (image,) = found["images"]
    assert (image["size"], image["grain"], len(image["cells"])) == ([451, 300], "token", 16)
    assert 0 < sum(cell["value"] for cell in image["cells"]) < 1
    assert max(cell["strength"] for cell in image["cells"]) == 1
    assert found["tokens"][1]["text"] == " cat"


def test_several_images_are_written_one_by_one(run, tmp_path):
    words = [*ASK[:2], CAT, *ASK[2:], "--out", str(tmp_path / "map.png")]
    assert run(*words).status == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map-1.png", "map-2.png"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((*ASK, "--word", "dog"), "does not contain “dog”"),
        ((*ASK, "--out", "/dev/null/map.png"), "/dev/null/map.png"),
        (("explain", CAT, "--check"), "Leave them out"),
    ],
)
def test_what_cannot_be_done_is_said(run, words, says):
    ran = run(*words)
    assert ran.status == 1
    assert says in ran.err


# ---- the check ----


@pytest.mark.parametrize(
    ("found", "of", "low", "high"),
    [(0, 0, 0, 1), (10, 10, 0.7225, 1), (50, 200, 0.1951, 0.3144), (120, 200, 0.5308, 0.6654)],
)
def test_intervals(found, of, low, high):
    assert wilson(found, of) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("objects", [1, 2])
def test_pictures_have_their_objects_where_they_say(objects):
    for seed in range(12):
        made, again = make_picture(seed, objects), make_picture(seed, objects)
        assert made.image == again.image
        assert made.objects == again.objects
        array = numpy.asarray(made.image.pixels, float)
        busy = array.std(axis=2) + numpy.abs(array.mean(2) - numpy.median(array.mean(2)))
        parts = [busy[:256, :256], busy[:256, 256:], busy[256:, :256], busy[256:, 256:]]
        order = numpy.argsort([part.std() for part in parts])[::-1]
        assert set(order[:objects].tolist()) == set(made.objects.values())


@pytest.fixture(scope="module")
def pocket() -> Iterator[Engine]:
    folder = Path(__file__).parents[2] / "assets" / "pocket"
    engine = Engine.load(str(folder), quantization="none", device="cpu")
    yield engine
    engine.close()


def test_the_map_of_a_word_lies_on_its_object(pocket):
    """On 200 pictures in at least 60 %; chance is 25 %."""
    rate = measure_one(pocket, 200, "attention")
    assert rate.found >= 0.6 * rate.pictures == 120
    low, _ = wilson(rate.found, rate.pictures)
    assert low > 0.25


def test_with_shuffled_tokens_only_chance_is_left(pocket):
    """On 200 pictures about 25 %: not further from it than chance itself goes once in 1000."""
    rate = measure_one(pocket, 200, "attention", shuffle=True)
    low, high = wilson(rate.found, rate.pictures, z=3.29)
    assert low < 0.25 < high


def test_it_holds_for_answers_of_its_own(pocket):
    rate = measure_own(pocket, 10, "attention")
    assert rate.pictures >= 5
    assert rate.found >= 0.6 * rate.pictures


def test_what_a_word_has_beyond_the_rest_tells_two_objects_apart(pocket):
    _, beyond = measure_two(pocket, 40, "attention")
    low, _ = wilson(beyond.found, beyond.pictures)
    assert low > 0.5

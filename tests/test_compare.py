"""What is promised about changed regions and figures, on pairs with known edits."""

import io
import json
import threading

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as pillow
from PIL import ImageDraw

from vlm import compare as module
from vlm.alignment import Alignment
from vlm.arrays import scaling
from vlm.commands.compare_check import Score, count, measure
from vlm.commands.compare_pairs import KINDS, PHOTOS, make_pair
from vlm.compare import WORKING_SIDE, colour_difference, compare, outline
from vlm.errors import RequestError
from vlm.exposure import Exposure
from vlm.images import made_image, open_image

SEED = 77
PAIRS = 6
EDITED = ("removed", "recoloured", "moved", "all")


def photo(name: str) -> pillow.Image:
    return open_image(PHOTOS / f"{name}.jpg").pixels.convert("RGB")


def jpeg(picture: pillow.Image, quality: int) -> pillow.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return open_image(file.getvalue()).pixels


def of(first: pillow.Image, second: pillow.Image) -> module.Comparison:
    return compare(made_image(first), made_image(second))


# ---- promises ----


def test_precision_and_recall_of_changed_regions():
    """Over all kinds of edits; `python -m vlm compare --check` tells each kind, on more pairs."""
    scores = [measure(kind, PAIRS, SEED) for kind in EDITED]
    right, found, true, common, marked, edited = (
        sum(getattr(score, name) for score in scores)
        for name in ("right", "found", "true", "common", "marked", "edited")
    )
    assert true == 5 * PAIRS  # a moved object changes two places
    assert right / found >= 0.9
    assert right / true >= 0.9
    assert common / marked >= 0.9
    assert common / edited >= 0.9
    assert max(error for score in scores for error in score.errors) < 1


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(EDITED)))
def test_no_region_where_nothing_was_edited(kind):
    row = measure(kind, PAIRS, SEED).as_json()
    assert (row["edits"], row["regions"]) == (0, 0)
    assert row["largest_error"] < 1


@pytest.mark.parametrize("name", ["astronaut", "cat", "coffee", "photographer"])
@pytest.mark.parametrize("quality", [70, 80, 95])
def test_no_region_after_recompression(name, quality):
    found = of(photo(name), jpeg(photo(name), quality))
    assert (found.regions, found.changed_share, found.alignment.state) == ((), 0, "same_frame")
    assert 0.9 < found.similarity < 1


@pytest.mark.parametrize("colours", [("red", "white"), ("yellow", "black"), ("red", "blue")])
def test_no_region_in_recompressed_letters_of_colour(colours):
    """JPEG thins out colour, so this is the worst that it does."""
    page = pillow.new("RGB", (600, 300), colours[1])
    for row in range(5, 300, 18):
        ImageDraw.Draw(page).text((5, row), "The quick brown fox 0123 " * 5, fill=colours[0])
    assert of(page, jpeg(page, 70)).regions == ()


# ---- the promises fail without their parts ----


def regions_of(kind: str) -> int:
    score = Score(kind)
    for number in range(PAIRS):
        pair = make_pair(kind, SEED + number)
        count(score, pair, compare(pair.first, pair.second))
    return score.found


@pytest.mark.parametrize("kind", ["rotated", "scaled"])
def test_without_alignment_there_would_be_regions(kind, monkeypatch):
    def as_framed(first, second, **_):
        return Alignment("same_frame", scaling(first.pixels.size, second.pixels.size))

    monkeypatch.setattr(module, "align", as_framed)
    assert regions_of(kind) > 0


def test_without_exposure_there_would_be_regions(monkeypatch):
    monkeypatch.setattr(module, "find_exposure", lambda *_: Exposure())
    assert regions_of("re_exposed") > 0


# ---- figures ----


def test_equal_images():
    found = of(photo("cat"), photo("cat"))
    assert (found.similarity, found.changed_share, found.regions) == (1, 0, ())
    assert (found.overlap, found.brightness) == (1, 0)
    assert not found.difference.any()


def test_boxes_are_in_pixels_of_the_first_image():
    first = photo("coffee").resize((2400, 1600))
    second = first.copy()
    second.paste((20, 200, 60), (600, 400, 1000, 800))
    found = of(first, second.resize((600, 400)))
    (region,) = found.regions
    assert region.number == 1
    assert numpy.abs(numpy.array(region.box) - (600, 400, 1000, 800)).max() <= 16
    assert region.area == pytest.approx(400 * 400 / (2400 * 1600), rel=0.1)
    assert found.changed_share == pytest.approx(region.area, rel=1e-6)
    assert max(found.difference.shape) == 600  # nothing is enlarged


def test_areas_are_shares_of_what_both_show():
    """They add up to what changed, also where the second shows only a part of the first."""
    second = photo("coffee")
    second.paste((20, 200, 60), (300, 100, 400, 180))
    second.paste((20, 60, 220), (420, 220, 500, 280))
    found = of(photo("coffee"), second.crop((150, 0, 600, 400)))
    assert found.overlap == pytest.approx(0.75, abs=0.01)
    assert len(found.regions) == 2
    assert sum(each.area for each in found.regions) == pytest.approx(found.changed_share)
    compared = found.seen.sum()
    assert found.regions[0].area == pytest.approx(100 * 80 / compared, rel=0.1)
    assert not found.changed[~found.seen].any()


def test_regions_are_numbered_from_the_largest():
    second = photo("astronaut")
    second.paste((0, 255, 0), (20, 20, 80, 80))
    second.paste((0, 255, 0), (300, 300, 420, 420))
    second.paste((0, 255, 0), (20, 400, 120, 480))
    found = of(photo("astronaut"), second)
    assert [region.number for region in found.regions] == [1, 2, 3]
    assert [round(region.box[0] / 20) for region in found.regions] == [15, 1, 1]
    areas = [region.area for region in found.regions]
    assert areas == sorted(areas, reverse=True)


def test_brightness_tells_what_was_taken_out():
    brighter = photo("coffee").point(lambda value: min(255, int(value * 1.2)))
    found = of(photo("coffee"), brighter)
    assert 3 < found.brightness < 15
    assert found.regions == ()
    assert of(brighter, photo("coffee")).brightness == pytest.approx(-found.brightness)


@pytest.mark.parametrize("gain", [1.3, 1.6])
def test_what_was_cut_off_at_white_is_no_change(gain):
    brighter = photo("coffee").point(lambda value: min(255, int(value * gain)))
    assert of(photo("coffee"), brighter).regions == ()
    assert of(brighter, photo("coffee")).regions == ()


@pytest.mark.parametrize("size", [120, 512])
@pytest.mark.parametrize("name", ["astronaut", "photographer"])
def test_the_rim_of_a_turned_picture_is_no_change(name, size):
    first = photo(name).resize((size, size))
    turned = first.rotate(3, pillow.Resampling.BICUBIC, fillcolor=(255, 0, 0))
    assert of(first, jpeg(turned, 70)).regions == ()


def test_edges_that_lie_half_a_pixel_apart_do_not_differ():
    first = numpy.asarray(photo("astronaut"), numpy.float32) / 255
    for axis in (0, 1):
        half = (first + numpy.roll(first, 1, axis)) / 2
        assert colour_difference(first, half, Exposure())[2:-2, 2:-2].max() < 0.7 * module.SURE
    assert colour_difference(first, numpy.roll(first, 5, 1), Exposure()).max() > 2 * module.SURE


def test_two_greys_are_not_one_picture_exposed_twice():
    found = of(*(pillow.new("RGB", (60, 40), (grey,) * 3) for grey in (60, 180)))
    assert (found.alignment.state, found.changed_share) == ("no_detail", 1)


def test_what_the_second_does_not_show_is_no_change():
    first = photo("astronaut")
    found = of(first, first.crop((0, 0, 300, 400)))
    assert found.overlap == pytest.approx(300 * 400 / 512**2, abs=0.05)
    assert found.regions == ()
    assert not found.difference[~found.seen].any()


def test_pictures_that_do_not_align_are_compared_as_they_are():
    found = of(photo("cat"), photo("coffee"))
    assert found.alignment.state == "failed"
    assert found.overlap == 1
    assert found.similarity < 0.5
    assert found.changed_share > 0.8


def test_black_and_white_are_not_one_picture_exposed_twice():
    found = of(pillow.new("RGB", (60, 40)), pillow.new("RGB", (60, 40), "white"))
    assert found.alignment.state == "no_detail"
    assert found.similarity < 0.01
    assert (found.changed_share, found.brightness) == (1, 100)


def test_opacity_is_compared_too():
    first = pillow.new("RGBA", (100, 100), (255, 255, 255, 255))
    second = first.copy()
    second.paste((255, 255, 255, 0), (20, 20, 60, 60))
    (region,) = of(first, second).regions
    assert numpy.abs(numpy.array(region.box) - (20, 20, 60, 60)).max() <= 3


def test_colours_under_transparency_do_not_count():
    first = pillow.new("RGBA", (50, 50), (255, 0, 0, 0))
    second = pillow.new("RGBA", (50, 50), (0, 0, 255, 0))
    found = of(first, second)
    assert (found.regions, found.similarity) == ((), 1)


def test_parts_close_together_are_one_region():
    difference = numpy.zeros((400, 400), numpy.float32)
    difference[100:150, 100:150] = difference[100:150, 156:200] = 30
    _, regions = outline(difference, numpy.ones_like(difference, bool), (400, 400))
    assert [region.box for region in regions] == [(100, 100, 200, 150)]


def test_a_faint_difference_belongs_to_a_region_only_beside_a_sure_one():
    difference = numpy.zeros((400, 400), numpy.float32)
    seen = numpy.ones_like(difference, bool)
    difference[100:200, 100:200] = module.POSSIBLE + 1
    assert outline(difference, seen, (400, 400))[1] == ()
    difference[120:130, 120:130] = module.SURE + 1
    assert outline(difference, seen, (400, 400))[1][0].box == (100, 100, 200, 200)


def test_what_is_not_seen_belongs_to_no_region():
    """The gap between two parts that are one region lies where nothing is compared."""
    difference = numpy.zeros((400, 400), numpy.float32)
    difference[100:150, 100:150] = difference[100:150, 156:200] = 30
    seen = numpy.ones_like(difference, bool)
    seen[:, 150:156] = seen[200:] = False
    changed, (region,) = outline(difference, seen, (400, 400))
    assert not changed[~seen].any()
    assert region.area == pytest.approx(50 * 94 / (200 * 394), rel=0.03)


# ---- any picture at all ----

MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK")


@st.composite
def pictures(draw) -> pillow.Image:
    size = draw(st.tuples(st.integers(1, 90), st.integers(1, 90)))
    kind = draw(st.sampled_from(["photo", "noise", "blank"]))
    if kind == "photo":
        picture = photo("cat").resize(size).convert("RGBA")
    elif kind == "noise":
        random = numpy.random.default_rng(draw(st.integers(0, 9)))
        noise = random.integers(0, 256, (size[1], size[0], 4), dtype=numpy.uint8)
        picture = pillow.fromarray(noise)
    else:
        picture = pillow.new("RGBA", size, draw(st.sampled_from(["white", "#20c04080"])))
    mode = draw(st.sampled_from(MODES))
    if mode == "P":
        picture = picture.convert("RGB").convert("P")
        picture.info["transparency"] = draw(st.integers(0, 3))
        return picture
    return picture.convert("RGB").convert(mode) if mode == "CMYK" else picture.convert(mode)


@settings(max_examples=60)
@given(pictures(), pictures())
def test_any_two_pictures_have_a_defined_result(first, second):
    found = of(first, second)
    figures = (found.similarity, found.changed_share, found.overlap, found.brightness)
    assert numpy.isfinite(figures).all()
    assert -1 <= found.similarity <= 1 + 1e-6
    assert 0 <= found.changed_share <= 1
    assert numpy.isfinite(found.difference).all()
    shapes = {each.shape for each in (found.difference, found.changed, found.seen)}
    assert shapes == {found.aligned.size[::-1]}
    for region in found.regions:
        left, top, right, bottom = region.box
        assert 0 <= left < right <= first.size[0]
        assert 0 <= top < bottom <= first.size[1]
        assert 0 < region.area <= 1
    assert sum(region.area for region in found.regions) == pytest.approx(found.changed_share)


@pytest.mark.parametrize("size", [(1, 1), (16000, 1), (3, 5), (3000, 2500)])
def test_one_far_larger_than_the_other(size):
    for pair in (
        (photo("cat").resize(size), photo("cat")),
        (photo("cat"), photo("cat").resize(size)),
    ):
        found = of(*pair)
        assert max(found.difference.shape) <= WORKING_SIDE
        assert 0 <= found.similarity <= 1


# ---- progress and cancel ----


def test_stages_are_told():
    heard: list[str] = []
    compare(made_image(photo("cat")), made_image(photo("coffee")), progress=heard.append)
    assert heard == ["aligning", "comparing", "outlining"]


@pytest.mark.parametrize("stage", ["aligning", "comparing", "outlining"])
def test_cancelled_at_any_stage(stage):
    cancel = threading.Event()

    def stop_there(heard: str) -> None:
        if heard == stage:
            cancel.set()

    with pytest.raises(RequestError) as caught:
        compare(
            made_image(photo("cat")),
            made_image(jpeg(photo("cat"), 90)),
            progress=stop_there,
            cancel=cancel,
        )
    assert caught.value.key == "compare_cancelled"


def test_without_alignment_the_frames_lie_as_they_are():
    """Nothing is moved and no exposure taken out."""
    darker = photo("cat").rotate(4).point([round(value * 0.8) for value in range(256)] * 3)
    first, second = made_image(photo("cat")), made_image(darker)
    found = compare(first, second, aligned=False)
    assert found.alignment.state == "not_asked"
    assert not found.alignment.found
    assert not found.exposure.changed
    assert found.changed_share > 5 * compare(first, second).changed_share
    numpy.testing.assert_array_equal(found.alignment.matrix, numpy.eye(3))


def test_figures_as_json():
    found = of(photo("cat"), photo("cat").rotate(3))
    told = json.loads(json.dumps(found.to_json()))
    assert told["alignment"]["state"] == "aligned"
    assert told["alignment"]["rotation"] == pytest.approx(found.alignment.rotation)
    assert told["similarity"] == found.similarity
    assert [tuple(each["box"]) for each in told["regions"]] == [r.box for r in found.regions]

"""Stages as small pictures: grids, strips, colours that tell features apart."""

import numpy
import pytest
from PIL import Image as pillow

from vlm.backend import Stage
from vlm.inspection import Figure, PixelScale
from vlm.messages import Image, user_message
from vlm.stage_pictures import (
    PALE,
    TALL,
    features,
    figure_picture,
    form,
    histogram,
    mosaic,
    numbers,
    picture,
    strip,
)
from vlm.unweighted import open_unweighted

RANDOM = numpy.random.default_rng(0)


def stage(array: numpy.ndarray, axes: str, known: bool = True) -> Stage:
    return Stage("stage", array, tuple(axes.split()), known=known)


def test_pixels_look_like_the_picture() -> None:
    pixels = numpy.zeros((1, 3, 4, 6), numpy.float32)
    pixels[0, 0, :, 3:] = 2.5  # red on the right, whatever was taken off and divided by
    pixels[0, 1:, 0, 0] = 1.0
    shown = numpy.asarray(picture(stage(pixels, "images channels height width")))
    assert shown.shape == (4, 6, 3)
    assert shown[1, 5].tolist() == [255, 0, 0]


def test_one_scale_for_all_colours_where_nothing_is_known() -> None:
    pixels = numpy.zeros((1, 3, 2, 2), numpy.float32)
    pixels[0, :, 0] = 1.0  # white above black
    pixels[0, 0, 1] = 0.9  # but for some red
    shown = numpy.asarray(picture(stage(pixels, "images channels height width")))
    assert shown[0, 0].tolist() == [255, 255, 255]
    assert shown[1, 1].tolist() == [230, 0, 0]


def test_a_known_scale_gives_the_colours_back() -> None:
    scale = PixelScale((-1.0, -2.0, 0.0), (1.0, 2.0, 255.0))
    pixels = numpy.array([0.0, -2.0, 51.0], numpy.float32)[None, :, None, None]
    (colour,) = numpy.asarray(picture(stage(pixels, "images channels height width"), (), scale))[0]
    assert colour.tolist() == [128, 0, 51]


@pytest.mark.parametrize("colour", [(200, 30, 60), (20, 90, 240), (128, 128, 128), (0, 0, 0)])
@pytest.mark.parametrize(
    "name",
    [
        "jingyaogong/MiniMind2-V",  # the mean and deviation of CLIP
        "jingyaogong/minimind-3v",  # 0.5 and 0.5
        "openbmb/MiniCPM-V-2_6",  # the same, in strips
        "OpenGVLab/Mini-InternVL-Chat-2B-V1-5",  # those of ImageNet
        "pocket",
    ],
)
def test_a_photo_in_one_colour_keeps_it(name: str, colour: tuple[int, int, int]) -> None:
    plain = Image(pillow.new("RGB", (300, 200), colour), str(colour), "plain", (300, 200))
    found = open_unweighted(name).inspect([user_message("", [plain])])
    pixels = next(each for each in found.stages if each.name == "pixel_values")
    drawn = picture(pixels, found.stages, found.pixel_scale)
    assert drawn is not None
    shown = numpy.asarray(drawn).reshape(-1, 3).astype(int)
    of_photo = shown[(shown != PALE).any(1)]  # the ground between pictures is pale
    assert len(of_photo) > 0.5 * len(shown)
    assert abs(of_photo - colour).max() <= 2


def test_a_strip_of_patches_is_put_together_again() -> None:
    whole = RANDOM.random((3, 4, 6), numpy.float32)  # 2 x 3 patches of 2
    patches = whole.reshape(3, 2, 2, 3, 2).transpose(0, 2, 1, 3, 4).reshape(3, 2, 12)
    filled = numpy.concatenate([patches, numpy.zeros((3, 2, 4), numpy.float32)], axis=2)
    sizes = stage(numpy.array([[2, 3]]), "images sides")
    pixels = stage(filled[None], "images channels height width")
    shown = numpy.asarray(picture(pixels, [sizes])).astype(float)
    assert shown.shape == (4, 6, 3)
    flat, expected = shown.reshape(-1, 3), whole.transpose(1, 2, 0).reshape(-1, 3)
    for colour in range(3):
        assert numpy.corrcoef(flat[:, colour], expected[:, colour])[0, 1] > 0.999


@pytest.mark.parametrize(
    ("positions", "grid"), [(16, (4, 4)), (17, (4, 4)), (12, (1, 12)), (1, (1, 1))]
)
def test_positions_lie_on_their_grid(positions: int, grid: tuple[int, int]) -> None:
    (drawn,) = features(RANDOM.random((1, positions, 8), numpy.float32))
    assert drawn.shape == (*grid, 3)


def test_features_that_differ_have_different_colours() -> None:
    array = numpy.zeros((1, 16, 32), numpy.float32)
    array[0, :8, 3] = 5.0
    array[0, ::2, 9] = 2.0
    (drawn,) = features(array)
    flat = drawn.reshape(16, 3).astype(int)
    first, other, third = flat[0], flat[1], flat[9]
    assert (flat[0] == flat[2]).all()
    assert abs(first - other).max() > 100 and abs(first - third).max() > 100


def test_no_number_at_all_breaks_nothing() -> None:
    array = numpy.full((2, 4, 3), numpy.nan, numpy.float32)
    assert picture(stage(array, "images positions width")) is not None
    assert numbers(stage(array, "images positions width")) == {"not_finite": 24.0}
    assert histogram(numpy.full((5, 5), numpy.nan)).size == (48, 24)


def test_a_shape_has_no_picture_and_no_numbers() -> None:
    nothing = stage(numpy.broadcast_to(numpy.float32(0), (10**6, 10**6)), "rows columns", False)
    assert picture(nothing) is None
    assert numbers(nothing) == {}


def test_a_strip_has_a_pixel_for_each_token() -> None:
    shown = strip(numpy.arange(100.0))
    assert shown.size == (100, 1)
    assert strip(numpy.arange(10_000.0)).size == (2048, 1)
    light = numpy.asarray(shown)[0].astype(int).sum(axis=1)
    assert light[95] > light[50] > light[5]


def test_a_strip_marks_the_tokens_of_images() -> None:
    marked = numpy.zeros(100, bool)
    marked[20:60] = True
    ids = stage(numpy.arange(100)[None], "batch tokens")
    drawn = picture(ids, of_images=marked)
    assert drawn is not None
    shown = numpy.asarray(drawn)
    assert shown.shape == (8, 100, 3)
    below = (shown[-1] != PALE).any(1)
    assert below.tolist() == marked.tolist()
    assert (shown[0] == numpy.asarray(strip(numpy.arange(100)))[0]).all()
    longer = numpy.zeros(10_000, bool)
    longer[5000] = True  # one token among many that share its place is still seen
    many = numpy.asarray(strip(numpy.arange(10_000), longer))
    assert (many[-1] != PALE).any(1).sum() == 1


def test_only_tokens_of_the_prompt_are_marked() -> None:
    marked = numpy.ones(4, bool)
    hidden = RANDOM.random((1, 4, 8), numpy.float32)
    assert picture(stage(hidden, "batch tokens width"), of_images=marked).height == 8
    assert picture(stage(hidden[:, 1:], "batch tokens width"), of_images=marked).height == 1
    assert picture(stage(hidden[0], "positions width"), of_images=marked).height == 1
    assert picture(stage(hidden, "batch tokens width"), of_images=~marked).height == 1
    assert form(stage(hidden[0], "positions width")) == "strip"
    assert form(stage(hidden, "images positions width")) == "features"
    assert form(stage(hidden, "batch tokens words")) == "histogram"


def test_a_mosaic_holds_every_part() -> None:
    parts = [numpy.full((2, 3, 3), shade, numpy.uint8) for shade in (10, 20, 30)]
    shown = numpy.asarray(mosaic(parts))
    assert shown.shape == (5, 7, 3)
    assert {10, 20, 30, PALE} == set(shown.ravel().tolist())


def test_numbers_are_those_of_the_array() -> None:
    array = numpy.array([[1.0, 2.0, numpy.inf]], numpy.float32)
    found = numbers(stage(array, "batch words"))
    assert found == {"min": 1.0, "mean": 1.5, "max": 2.0, "spread": 0.5, "not_finite": 1.0}


def test_cells_of_one_token_have_one_colour() -> None:
    owner = numpy.arange(4).reshape(2, 2).repeat(2, 0).repeat(2, 1)
    shown = numpy.asarray(figure_picture(Figure("gathered", owner)))
    colours = {tuple(colour) for colour in shown.reshape(-1, 3).tolist()}
    assert len(colours) == 4
    assert (shown[0, 0] == shown[1, 1]).all()


def test_pairs_are_seen_before_and_after() -> None:
    both = numpy.array([[0, 0, 1, 1], [0, 1, 0, 1]])
    shown = numpy.asarray(figure_picture(Figure("pairs", both)))
    assert shown.shape == (2 * TALL + 1, 4, 3)
    above, below = shown[0], shown[-1]
    assert (above[0] == above[1]).all() and (below[0] == below[2]).all()
    assert (above[0] == below[0]).all() and (above[0] != above[2]).any()
    assert (shown[TALL] == PALE).all()


def test_turning_no_further_than_in_training_is_dark() -> None:
    plain, slowed = numpy.array([[1.0, 1.0], [8.0, 8.0]]), numpy.array([[1.0, 1.0], [8.0, 0.5]])
    shown = numpy.asarray(figure_picture(Figure("turns", numpy.stack((plain, slowed)))))
    assert shown.shape == (2 * TALL, 5, 3)
    light = shown.astype(int).sum(-1)
    assert light[0, 0] == light[0, 1] == light[0, 3] == light[-1, 4]
    assert light[-1, 0] == light[-1, 1] == light[-1, 3] > light[0, 0]


def test_unused_places_are_pale() -> None:
    counts = numpy.zeros((3, 3), int)
    counts[1, 1] = 4
    shown = numpy.asarray(figure_picture(Figure("buckets", counts)))
    assert (shown[0, 0] == PALE).all() and (shown[1, 1] != PALE).any()

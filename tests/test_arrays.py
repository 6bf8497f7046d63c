"""Pictures as arrays: modes, opacity, scaling, moving, and what of a frame is covered."""

import numpy
import pytest
from PIL import Image as pillow

from vlm import arrays
from vlm.refinement import shifting


def ramp(size: tuple[int, int]) -> pillow.Image:
    """Red grows to the right, green downwards."""
    width, height = size
    x, y = numpy.meshgrid(numpy.arange(width), numpy.arange(height))
    values = numpy.stack([x * 255 // width, y * 255 // height, 0 * x], axis=-1)
    return pillow.fromarray(values.astype(numpy.uint8))


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK"])
def test_opaque_pictures_become_rgb(mode):
    assert arrays.plain(ramp((5, 4)).convert(mode)).mode == "RGB"


@pytest.mark.parametrize(("opacity", "mode"), [(255, "RGB"), (254, "RGBA"), (0, "RGBA")])
def test_only_what_is_see_through_keeps_its_opacity(opacity, mode):
    picture = ramp((5, 4)).convert("RGBA")
    picture.putalpha(opacity)
    assert arrays.plain(picture).mode == mode


def test_one_colour_may_be_see_through():
    picture = pillow.new("P", (4, 4), 1)
    picture.info["transparency"] = 1
    assert arrays.plain(picture).getchannel("A").getextrema() == (0, 0)


def test_hidden_colours_do_not_show():
    colours, opacity = arrays.on_white(pillow.new("RGBA", (2, 2), (255, 0, 0, 0)))
    assert (colours == 1).all()
    assert (opacity == 0).all()
    assert arrays.on_white(ramp((2, 2)))[1] is None


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [((4000, 3000), 1000, (1000, 750)), ((10, 20), 1000, (10, 20)), ((16000, 1), 100, (100, 1))],
)
def test_fitted(size, side, expected):
    assert arrays.fitted(size, side) == expected


def test_moving_by_nothing_changes_nothing():
    picture = ramp((20, 10))
    assert arrays.moved(picture, numpy.eye(3), (20, 10)).tobytes() == picture.tobytes()


def test_a_matrix_leads_from_the_frame_to_the_picture():
    picture = ramp((40, 30))
    moved = numpy.asarray(arrays.moved(picture, shifting(7, 4), (20, 10)))
    numpy.testing.assert_allclose(moved, numpy.asarray(picture)[4:14, 7:27], atol=1)


def test_shrinking_counts_every_pixel():
    lines = (numpy.indices((400, 400))[1] % 8 == 0) * numpy.uint8(255)
    picture = pillow.fromarray(lines).convert("RGB")
    for matrix in (arrays.scaling((50, 50), (400, 400)), shifting(0, 3) @ numpy.diag([8, 8, 1])):
        small = numpy.asarray(arrays.moved(picture, matrix, (50, 50))).astype(int)
        assert abs(small[5:40, 5:40] - 255 / 8).max() <= 3


def test_covered_leaves_a_margin_only_where_frames_differ():
    assert arrays.covered(arrays.scaling((20, 10), (40, 30)), (20, 10), (40, 30)).all()
    half = arrays.covered(shifting(10, 0), (20, 10), (20, 10), margin=2)
    assert half[5].tolist() == [True] * 8 + [False] * 12
    assert half[:, 0].tolist() == [False, False, *[True] * 6, False, False]
    assert not arrays.covered(shifting(50, 0), (20, 10), (20, 10)).any()


def test_resized_averages():
    values = numpy.arange(16, dtype=numpy.float32).reshape(4, 4)
    assert arrays.resized(values, (1, 1)) == pytest.approx(7.5)
    assert arrays.resized(values, (4, 4)) is values

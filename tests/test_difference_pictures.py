"""The heat map shows where, the boxes show which."""

import numpy
from PIL import Image as pillow

from vlm.commands.compare_pairs import PHOTOS
from vlm.compare import compare
from vlm.difference_pictures import FRAME, boxed, heat_map, laid_on, scale_colours
from vlm.images import made_image, open_image

PHOTO = open_image(PHOTOS / "coffee.jpg").pixels


def edited() -> pillow.Image:
    picture = PHOTO.copy()
    picture.paste((20, 200, 60), (300, 100, 400, 180))
    return picture


def test_heat_is_where_the_change_is():
    first = made_image(PHOTO)
    shown = heat_map(first, compare(first, made_image(edited())))
    assert (shown.mode, shown.size) == ("RGB", (600, 400))
    values = numpy.asarray(shown).astype(int)
    colourful = values.max(-1) - values.min(-1)
    assert numpy.median(colourful[105:175, 305:395]) > 60
    assert colourful[200:].max() < 20


def test_without_differences_the_map_is_grey():
    first = made_image(PHOTO)
    values = numpy.asarray(heat_map(first, compare(first, first))).astype(int)
    assert (values.max(-1) - values.min(-1)).max() <= 1


def test_what_is_not_seen_is_darker():
    first = made_image(PHOTO)
    found = compare(first, made_image(PHOTO.crop((0, 0, 400, 400))))
    grey, whole = (numpy.asarray(heat_map(first, each)) for each in (found, compare(first, first)))
    assert grey[:, 500:].mean() < 0.5 * whole[:, 500:].mean()
    hot = numpy.asarray(heat_map(first, found, numpy.ones_like(found.difference))).astype(int)
    assert numpy.ptp(hot[50:350, 100:300], axis=-1).min() > 60
    assert numpy.ptp(hot[:, 500:], axis=-1).max() <= 1  # nothing is known of it, of any kind


def test_a_frame_runs_along_the_box():
    first = made_image(PHOTO)
    found = compare(first, made_image(edited()))
    shown = numpy.asarray(boxed(first, found))
    left, top, right, bottom = found.regions[0].box
    for row, column in ((bottom - 1, left + 40), (top + 40, left), (top + 40, right - 1)):
        assert tuple(shown[row, column]) == FRAME
    assert (shown[bottom + 5 :] == numpy.asarray(PHOTO)[bottom + 5 :]).all()


def test_a_region_of_one_pixel():
    black, white = (made_image(pillow.new("RGB", (1, 1), name)) for name in ("black", "white"))
    found = compare(black, white)
    assert boxed(black, found).size == heat_map(black, found).size == (1, 1)


def test_both_lie_in_the_frame_of_the_first():
    """What the second does not show is see-through; what it shows is where the first has it."""
    first, second = made_image(PHOTO), made_image(PHOTO.crop((100, 50, 600, 400)))
    found = compare(first, second)
    under, over = laid_on(first, second, found, 600)
    assert (under.mode, over.mode, under.size, over.size) == ("RGB", "RGBA", (600, 400), (600, 400))
    one, other = numpy.asarray(under).astype(int), numpy.asarray(over).astype(int)
    assert (other[:45, :, 3] == 0).all()
    assert (other[:, :95, 3] == 0).all()
    assert (other[60:, 110:, 3] == 255).all()
    apart = numpy.abs(one[60:, 110:] - other[60:, 110:, :3]).mean()
    shifted = numpy.abs(one[60:, 110:-4] - other[60:, 114:, :3]).mean()
    assert apart < min(3, shifted / 3)


def test_pictures_for_the_screen_are_not_larger_than_asked_nor_enlarged():
    first = made_image(PHOTO)
    found = compare(first, first)
    assert [each.size for each in laid_on(first, first, found, 300)] == [(600, 400)] * 2
    small = made_image(PHOTO.resize((300, 200)))
    found = compare(first, small)
    assert {each.size for each in laid_on(first, small, found, 1600)} == {found.aligned.size}


def test_other_values_can_be_drawn_as_heat():
    first = made_image(PHOTO)
    found = compare(first, first)
    values = numpy.zeros(found.difference.shape)
    values[100:200, 100:200] = 1
    shown = numpy.asarray(heat_map(first, found, values)).astype(int)
    colourful = shown.max(-1) - shown.min(-1)
    assert colourful[110:190, 110:190].min() > 60
    assert colourful[250:].max() <= 1


def test_the_scale_has_the_colours_of_the_map():
    """What a map paints on a middle grey, from left to right from nothing to the largest."""
    grey = made_image(pillow.new("RGB", (170, 20), (128, 128, 128)))
    found = compare(grey, grey)
    strength = numpy.repeat(numpy.linspace(0, 1, 17), 10)[None].repeat(20, 0)  # (20, 170)
    painted = numpy.asarray(heat_map(grey, found, strength))[10, 5::10].astype(int)
    scale = [[int(each[at : at + 2], 16) for at in (1, 3, 5)] for each in scale_colours(17)]
    assert numpy.abs(painted - scale).max() <= 2

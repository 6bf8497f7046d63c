"""Exposure is taken out, and what changed does not pull."""

import numpy
import pytest

from vlm.commands.compare_pairs import PHOTOS
from vlm.exposure import KNOTS, applied, find_exposure
from vlm.images import open_image

PHOTO = numpy.asarray(open_image(PHOTOS / "astronaut.jpg").pixels, numpy.float32) / 255
SEEN = numpy.ones(PHOTO.shape[:2], bool)


def apart(one: numpy.ndarray, other: numpy.ndarray) -> float:
    return float(numpy.quantile(numpy.abs(one - other), 0.95))


@pytest.mark.parametrize("gain", [0.5, 0.8, 1.3, 1.6])
@pytest.mark.parametrize("gamma", [0.8, 1.0, 1.25])
def test_gain_and_gamma_are_taken_out_both_ways(gain, gamma):
    second = numpy.clip(PHOTO * gain, 0, 1) ** gamma
    exposure = find_exposure(PHOTO, second.astype(numpy.float32), SEEN)
    if gain == gamma == 1:
        return
    assert exposure.changed
    assert apart(applied(exposure.there, PHOTO), second) < 0.02 < apart(PHOTO, second)
    unclipped = second.max(-1) < 0.98
    assert apart(applied(exposure.back, second)[unclipped], PHOTO[unclipped]) < 0.03


def test_each_channel_has_its_own_curve():
    second = (PHOTO * numpy.array([1.1, 1.0, 0.8])).clip(0, 1).astype(numpy.float32)
    curves = find_exposure(PHOTO, second, SEEN).there
    assert curves is not None
    numpy.testing.assert_allclose(curves[:, 128] / KNOTS[128], [1.1, 1.0, 0.8], atol=0.02)


def test_a_change_of_a_third_of_the_picture_does_not_pull():
    second = PHOTO * 0.7
    second[:, :170] = [0.9, 0.1, 0.2]
    exposure = find_exposure(PHOTO, second.astype(numpy.float32), SEEN)
    assert apart(applied(exposure.there, PHOTO)[:, 170:], second[:, 170:]) < 0.01


def test_a_picture_that_holds_next_to_nothing_does_not_swallow_the_other():
    nearly_blank = (0.5 + 0.02 * PHOTO).astype(numpy.float32)
    assert not find_exposure(PHOTO, nearly_blank, SEEN).changed


def test_equal_pictures_are_left_alone():
    assert not find_exposure(PHOTO, PHOTO.copy(), SEEN).changed
    assert applied(None, PHOTO) is PHOTO


def test_nothing_is_made_of_pictures_that_have_nothing_in_common():
    random = numpy.random.default_rng(0)
    noise = random.random(PHOTO.shape, numpy.float32)
    assert not find_exposure(PHOTO, noise, SEEN).changed
    assert not find_exposure(PHOTO, 1 - PHOTO, SEEN).changed  # light never turns into dark
    assert not find_exposure(PHOTO, noise, ~SEEN).changed

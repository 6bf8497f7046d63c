"""What a comparison found, in words."""

import numpy
import pytest

from vlm.alignment import Alignment
from vlm.compare import Region
from vlm.difference_words import alignment_words, brightness_words, region_places

SIZES = ((300, 150), (300, 150))


def turned(degrees: float = 0.0, scale: float = 1.0, shift: float = 0.0) -> Alignment:
    """About the middle of 300 x 150 pixels."""
    angle = numpy.radians(degrees)
    turn = scale * numpy.array(
        [[numpy.cos(angle), -numpy.sin(angle)], [numpy.sin(angle), numpy.cos(angle)]]
    )
    middle = numpy.array([150, 75])
    matrix = numpy.eye(3)
    matrix[:2, :2] = turn
    matrix[:2, 2] = middle - turn @ middle + (shift, 0)
    return Alignment("aligned", matrix)


@pytest.mark.parametrize(
    ("alignment", "words"),
    [
        (turned(2.9, 0.96, 12), "turned by 2.9° clockwise, 4.0 % smaller, moved by 12 px"),
        (turned(-1.5), "turned by 1.5° anticlockwise"),
        (turned(scale=1.1), "10.0 % larger"),
        (turned(shift=0.4), "moved by less than a pixel"),
        (Alignment("failed", numpy.eye(3)), "Could not be aligned: they do not seem"),
        (Alignment("no_detail", numpy.eye(3)), "Could not be aligned: there is too little"),
        (Alignment("not_asked", numpy.eye(3)), "Not aligned, as you chose"),
        (Alignment("same_frame", numpy.eye(3)), "the same frame"),
    ],
)
def test_the_alignment_in_words(alignment, words):
    assert words in alignment_words(alignment, SIZES, "en")
    assert "{" not in alignment_words(alignment, SIZES, "zh")


@pytest.mark.parametrize(
    ("lighter", "words"),
    [
        (0.4, ""),
        (-0.4, ""),
        (0.6, "slightly lighter: +1 in"),
        (3.2, "slightly lighter: +3 in"),
        (-3.2, "slightly darker: −3 in"),
        (9.0, "is lighter: +9 in"),
        (-9.0, "is darker: −9 in"),
        (40.0, "much lighter: +40 in"),
        (-100.0, "much darker: −100 in"),
    ],
)
def test_brightness_in_words(lighter, words):
    said = brightness_words(lighter, "en")
    assert (words in said) if words else (said == "")
    assert bool(brightness_words(lighter, "zh")) == bool(words)


def places(*boxes: tuple[int, int, int, int], language: str = "en") -> list[str]:
    """Of regions in a picture of 300 x 150 pixels."""
    regions = [Region(number, box, 0.1, 9.0) for number, box in enumerate(boxes, 1)]
    return region_places(regions, (300, 150), language)


@pytest.mark.parametrize(
    ("box", "place"),
    [
        ((0, 0, 10, 10), "upper left"),
        ((140, 70, 160, 80), "middle"),
        ((290, 140, 300, 150), "lower right"),
        ((140, 0, 160, 10), "top"),
        ((300, 150, 300, 150), "lower right"),
    ],
)
def test_where_a_region_is(box, place):
    assert places(box) == [place]


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ([(110, 80, 120, 90), (120, 55, 130, 65)], ["middle (lower)", "middle (upper)"]),
        ([(180, 70, 190, 80), (110, 72, 120, 82)], ["middle (right)", "middle (left)"]),
        ([(110, 55, 190, 95), (145, 70, 155, 80)], ["middle (larger)", "middle (smaller)"]),
        (
            [(0, 40, 10, 44), (0, 0, 10, 4), (200, 0, 210, 4), (0, 20, 10, 24)],
            [
                "upper left (3 of 3 from the top)",
                "upper left (1 of 3 from the top)",
                "upper right",
                "upper left (2 of 3 from the top)",
            ],
        ),
        (
            [(50, 0, 60, 9), (0, 0, 9, 9), (90, 0, 99, 9)],
            [f"upper left ({number} of 3 from the left)" for number in (2, 1, 3)],
        ),
        (
            [(100, 50, 200, 100), (120, 60, 180, 90), (140, 70, 160, 80)],
            [f"middle ({number} of 3 by size)" for number in (1, 2, 3)],
        ),
    ],
)
def test_regions_of_one_place_are_told_apart(boxes, words):
    assert places(*boxes) == words
    assert len(set(places(*boxes, language="zh"))) == len(boxes)


def test_no_two_of_many_regions_have_the_same_words():
    random = numpy.random.default_rng(3)
    corners = random.integers(0, (290, 140), (60, 2))
    boxes = [(int(x), int(y), int(x) + 8, int(y) + 8) for x, y in corners]
    for language in ("en", "zh"):
        assert len(set(places(*boxes, language=language))) == 60

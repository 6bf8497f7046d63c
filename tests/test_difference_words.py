"""What a comparison found, in words."""

import numpy
import pytest

from vlm.alignment import Alignment
from vlm.difference_words import alignment_words

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

"""Which slices an image is cut into: examples, extremes, and another reading of the rules."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm.families.minicpm_v26.slicing import (
    Plan,
    choose_grid,
    fitted,
    nearest_multiple,
    plan,
    slice_boxes,
)

SIDES = st.integers(1, 6000)
SCALES = st.sampled_from([56, 84, 112, 448])


def whole_steps(length: float, step: int) -> int:
    """Of the two multiples around a length the nearer one, of equal ones the even one."""
    steps = Fraction(length / step)  # the quotient as a float has it
    below = math.floor(steps)
    rest = steps - below
    up = rest > Fraction(1, 2) or (rest == Fraction(1, 2) and below % 2 == 1)
    return max((below + up) * step, step)


def read_anew(width: int, height: int, scale: int, patch: int, most: int) -> Plan:
    """The rules step by step, as they are written down."""

    def resize(wide: float, high: float, upscale: bool) -> tuple[int, int]:
        if wide * high > scale * scale or upscale:
            ratio = wide / high
            high = int(scale / math.sqrt(ratio))
            wide = int(high * ratio)
        return whole_steps(wide, patch), whole_steps(high, patch)

    wanted = min(math.ceil(width * height / (scale * scale)), most)
    if wanted <= 1:
        return Plan(resize(width, height, True))
    best, error = None, math.inf
    for count in (wanted - 1, wanted, wanted + 1):
        if count == 1 or count > most:
            continue
        for columns in range(1, count + 1):
            if count % columns:
                continue
            rows = count // columns
            gap = abs(math.log(width / height) - math.log(columns / rows))
            if gap < error:
                best, error = (columns, rows), gap
    assert best is not None
    columns, rows = best
    cell = whole_steps(width, columns) / columns, whole_steps(height, rows) / rows
    return Plan(resize(width, height, False), best, resize(*cell, True))


@given(SIDES, SIDES, SCALES, st.integers(1, 20))
def test_another_reading_of_the_rules_agrees(width, height, scale, most):
    assert plan((width, height), scale, 14, most) == read_anew(width, height, scale, 14, most)


@given(SIDES, SIDES, SCALES, st.integers(1, 20))
def test_what_always_holds(width, height, scale, most):
    how = plan((width, height), scale, 14, most)
    for rows, columns in how.patches(14):
        assert rows >= 1 and columns >= 1
    sizes = [how.overview, *([how.slice_size, how.refined] if how.grid else [])]
    assert all(side % 14 == 0 for size in sizes if size for side in size)
    assert len(how.patches(14)) == how.pictures <= most + 1
    assert how.grid != (1, 1)
    if how.grid is None:
        assert how.refined is None and how.slice_size is None and how.pictures == 1
        return
    columns, rows = how.grid
    assert 2 <= columns * rows <= most
    boxes = slice_boxes((width, height), how.grid)
    assert len(boxes) == columns * rows
    area = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes)
    assert area == pytest.approx(width * height)
    assert boxes[0][:2] == (0, 0)
    assert boxes[-1][2:] == pytest.approx((width, height))
    assert boxes == sorted(boxes, key=lambda box: (box[1], box[0]))  # row by row


@pytest.mark.parametrize(
    ("length", "step", "expected"),
    [(21, 14, 28), (35, 14, 28), (49, 14, 56), (7, 14, 14), (6, 14, 14), (1, 14, 14), (20, 14, 14)],
)
def test_halves_are_rounded_to_the_even_multiple(length, step, expected):
    assert nearest_multiple(length, step) == expected


def test_small_images_are_enlarged_and_only_overviews_are_not():
    assert fitted((20, 20), 448, 14, enlarge=True) == (448, 448)
    assert fitted((20, 20), 448, 14, enlarge=False) == (14, 14)
    assert plan((20, 20), 448, 14, 9) == Plan((448, 448))
    assert plan((448, 448), 448, 14, 9).grid is None
    assert plan((449, 448), 448, 14, 9).grid == (2, 1)


@pytest.mark.parametrize(
    ("size", "most", "grid"),
    [
        ((1000, 1000), 9, (2, 2)),  # five wanted; four, one fewer, fit its shape
        ((634, 634), 9, (2, 2)),  # three wanted, one more is better
        ((633, 633), 9, (1, 2)),  # 1 x 2 and 2 x 1 are equally near: the first wins
        ((634, 634), 2, (1, 2)),
        ((1344, 1344), 9, (3, 3)),
        ((1344, 1344), 8, (2, 4)),  # never more than are allowed
        ((1920, 1080), 9, (4, 2)),
    ],
)
def test_grids(size, most, grid):
    assert choose_grid(size, 448, most) == grid


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1), (16384, 1), (3, 16000)])
def test_extremes_stay_in_one_piece(size):
    how = plan(size, 448, 14, 9)
    assert how.grid is None
    assert min(how.overview) >= 14


def test_a_line_becomes_a_long_strip():
    assert plan((1, 5000), 448, 14, 9).patches(14) == [(2263, 1)]
    assert plan((5000, 1), 448, 14, 9).patches(14) == [(1, 2143)]


def test_one_slice_at_most_is_none():
    assert plan((4000, 3000), 448, 14, 1).grid is None
    for most in (0, -1):
        with pytest.raises(ValueError, match=f"max_slice_nums is {most}"):
            plan((10, 10), 448, 14, most)

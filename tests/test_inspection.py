"""Where tiles stand in a prompt, worked out from layouts and placeholders."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as some

from vlm.backend import ImageLayout, Tile
from vlm.inspection import Piece, fit, folded, pictures, stretches, tile_spans


def layout(tiles: int, tokens: int = 4, thumbnail: str = "") -> ImageLayout:
    """So many tiles of 2 x 2 tokens side by side, with a thumbnail "first", "last" or none."""
    each = [Tile(box=(n, 0, n + 1, 1), rows=2, columns=tokens // 2) for n in range(tiles)]
    whole = Tile(box=(0, 0, tiles, 1), rows=2, columns=tokens // 2) if thumbnail else None
    return ImageLayout(
        original_size=(tiles, 1),
        sent_size=(tiles, 1),
        tiles=tuple(each),
        thumbnail=whole,
        thumbnail_first=thumbnail == "first",
        placeholders=(tiles + bool(thumbnail)) * tokens,
    )


def sent(box: tuple[float, float, float, float], size: tuple[int, int]) -> ImageLayout:
    """An image of 600 x 400 of which a part becomes a picture of some size."""
    tile = Tile(box=box, rows=2, columns=2)
    return ImageLayout(original_size=(600, 400), sent_size=size, tiles=(tile,), placeholders=4)


def test_squeezing_cropping_and_filling_up_are_told_apart() -> None:
    squeezed = fit(sent((0, 0, 600, 400), (256, 256)))
    assert squeezed is not None and squeezed.squeezed
    assert (squeezed.before, squeezed.after, squeezed.cut, squeezed.border) == (1.5, 1, 0, 0)
    cropped = fit(sent((100, 0, 500, 400), (224, 224)))
    assert cropped is not None and not cropped.squeezed
    assert (cropped.seen, cropped.border) == ((400, 400), 0)
    assert cropped.cut == pytest.approx(1 / 3)
    padded = fit(sent((0, -100, 600, 500), (448, 448)))
    assert padded is not None and not padded.squeezed
    assert (padded.seen, padded.cut) == ((600, 400), 0)
    assert padded.border == pytest.approx(1 / 3)
    nearly = fit(sent((0, 0, 600, 400), (602, 400)))  # to whole patches
    assert nearly is not None and not nearly.squeezed


def test_of_tiles_that_are_not_told_no_fit_is_known() -> None:
    unknown = ImageLayout(original_size=(9, 9), sent_size=None, tiles=None, placeholders=4)
    assert fit(unknown) is None


@pytest.mark.parametrize(
    ("thumbnail", "order"), [("", [1, 2]), ("last", [1, 2, 0]), ("first", [0, 1, 2])]
)
def test_the_thumbnail_has_its_place_in_the_order(thumbnail: str, order: list[int]) -> None:
    assert [number for number, _ in pictures(layout(2, thumbnail=thumbnail))] == order


def test_tiles_in_one_run_of_placeholders_share_it() -> None:
    pieces = (Piece("a", 0, 3), Piece("<i>", 3, 15, True), Piece("b", 15, 17))
    found = [(span.tile, span.ranges) for span in tile_spans([layout(2, thumbnail="last")], pieces)]
    assert found == [(1, ((3, 7),)), (2, ((7, 11),)), (0, ((11, 15),))]


def test_a_run_that_words_cut_apart_is_one_tile() -> None:
    pieces = (
        Piece("<i>", 0, 2, True),
        Piece("\n", 2, 3),
        Piece("<i>", 3, 5, True),
        Piece("x", 5, 6),
        Piece("<i>", 6, 10, True),
    )
    first, second = tile_spans([layout(1), layout(1)], pieces)
    assert (first.image, first.ranges, first.tokens) == (1, ((0, 2), (3, 5)), 4)
    assert (second.image, second.ranges) == (2, ((6, 10),))


def test_nothing_is_said_of_what_does_not_add_up() -> None:
    assert tile_spans([layout(2)], (Piece("<i>", 0, 7, True),)) == []
    unknown = ImageLayout(original_size=(1, 1), sent_size=None, tiles=None, placeholders=3)
    pieces = (Piece("<i>", 0, 7, True),)
    (only,) = tile_spans([unknown, layout(1)], pieces)
    assert (only.image, only.ranges) == (2, ((3, 7),))


@given(some.sets(some.integers(0, 60), min_size=1))
def test_stretches_cover_just_the_numbers(numbers: set[int]) -> None:
    found = list(stretches(sorted(numbers)))
    assert {at for start, stop in found for at in range(start, stop)} == numbers
    assert all(left[1] < right[0] for left, right in itertools.pairwise(found))


def test_placeholders_are_folded() -> None:
    assert folded((Piece("a\n", 0, 1), Piece("<i>", 1, 257, True))) == "a\n<i> × 256"

"""The difference as a model sees it: distances, where they lie, what is hardly seen."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy
import pytest
from PIL import Image as pillow

from vlm import feature_difference as module
from vlm.backend import ImageLayout, Stage, Tile
from vlm.commands.compare_pairs import PHOTOS, similarity_matrix
from vlm.compare import Region, compare
from vlm.engine import Engine
from vlm.errors import RequestError
from vlm.feature_difference import (
    FeatureDifference,
    aligned_image,
    feature_difference,
    feature_heat,
    look,
    marked,
    placed,
    recompressed,
)
from vlm.images import made_image, open_image

COFFEE = open_image(PHOTOS / "coffee.jpg").pixels
RANDOM = numpy.random.default_rng(0)


# ---- distances ----


def test_cosine_distance():
    one = numpy.array([[1, 0], [1, 0], [1, 0], [2, 2], [0, 0], [0, 0]], numpy.float32)
    other = numpy.array([[3, 0], [0, 5], [-1, 0], [1, 0], [1, 1], [0, 0]], numpy.float32)
    found = feature_difference(one, other)
    numpy.testing.assert_allclose(found, [0, 1, 2, 1 - 0.5**0.5, 1, 0], atol=1e-6)
    assert found.dtype == numpy.float32


def test_equal_features_are_exactly_zero_apart():
    features = RANDOM.standard_normal((50, 300)).astype(numpy.float32)
    assert not feature_difference(features, features.copy()).any()


def test_unequal_layouts_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        feature_difference(numpy.zeros((3, 2)), numpy.zeros((4, 2)))


# ---- places ----


def stage(array: numpy.ndarray, axes: str, name: str = "vision_tower") -> Stage:
    return Stage(name, array, tuple(axes.split()))


def layout(*tiles: Tile, thumbnail: Tile | None = None) -> ImageLayout:
    return ImageLayout(
        original_size=(100, 60), sent_size=None, tiles=tiles, thumbnail=thumbnail, placeholders=0
    )


WHOLE = Tile(box=(0, 0, 100, 60), rows=2, columns=3)


@pytest.mark.parametrize(("positions", "grid"), [(6, (2, 3)), (7, (2, 3)), (24, (4, 6))])
def test_positions_are_a_grid_over_the_tile(positions, grid):
    array = RANDOM.random((1, positions, 5))
    found = placed([stage(array, "images positions width")], layout(WHOLE))
    (tile,) = found.tiles
    assert (tile.rows, tile.columns, tile.box) == (*grid, WHOLE.box)
    numpy.testing.assert_array_equal(found.arrays[0], array[0, positions % 6 :])


def test_features_in_rows_and_columns():
    array = RANDOM.random((1, 5, 2, 3))
    found = placed([stage(array, "images width rows columns")], layout(WHOLE))
    numpy.testing.assert_array_equal(found.arrays[0][4], array[0, :, 1, 1])


@pytest.mark.parametrize(
    ("stages", "where"),
    [
        ([stage(RANDOM.random((1, 8, 5)), "images positions width")], layout(WHOLE)),
        ([stage(RANDOM.random((2, 6, 5)), "images positions width")], layout(WHOLE)),
        ([stage(RANDOM.random((1, 6, 5)), "images positions width")], None),
        ([stage(RANDOM.random((1, 6, 5)), "images positions width", "projector")], layout(WHOLE)),
        ([], layout(WHOLE)),
    ],
)
def test_features_without_a_place_are_refused(stages, where):
    where = where or replace(layout(), tiles=None)
    with pytest.raises(RequestError) as caught:
        placed(stages, where)
    assert caught.value.key == "features_unplaced"


@pytest.mark.parametrize("first", [True, False])
def test_the_thumbnail_is_told_by_its_colours(first):
    left = Tile(box=(0, 0, 50, 60), rows=1, columns=1)
    right = Tile(box=(50, 0, 100, 60), rows=1, columns=1)
    whole = Tile(box=(0, 0, 100, 60), rows=1, columns=1)
    dark, light = numpy.zeros((3, 8, 8)), numpy.ones((3, 8, 8))
    both = numpy.concatenate([dark[..., :4], light[..., :4]], axis=-1)
    pixels = numpy.stack([both, dark, light] if first else [dark, light, both])
    features = pixels.mean((1, 2, 3))[:, None, None]  # (images, positions, width): 0, 1 or 0.5
    stages = [
        stage(pixels, "images channels height width", "pixel_values"),
        stage(features, "images positions width"),
    ]
    found = placed(stages, layout(left, right, thumbnail=whole))
    assert [float(array[0, 0]) for array in found.arrays] == [0, 1, 0.5]
    assert [tile.box for tile in found.tiles] == [left.box, right.box, whole.box]
    with pytest.raises(RequestError):
        placed(stages[1:], layout(left, right, thumbnail=whole))


# ---- regions ----


def difference(floor: float) -> FeatureDifference:
    """One tile of 100 x 60 pixels, 2 x 2 positions, all that differs at the upper right."""
    tile = Tile(box=(0, 0, 100, 60), rows=2, columns=2)
    return FeatureDifference((tile,), (numpy.array([[0.0, 0.8], [0.0, 0.0]]),), floor)


@pytest.mark.parametrize(
    ("box", "mean"),
    [
        ((50, 0, 100, 30), 0.8),
        ((60, 5, 61, 6), 0.8),
        ((0, 0, 50, 60), 0),
        ((0, 0, 100, 60), 0.2),
        ((25, 0, 75, 30), 0.4),
        ((500, 500, 600, 600), 0),
    ],
)
def test_positions_count_by_their_share_of_the_box(box, mean):
    assert difference(0.1).within(box) == pytest.approx(mean)


def test_the_tile_where_most_differs_counts():
    one = difference(0.1)
    both = FeatureDifference(one.tiles * 2, (one.distances[0] * 0.5, one.distances[0]), 0.1)
    assert both.within((50, 0, 100, 30)) == pytest.approx(0.8)


def test_a_cell_is_the_smallest_position_inside_the_picture():
    tiles = [
        Tile(box=box, rows=count, columns=count)
        for box, count in (((0, 0, 120, 60), 4), ((60, 0, 180, 60), 6), ((0, 0, 120, 60), 2))
    ]
    apart = tuple(numpy.zeros((tile.rows, tile.columns), numpy.float32) for tile in tiles)
    assert FeatureDifference((tiles[0], tiles[2]), apart[::2], 0.1).cell((120, 60)) == (30, 15)
    assert FeatureDifference(tuple(tiles), apart, 0.1).cell((180, 60)) == (20, 10)
    assert FeatureDifference((tiles[0],), apart[:1], 0.1).cell((2, 3)) == (1, 1)


def test_hardly_seen_is_what_recompression_does_too():
    region = Region(1, (25, 0, 75, 30), 0.1, 30)
    assert difference(0.41).hardly_sees(region)
    assert not difference(0.39).hardly_sees(region)


# ---- pictures ----


def test_the_second_is_sent_in_the_frame_of_the_first():
    first = made_image(COFFEE)
    matrix = similarity_matrix(COFFEE.size, 5, 1, (0, 0))
    back = tuple(numpy.linalg.inv(matrix)[:2].ravel())
    turned = COFFEE.transform(COFFEE.size, pillow.Transform.AFFINE, back, pillow.Resampling.BICUBIC)
    second = made_image(turned)
    sent = aligned_image(first, second, compare(first, second))
    assert sent.pixels.size == first.pixels.size
    apart = numpy.asarray(sent.pixels).astype(int) - numpy.asarray(first.pixels)
    assert numpy.abs(apart).mean() < 4  # the corners too, which the second does not show
    assert numpy.abs(numpy.asarray(second.pixels).astype(int) - numpy.asarray(COFFEE)).mean() > 20


@pytest.mark.parametrize("opacity", [255, 254])
def test_the_second_is_shown_to_the_model_in_the_light_of_the_first(opacity):
    first = made_image(COFFEE)
    turned = COFFEE.rotate(3, pillow.Resampling.BICUBIC).crop((20, 20, 540, 360))
    darker = turned.point(lambda value: round(value * 0.8))
    darker.putalpha(opacity)
    second = made_image(darker)
    comparison = compare(first, second)

    def brighter(image):
        """By how much, where the second reaches, in steps of 8 bits."""
        apart = numpy.asarray(image.pixels).astype(int)[..., :3] - numpy.asarray(first.pixels)
        seen = numpy.asarray(pillow.fromarray(comparison.seen).resize(first.pixels.size))
        return apart[seen].mean()

    assert brighter(aligned_image(first, second, comparison)) < -10
    sent = aligned_image(first, second, comparison, one_exposure=True)
    assert abs(brighter(sent)) < 1


def test_recompressing_changes_a_little_and_keeps_opacity():
    see_through = COFFEE.convert("RGBA")
    see_through.putalpha(pillow.linear_gradient("L").resize(COFFEE.size))
    for pixels in (COFFEE, see_through):
        image = made_image(pixels)
        after = recompressed(image)
        assert (after.pixels.mode, after.sha256 == image.sha256) == (pixels.mode, False)
        apart = numpy.abs(numpy.asarray(after.pixels).astype(int) - numpy.asarray(pixels))
        assert 0 < apart[..., :3].mean() < 6
        assert not apart[..., 3:].any()


# ---- with the embedded model ----


@pytest.fixture(scope="module")
def engine():
    engine = Engine.load("pocket", device="cpu")
    yield engine
    engine.close()


def edited(box: tuple[int, int, int, int], colour: object) -> pillow.Image:
    picture = COFFEE.copy()
    picture.paste(colour, box)  # type: ignore[arg-type]
    return picture


def test_what_the_model_sees_is_where_the_change_is(engine):
    first, second = made_image(COFFEE), made_image(edited((380, 60, 560, 240), (20, 90, 230)))
    found = compare(first, second)
    seen = look(engine, first, second, found)
    ((distances,), (tile,)) = seen.distances, seen.tiles
    assert distances.shape == (tile.rows, tile.columns) == (8, 8)
    assert seen.within((380, 60, 560, 240)) > 3 * seen.within((0, 200, 120, 400))
    (region,) = marked(found, seen).regions
    assert region.hardly_seen is False
    assert region.feature_distance == pytest.approx(seen.within(region.box))
    assert found.regions[0].hardly_seen is None


def test_an_equal_picture_is_not_seen_at_all(engine):
    first = made_image(COFFEE)
    seen = look(engine, first, first, compare(first, first))
    assert not seen.distances[0].any()
    assert seen.floor > 0.01


def test_a_change_of_one_step_of_colour_is_hardly_seen(engine):
    pale = COFFEE.crop((0, 0, 150, 150)).point(lambda value: min(255, value + 4))
    first, second = made_image(COFFEE), made_image(edited((0, 0, 150, 150), pale))
    seen = look(engine, first, second, compare(first, second))
    assert seen.hardly_sees(Region(1, (0, 0, 150, 150), 0.1, 4))


def test_layouts_that_differ_are_refused(monkeypatch):
    first = made_image(COFFEE)
    features = iter(
        module.VisionFeatures((replace(WHOLE, columns=columns),), (numpy.ones((2 * columns, 4)),))
        for columns in (3, 4, 3)
    )
    monkeypatch.setattr(module, "vision_features", lambda *_: next(features))
    with pytest.raises(RequestError):
        look(SimpleNamespace(), first, first, compare(first, first))  # type: ignore[arg-type]


# ---- as a picture ----


def test_heat_of_tiles_lies_where_the_tiles_are():
    """A tile over the left half and the whole once more: the larger counts."""
    left = Tile(box=(0, 0, 50, 60), rows=2, columns=1)
    distances = (numpy.array([[0.2], [1.0]]), numpy.full((2, 3), 0.4))
    found = FeatureDifference((left, WHOLE), distances, floor=0.2)
    heat = feature_heat(found, (20, 12), (100, 60))
    assert heat.shape == (12, 20)
    assert heat.dtype == numpy.float32
    numpy.testing.assert_allclose(heat[:6], 0.25, atol=1e-6)  # 0.4, a quarter of the way up
    numpy.testing.assert_allclose(heat[6:, :10], 1.0)
    numpy.testing.assert_allclose(heat[6:, 10:], 0.25, atol=1e-6)


def test_what_recompression_does_is_no_heat():
    found = FeatureDifference((WHOLE,), (numpy.full((2, 3), 0.1),), floor=0.1)
    assert not feature_heat(found, (20, 12), (100, 60)).any()


def test_a_look_can_be_called_off():
    cancel = threading.Event()
    cancel.set()
    first = made_image(COFFEE)
    with pytest.raises(RequestError) as caught:
        look(SimpleNamespace(), first, first, compare(first, first), cancel=cancel)
    assert caught.value.key == "compare_cancelled"

"""How far apart two pictures are to a model: its vision features, position by position.

In: two images, the comparison of their pixels, and an engine. Out: a `FeatureDifference` in the
frame of the first image, and regions marked that changed in pixels but that the model hardly sees.
The pictures are sent one by one with equal layout: the second aligned to the first, and filled up
from the first where it shows nothing. Only numpy here; tensors stay in the engine.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isqrt

import numpy
from numpy import ndarray
from PIL import Image as pillow

from vlm.alignment import stop_if
from vlm.arrays import Size, moved, plain
from vlm.backend import ImageLayout, Stage, Tile, Traces
from vlm.compare import Comparison, Region
from vlm.errors import RequestError
from vlm.images import made_image
from vlm.messages import Image, user_message
from vlm.options import GenerationOptions

FLOOR_QUALITY = 70
"""Of the JPEG that the first image is written as to learn what a change that is none does."""
FLOOR_QUANTILE = 0.95
"""Of the distances that it causes, the one that a region must exceed on average to be seen.

By measurement with the embedded model (`python -m vlm compare --check --features`, see README.md):
nearly all boxes in recompressed pictures stay below it, and nearly no removed object does. Models
differ in how far apart their features lie, so the distance is measured anew for each model and
image, and only the quantile is fixed.
"""


@dataclass(frozen=True, eq=False)
class VisionFeatures:
    """What a vision tower makes of one image.

    Attributes:
        tiles: box in the original image, rows and columns of positions, of each picture that the
            tower saw; the whole image once more, where the model gets one, is the last.
        arrays: of each tile (positions, width), float32, row by row.
    """

    tiles: tuple[Tile, ...]
    arrays: tuple[ndarray, ...]


@dataclass(frozen=True, eq=False)
class FeatureDifference:
    """How far apart two images are to a model.

    Attributes:
        tiles: as in `VisionFeatures`.
        distances: of each tile (rows, columns): cosine distance, 0 equal, 1 unrelated, at most 2.
        floor: distance that recompression alone causes, at the quantile `FLOOR_QUANTILE`.
    """

    tiles: tuple[Tile, ...]
    distances: tuple[ndarray, ...]
    floor: float

    def within(self, box: tuple[float, float, float, float]) -> float:
        """The mean distance in a box of the first image, in its pixels, of the tile where it is
        largest. Positions count by how much of the box lies on them."""
        means = [0.0]
        for tile, distances in zip(self.tiles, self.distances, strict=True):
            weights = numpy.outer(
                _shares(tile.box[1], tile.box[3], tile.rows, box[1], box[3]),
                _shares(tile.box[0], tile.box[2], tile.columns, box[0], box[2]),
            )  # (rows, columns)
            if weights.sum() > 0:
                means.append(float((weights * distances).sum() / weights.sum()))
        return max(means)

    def cell(self, size: Size) -> tuple[int, int]:
        """(width, height) of the smallest position, in pixels of the first image.

        Args:
            size: of that image: a position reaches no further.
        """
        cells = [
            (
                (min(tile.box[2], size[0]) - max(tile.box[0], 0)) / tile.columns,
                (min(tile.box[3], size[1]) - max(tile.box[1], 0)) / tile.rows,
            )
            for tile in self.tiles
        ]
        width, height = min(cells, key=lambda each: each[0] * each[1])
        return max(1, round(width)), max(1, round(height))

    def hardly_sees(self, region: Region) -> bool:
        """Whether a region is to the model as if it had only been recompressed."""
        return self.within(region.box) <= self.floor


def feature_difference(first: ndarray, second: ndarray) -> ndarray:
    """Cosine distance position by position.

    Args:
        first, second: features (positions, width) of aligned images sent with equal layout.

    Returns:
        float32 (positions,), from 0 (the same direction) to 2; 1 where one of both is all zero.

    Raises:
        ValueError: the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"features of one shape are expected, got {first.shape}, {second.shape}")
    one, other = first.astype(numpy.float64), second.astype(numpy.float64)
    lengths = numpy.linalg.norm(one, axis=-1) * numpy.linalg.norm(other, axis=-1)  # (positions,)
    products = (one * other).sum(-1)  # (positions,)
    cosine = numpy.divide(products, lengths, out=numpy.zeros_like(products), where=lengths > 0)
    distance = numpy.where((one == other).all(-1), 0, numpy.clip(1 - cosine, 0, 2))
    return distance.astype(numpy.float32)


def look(
    engine: Traces,
    first: Image,
    second: Image,
    comparison: Comparison,
    cancel: threading.Event | None = None,
) -> FeatureDifference:
    """Shows a model both images, and the first recompressed, and compares what it sees.

    Args:
        engine: of a model with a vision tower.
        comparison: of the two images.
        cancel: ends the work before the next picture once it is set.

    Raises:
        RequestError: the model does not tell which part of the image its features belong to, or
            it was cancelled.
    """
    seen: list[VisionFeatures] = []
    laid = aligned_image(first, second, comparison, one_exposure=True)
    for picture in (first, laid, recompressed(first)):
        stop_if(cancel)
        seen.append(vision_features(engine, picture))
    shapes = {tuple(array.shape for array in each.arrays) for each in seen}
    if len(shapes) > 1 or any(a.tiles != b.tiles for a, b in pairwise(seen)):
        raise RequestError("features_unplaced")
    changed, noise = (
        [feature_difference(*each) for each in zip(seen[0].arrays, other.arrays, strict=True)]
        for other in seen[1:]
    )
    return FeatureDifference(
        seen[0].tiles,
        tuple(
            each.reshape(tile.rows, tile.columns)
            for each, tile in zip(changed, seen[0].tiles, strict=True)
        ),
        float(numpy.quantile(numpy.concatenate(noise), FLOOR_QUANTILE)),
    )


def feature_heat(difference: FeatureDifference, size: Size, original: Size) -> ndarray:
    """The distances as a picture: how far above what recompression does.

    Args:
        size: (width, height) of the picture.
        original: (width, height) of the first image, in whose pixels tiles are told.

    Returns:
        float32 (height, width): 0 up to the floor, 1 for unrelated features; where tiles lie on
        each other, the larger.
    """
    width, height = size
    heat = numpy.zeros((height, width), numpy.float32)
    across, down = width / original[0], height / original[1]
    for tile, distances in zip(difference.tiles, difference.distances, strict=True):
        left, top, right, bottom = tile.box
        columns = (numpy.arange(width) + 0.5) / across  # in pixels of the original
        rows = (numpy.arange(height) + 0.5) / down
        inside = numpy.outer((rows >= top) & (rows < bottom), (columns >= left) & (columns < right))
        column = numpy.floor((columns - left) / (right - left) * tile.columns).astype(int)
        row = numpy.floor((rows - top) / (bottom - top) * tile.rows).astype(int)
        row, column = row.clip(0, tile.rows - 1), column.clip(0, tile.columns - 1)
        beyond = (distances - difference.floor) / max(1 - difference.floor, 1e-6)
        laid = beyond.clip(0, 1)[numpy.ix_(row, column)]  # (height, width)
        heat = numpy.where(inside, numpy.maximum(heat, laid), heat)
    return heat.astype(numpy.float32)


def marked(comparison: Comparison, difference: FeatureDifference) -> Comparison:
    """The comparison with every region marked as hardly seen or not."""
    regions = [
        replace(
            region,
            feature_distance=difference.within(region.box),
            hardly_seen=difference.hardly_sees(region),
        )
        for region in comparison.regions
    ]
    return replace(comparison, regions=tuple(regions))


# ---- pictures to send ----


def aligned_image(
    first: Image, second: Image, comparison: Comparison, *, one_exposure: bool = False
) -> Image:
    """The second image in the frame and size of the first, filled up from it.

    Args:
        one_exposure: whether it also gets the light of the first; else a seam may show.
    """
    size = first.pixels.size
    laid = moved(plain(second.pixels), comparison.alignment.matrix, size)
    if one_exposure and comparison.exposure.back is not None:
        steps = (comparison.exposure.back * 255).round().astype(int)  # (3, 256)
        table = [*steps.ravel().tolist(), *(range(256) if laid.mode == "RGBA" else ())]
        laid = laid.point(table)
    if not comparison.seen.all():
        where = pillow.fromarray(comparison.seen).convert("L").resize(size)
        under = plain(first.pixels)
        mode = "RGBA" if "RGBA" in (under.mode, laid.mode) else "RGB"
        laid = pillow.composite(laid.convert(mode), under.convert(mode), where)
    return made_image(laid, second.name)


def recompressed(image: Image) -> Image:
    """The image after a JPEG of `FLOOR_QUALITY`, laid on white and with its opacity as it was."""
    pixels = plain(image.pixels)
    if pixels.mode == "RGB":
        return made_image(pixels, image.name, "JPEG", quality=FLOOR_QUALITY)
    opacity = pixels.getchannel("A")
    opaque = made_image(pixels.convert("RGB"), kind="JPEG", quality=FLOOR_QUALITY).pixels
    opaque.putalpha(opacity)
    return made_image(opaque, image.name)


# ---- features of an image ----


def vision_features(engine: Traces, image: Image) -> VisionFeatures:
    """Runs a model on one image and reads its vision tower.

    Raises:
        RequestError: the tower's features cannot be placed in the image.
    """
    layout = engine.image_layout(image, GenerationOptions())
    stages = list(engine.trace([user_message("", [image])]))
    return placed(stages, layout)


def placed(stages: Sequence[Stage], layout: ImageLayout) -> VisionFeatures:
    """The features of the stage "vision_tower" with their places.

    A tower has as many positions as a tile has tokens, or a square number of times as many (where
    neighbours are merged after it), row by row, with at most one more in front (a class token).

    Raises:
        RequestError: that is not so, or the layout tells no tiles.
    """
    arrays = [array for stage in stages for array in _pictures(stage)]
    if layout.tiles is None or not arrays:
        raise RequestError("features_unplaced")
    tiles = [*layout.tiles, *([layout.thumbnail] if layout.thumbnail else [])]
    if len(tiles) != len(arrays):
        raise RequestError("features_unplaced")
    if layout.thumbnail is not None and len(tiles) > 2 and _starts_with_whole(stages, tiles):
        arrays = [*arrays[1:], arrays[0]]
    grids = [_on_grid(array, tile) for array, tile in zip(arrays, tiles, strict=True)]
    return VisionFeatures(tuple(tile for _, tile in grids), tuple(array for array, _ in grids))


def _pictures(stage: Stage) -> list[ndarray]:
    """The arrays (positions, width) of a stage of the vision tower, one for each picture."""
    if stage.name != "vision_tower":
        return []
    if stage.axes == ("positions", "width"):
        return [stage.array]
    if stage.axes == ("images", "positions", "width"):
        return list(stage.array)
    if stage.axes == ("images", "width", "rows", "columns"):
        images, width = stage.array.shape[:2]
        return list(stage.array.reshape(images, width, -1).transpose(0, 2, 1))
    return []


def _on_grid(array: ndarray, tile: Tile) -> tuple[ndarray, Tile]:
    """Features (positions, width) without a class token; the tile with their rows and columns."""
    tokens = tile.rows * tile.columns
    for extra in (0, 1):
        positions = len(array) - extra
        times = isqrt(positions // tokens) if tokens else 0
        if times and times**2 * tokens == positions:
            grid = replace(tile, rows=tile.rows * times, columns=tile.columns * times)
            return array[extra:], grid
    raise RequestError("features_unplaced")


def _starts_with_whole(stages: Sequence[Stage], tiles: Sequence[Tile]) -> bool:
    """Whether the tower sees the whole image before its tiles, told by their colours.

    Args:
        tiles: the whole image is the last.
    """
    pixels = next((each.array for each in stages if each.name == "pixel_values"), None)
    if pixels is None or pixels.ndim not in (4, 5):
        raise RequestError("features_unplaced")
    pixels = pixels.reshape(-1, *pixels.shape[-3:])  # (pictures, channels, height, width)
    if len(pixels) != len(tiles):
        raise RequestError("features_unplaced")
    height, width = pixels.shape[-2:]
    left, top, right, bottom = tiles[-1].box
    errors = []
    for whole, parts in ((pixels[0], pixels[1:]), (pixels[-1], pixels[:-1])):
        error = 0.0
        for tile, part in zip(tiles[:-1], parts, strict=True):
            rows = _shares(top, bottom, height, tile.box[1], tile.box[3])  # (height,)
            columns = _shares(left, right, width, tile.box[0], tile.box[2])  # (width,)
            weights = numpy.outer(rows, columns)
            mean = (whole * weights).sum((1, 2)) / weights.sum()  # (channels,)
            error += float(numpy.abs(mean - part.mean((1, 2))).sum())
        errors.append(error)
    return errors[0] < errors[1]


def _shares(start: float, end: float, cells: int, low: float, high: float) -> ndarray:
    """How much of each of equal cells from `start` to `end` lies between low and high, 0 to 1."""
    edges = numpy.linspace(start, end, cells + 1)
    common = numpy.minimum(edges[1:], high) - numpy.maximum(edges[:-1], low)
    return numpy.clip(common, 0, None) / max((end - start) / cells, 1e-9)

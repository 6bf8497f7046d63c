"""Small pictures of what a stage holds, so that a person sees it at a glance.

In: stages and figures as numpy arrays. Out: RGB pictures of few pixels, to be drawn large without
smoothing. Features become colours by their three strongest directions, sequences a strip.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy
from numpy import ndarray
from PIL import Image as pillow

from vlm.backend import Stage
from vlm.difference_pictures import COLOURS, heat_colours
from vlm.inspection import Figure, PixelScale
from vlm.messages import Pixels

MOST = 16
"""Pictures of a stage that are shown side by side."""
SAMPLE = 1024
"""Positions from which the strongest directions are found."""
ROUNDS = 8
"""Of the power iteration: more changes no colour that an eye could tell."""
GAP = 1
PALE = 235
BINS = 48
TALL = 6
LONGEST_STRIP = 2048
"""Tokens of a strip that get a pixel each; of more, some share one."""
STRIP_ROWS = (5, 1, 2)
"""Rows of a strip with marks: its values, a gap, the marks."""

Form = Literal["pixels", "features", "strip", "histogram"]

GRIDS = ("images", "sides")
"""Axes of a stage that holds rows and columns of patches of each picture."""
CELLS = ("images", "width", "rows", "columns")
"""Axes of features that lie on their grid, as convolutions give them."""


def picture(
    stage: Stage,
    others: Sequence[Stage] = (),
    scale: PixelScale | None = None,
    of_images: ndarray | None = None,
) -> Pixels | None:
    """A stage as a picture; None where there are no values, or nothing to see.

    Args:
        stage: to be shown.
        others: of the same run: one of them may say how a picture's patches lie.
        scale: how its pixels become colours; None: one scale for all of them.
        of_images: (tokens,), whether each token of the prompt stands for an image.
    """
    array, axes = stage.array, stage.axes
    if not stage.known or not array.size:
        return None
    sizes = next((each.array for each in others if each.axes == GRIDS and each.known), None)
    drawn = form(stage)
    if drawn == "pixels":
        flat = array.reshape(-1, *array.shape[-3:])[:MOST]
        return mosaic(_upright(flat, sizes, scale))
    if axes == CELLS:
        moved = array[:MOST].transpose(0, 2, 3, 1)  # (images, rows, columns, width)
        return mosaic(list(_coloured(moved)))
    if drawn == "features":
        return mosaic(features(array[:MOST], sizes))
    if drawn == "strip":
        values = array[0] if axes[-1] == "tokens" else _lengths(array)
        return strip(values, of_images if is_marked(stage, of_images) else None)
    return histogram(array)


def form(stage: Stage) -> Form:
    """How a stage is drawn: as colours of pixels, features as colours, a strip, or bars."""
    axes = stage.axes
    if axes[-3:] == ("channels", "height", "width"):
        return "pixels"
    if axes == CELLS or (axes[0] == "images" and axes[-1] == "width" and len(axes) == 3):
        return "features"
    return "strip" if axes == ("batch", "tokens") or axes[-1] == "width" else "histogram"


def is_marked(stage: Stage, of_images: ndarray | None) -> bool:
    """Whether the tokens of a strip are those of the prompt, some of which are of an image."""
    if of_images is None or "tokens" not in stage.axes:
        return False
    tokens = stage.array.shape[stage.axes.index("tokens")]
    return tokens == len(of_images) and bool(of_images.any())


def _lengths(array: ndarray) -> ndarray:
    """(..., width) -> (positions,): how long each vector of features is."""
    return numpy.linalg.norm(array.reshape(-1, array.shape[-1]), axis=1)


def features(array: ndarray, sizes: ndarray | None = None) -> list[ndarray]:
    """Features of positions as colours, each picture on its grid: [(rows, columns, 3)].

    Args:
        array: (images, positions, width). A first position that no square has room for is the
            class token and left out.
        sizes: (images, 2), rows and columns of each picture whose positions are filled up.
    """
    shape = array.shape[:2]
    colours = _coloured(array)  # (images, positions, 3)
    found = []
    for number, each in enumerate(colours):
        if sizes is not None and int(numpy.prod(sizes[number])) <= shape[1] and shape[1] > 64:
            rows, columns = (int(side) for side in sizes[number])
            found.append(each[: rows * columns].reshape(rows, columns, 3))
            continue
        side = math.isqrt(shape[1])
        if side**2 == shape[1]:
            found.append(each.reshape(side, side, 3))
        elif side**2 == shape[1] - 1:
            found.append(each[1:].reshape(side, side, 3))
        else:
            found.append(each[None])
    return found


def _coloured(array: ndarray) -> ndarray:
    """(..., width) to (..., 3), 0 to 255: the three directions in which features differ most.

    Found by power iteration on at most `SAMPLE` of them; each direction from its 2nd to its 98th
    percentile, so that a few outliers do not leave the rest grey.
    """
    rows = numpy.nan_to_num(array.reshape(-1, array.shape[-1]).astype(numpy.float32))
    centred = rows - rows.mean(0)  # (all positions, width)
    sample = centred[:: max(1, len(centred) // SAMPLE)]
    basis = numpy.random.default_rng(0).standard_normal((rows.shape[1], 3), numpy.float32)
    for _ in range(ROUNDS):
        basis, _ = numpy.linalg.qr(sample.T @ (sample @ basis))  # (width, at most 3)
    shown = centred @ basis  # (all positions, at most 3)
    shown = numpy.pad(shown, ((0, 0), (0, 3 - shown.shape[1])))
    low, high = numpy.percentile(shown, (2, 98), axis=0)
    scaled = (shown - low) / numpy.maximum(high - low, 1e-9)
    return _bytes(scaled).reshape(*array.shape[:-1], 3)


def _upright(pixels: ndarray, sizes: ndarray | None, scale: PixelScale | None) -> list[ndarray]:
    """Normalised pixels (images, 3, height, width) as colours: [(height, width, 3)].

    Pictures that come as a strip of patches are put together again by rows and columns `sizes`.
    """
    if scale is not None and pixels.shape[1] == 3:
        low, high = (numpy.reshape(end, (3, 1, 1)) for end in (scale.black, scale.white))
        colours = _bytes((pixels - low) / (high - low))
    else:  # of each colour by itself it would give grey ground a colour
        low, high = float(pixels.min()), float(pixels.max())
        colours = _bytes((pixels - low) / max(high - low, 1e-9))
    colours = colours.transpose(0, 2, 3, 1)  # (images, height, width, 3)
    if colours.shape[-1] != 3:
        return [numpy.repeat(each[..., :1], 3, axis=-1) for each in colours]
    if sizes is None:
        return list(colours)
    found = []
    for each, (rows, columns) in zip(colours, sizes, strict=False):
        patch = each.shape[0]
        whole = each[:, : patch * rows * columns].reshape(patch, rows, columns, patch, 3)
        found.append(whole.transpose(1, 0, 2, 3, 4).reshape(rows * patch, columns * patch, 3))
    return found


def mosaic(parts: Sequence[ndarray], columns: int = 0) -> Pixels:
    """Pictures side by side: [(height, width, 3)]; 0: in about as many rows as columns."""
    columns = columns or math.ceil(math.sqrt(len(parts)))
    lines = [parts[at : at + columns] for at in range(0, len(parts), columns)]
    heights = [max(each.shape[0] for each in line) for line in lines]
    widest = max(sum(each.shape[1] + GAP for each in line) - GAP for line in lines)
    ground = numpy.full((sum(heights) + GAP * (len(lines) - 1), widest, 3), PALE, numpy.uint8)
    top = 0
    for line, height in zip(lines, heights, strict=True):
        left = 0
        for each in line:
            ground[top : top + each.shape[0], left : left + each.shape[1]] = each
            left += each.shape[1] + GAP
        top += height + GAP
    return pillow.fromarray(ground)


def strip(values: ndarray, marked: ndarray | None = None) -> Pixels:
    """A number for each token as a strip, dark to light; one pixel high.

    The scale ends at the 1st and 99th percentile: the first token of a prompt often is far out.

    Args:
        values: (tokens,).
        marked: (tokens,), which of them get a line below; the strip is higher then.
    """
    values = _fewer(values.astype(numpy.float64))
    low, high = numpy.percentile(values, (1, 99))
    line = _heat((values - low) / max(high - low, 1e-9))[None]  # (1, tokens, 3)
    if marked is None:
        return pillow.fromarray(line)
    below = numpy.where(_fewer(marked)[:, None], _bytes(COLOURS[1]), PALE).astype(numpy.uint8)
    parts = (line, numpy.full_like(line, PALE), below[None])
    return pillow.fromarray(numpy.concatenate(parts).repeat(STRIP_ROWS, 0))


def _fewer(values: ndarray) -> ndarray:
    """At most `LONGEST_STRIP` of them: the largest of those that share a place."""
    if len(values) <= LONGEST_STRIP:
        return values
    edges = numpy.linspace(0, len(values), LONGEST_STRIP + 1).astype(int)[:-1]
    return numpy.maximum.reduceat(values, edges)


def histogram(array: ndarray) -> Pixels:
    """How often each value occurs, as bars: (24, BINS) pixels."""
    values = numpy.nan_to_num(array.reshape(-1).astype(numpy.float64))
    counts, _ = numpy.histogram(values[:: max(1, values.size // 1_000_000)], BINS)
    heights = numpy.ceil(numpy.sqrt(counts / max(counts.max(), 1)) * 24)  # rare ones stay visible
    rows = numpy.arange(24, 0, -1)[:, None]
    bars = numpy.where((rows <= heights)[..., None], _bytes(COLOURS[1]), PALE)  # (24, BINS, 3)
    return pillow.fromarray(bars.astype(numpy.uint8))


def numbers(stage: Stage) -> Mapping[str, float]:
    """Smallest, mean and largest value, how far they spread, and how many are no number."""
    array = stage.array
    if not stage.known or not array.size:
        return {}
    finite = array[numpy.isfinite(array)] if array.dtype.kind == "f" else array
    if not finite.size:
        return {"not_finite": float(array.size)}
    found = {
        "min": float(finite.min()),
        "mean": float(finite.mean(dtype=numpy.float64)),
        "max": float(finite.max()),
        "spread": float(finite.std(dtype=numpy.float64)),
    }
    odd = array.size - finite.size
    return {**found, "not_finite": float(odd)} if odd else found


def figure_picture(figure: Figure) -> Pixels:
    """A figure as a picture; see `vlm.inspection.Figure` for what it shows."""
    array = figure.array
    if figure.name == "filters":
        low, high = (edge(axis=(1, 2, 3), keepdims=True) for edge in (array.min, array.max))
        return mosaic(list(_bytes((array - low) / numpy.maximum(high - low, 1e-9))))
    if figure.name in ("positions", "positions_used"):
        return pillow.fromarray(_coloured(array))
    if figure.name == "buckets":
        shown = _heat(array / max(array.max(), 1))
        return pillow.fromarray(
            numpy.where((array > 0)[..., None], shown, PALE).astype(numpy.uint8)
        )
    if figure.name == "turns":  # dark is no further than in training, light the most there is
        doublings = numpy.log2(numpy.maximum(array, 1.0))
        return mosaic(list(_heat(_tall(doublings, 1) / max(doublings.max(), 1e-9))))
    if figure.name == "pairs":
        return mosaic([_heat(_tall(row[None], 0) / max(array.max(), 1)) for row in array], 1)
    return pillow.fromarray(_blocks(array))


def _tall(array: ndarray, axis: int) -> ndarray:
    """Each row several times, so that a few rows of many columns can be seen."""
    return array.repeat(TALL, axis)


def _blocks(owner: ndarray) -> ndarray:
    """Cells that belong together in one colour, neighbours in others: (rows, columns, 3)."""
    hue = (owner * 0.61803398875) % 1.0  # steps of the golden ratio lie far apart
    light = 0.62 + 0.2 * ((owner // 7) % 2)
    phases = numpy.stack([hue, hue + 1 / 3, hue + 2 / 3], axis=-1)
    return _bytes(light[..., None] + 0.25 * numpy.cos(2 * math.pi * phases))


def _heat(strength: ndarray) -> ndarray:
    """Numbers from 0 to 1 as colours of the heat map: (..., 3), 0 to 255."""
    return _bytes(heat_colours(numpy.clip(strength, 0, 1)))


def _bytes(colours: ndarray) -> ndarray:
    return (numpy.clip(numpy.nan_to_num(colours), 0, 1) * 255).round().astype(numpy.uint8)

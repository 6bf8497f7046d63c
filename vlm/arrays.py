"""Pictures of any mode as arrays of one form, scaled and moved. No torch here.

Coordinates are those of Pillow's affine transform: x to the right, y down, and the pixel in column
i covers x from i to i + 1. A matrix (3, 3) maps (x, y, 1) of one picture to another.
"""

import math

import numpy
from numpy import ndarray
from PIL import Image as pillow
from PIL.Image import Resampling, Transform

from vlm.messages import Pixels

LUMA = numpy.array([0.299, 0.587, 0.114], numpy.float32)
"""Weights of red, green and blue in brightness: ITU-R BT.601."""

Size = tuple[int, int]


def plain(pixels: Pixels) -> Pixels:
    """The picture as RGB, or as RGBA where something of it is see-through."""
    if not pixels.has_transparency_data:
        return pixels if pixels.mode == "RGB" else pixels.convert("RGB")
    whole = pixels if pixels.mode == "RGBA" else pixels.convert("RGBA")
    return whole.convert("RGB") if whole.getchannel("A").getextrema()[0] == 255 else whole


def fitted(size: Size, side: int) -> Size:
    """The size of a picture once its longest side is at most `side`; never below one pixel."""
    factor = min(1.0, side / max(size))
    width, height = (max(1, round(length * factor)) for length in size)
    return width, height


def shrunk(pixels: Pixels, size: Size) -> Pixels:
    """A smaller copy in which every pixel of the original counts."""
    if size == pixels.size:
        return pixels
    return pixels.resize(size, Resampling.LANCZOS, reducing_gap=2.0)


def moved(pixels: Pixels, matrix: ndarray, size: Size) -> Pixels:
    """What a picture shows in another frame.

    Args:
        pixels: RGB or RGBA.
        matrix: (3, 3), of the frame to the picture.
        size: (width, height) of the frame; where the picture shows nothing, it is black.
    """
    step = max(math.sqrt(abs(numpy.linalg.det(matrix[:2, :2]))), 1e-9)
    width, height = (max(1, round(length / max(step, 1))) for length in pixels.size)
    small = shrunk(pixels, (width, height))
    matrix = scaling(pixels.size, small.size) @ matrix
    if small.size == size and numpy.allclose(matrix, numpy.eye(3), atol=1e-9):
        return small
    numbers = tuple(float(value) for value in matrix[:2].ravel())
    return small.transform(size, Transform.AFFINE, numbers, Resampling.BICUBIC)


def covered(matrix: ndarray, size: Size, other: Size, margin: float = 1.0) -> ndarray:
    """Where a frame lies inside another picture.

    Args:
        matrix: (3, 3), of the frame to the picture.
        size, other: (width, height) of the frame and of the picture.
        margin: how far a pixel must lie from the border, in pixels of the frame. A border that
            both share asks for none, as nothing was interpolated there.

    Returns:
        truth (height, width).
    """
    width, height = size
    columns, rows = numpy.arange(width) + 0.5, numpy.arange(height)[:, None] + 0.5
    step = math.sqrt(abs(numpy.linalg.det(matrix[:2, :2])))
    if numpy.allclose(matrix, scaling(size, other), atol=1e-9):
        return numpy.ones((height, width), bool)
    inside = numpy.ones((height, width), bool)
    for row, limit in zip(matrix[:2], other, strict=True):
        position = row[0] * columns + row[1] * rows + row[2]  # (height, width)
        edge = min(margin * step, limit / 2)
        inside &= (position >= edge) & (position <= limit - edge)
    return inside


def scaling(size: Size, other: Size) -> ndarray:
    """The matrix (3, 3) that stretches one frame onto another."""
    return numpy.diag([other[0] / size[0], other[1] / size[1], 1.0])


def farthest_corner(one: ndarray, other: ndarray, size: Size) -> float:
    """The largest distance between where two matrices (3, 3) put a frame's corners, in pixels."""
    width, height = size
    corners = numpy.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
    apart = (one - other) @ corners  # (3, corners)
    return float(numpy.hypot(apart[0], apart[1]).max())


def on_white(pixels: Pixels) -> tuple[ndarray, ndarray | None]:
    """Colours (height, width, 3) from 0 to 1 laid on white, and opacity (height, width).

    Opacity is None where nothing is see-through.
    """
    values = numpy.asarray(pixels, numpy.float32) / 255  # (height, width, channels)
    if values.shape[-1] == 3:
        return values, None
    opacity = values[..., 3]  # (height, width)
    return values[..., :3] * opacity[..., None] + (1 - opacity[..., None]), opacity


def brightness(pixels: Pixels) -> ndarray:
    """Brightness (height, width) from 0 to 1 of an RGB or RGBA picture laid on white."""
    return on_white(pixels)[0] @ LUMA


def resized(values: ndarray, size: Size) -> ndarray:
    """An array (height, width) of float32 at another (width, height); smaller ones are averaged."""
    if values.shape == size[::-1]:
        return values
    return numpy.asarray(pillow.fromarray(values).resize(size, Resampling.HAMMING))

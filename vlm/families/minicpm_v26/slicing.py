"""How an image is sliced: one overview, and a grid of slices of about the same size each.

In: the size of an image in pixels. Out: sizes and grids; plain arithmetic, no pixels here.
Source: LLaVA-UHD, as in `image_processing_minicpmv.py` of openbmb/MiniCPM-V-2_6.
"""

import math
from dataclasses import dataclass

Size = tuple[int, int]
"""(width, height) in pixels."""
Grid = tuple[int, int]
"""(columns, rows)."""
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Plan:
    """What becomes of one image.

    Attributes:
        overview: size of the whole image as it is sent first.
        grid: of the slices that follow it; None where the image is sent in one piece.
        slice_size: of each slice; None without a grid.
    """

    overview: Size
    grid: Grid | None = None
    slice_size: Size | None = None

    @property
    def refined(self) -> Size | None:
        """The size of all slices together."""
        if self.grid is None or self.slice_size is None:
            return None
        return self.grid[0] * self.slice_size[0], self.grid[1] * self.slice_size[1]

    @property
    def pictures(self) -> int:
        """How many the vision tower sees."""
        return 1 if self.grid is None else 1 + self.grid[0] * self.grid[1]

    def patches(self, side: int) -> list[tuple[int, int]]:
        """(rows, columns) of patches of each picture, in order."""
        sizes = [self.overview, *[self.slice_size or self.overview] * (self.pictures - 1)]
        return [(height // side, width // side) for width, height in sizes]


def nearest_multiple(length: float, step: int) -> int:
    """The nearest multiple of `step`, at least `step`; of two equally near ones the even one."""
    return max(round(length / step) * step, step)


def fitted(size: tuple[float, float], scale: int, patch: int, enlarge: bool) -> Size:
    """A size of the same shape whose area is about scale * scale.

    Args:
        size: (width, height); need not be whole.
        scale: side of a square of the wanted area, in pixels.
        patch: both sides become multiples of it.
        enlarge: whether an image that is smaller grows.
    """
    width, height = size
    if width * height > scale * scale or enlarge:
        shape = width / height
        height = int(scale / math.sqrt(shape))
        width = int(height * shape)
    return nearest_multiple(width, patch), nearest_multiple(height, patch)


def choose_grid(size: Size, scale: int, most: int) -> Grid | None:
    """The grid whose shape is nearest to the image's; None where one piece is enough.

    As many slices as the image has areas of scale * scale, or one more or fewer. Of grids that
    are equally near, the one with fewer slices, then with fewer columns, is taken.

    Args:
        size: of the image.
        scale: side of a square of a slice's area, in pixels.
        most: slices.
    """
    width, height = size
    wanted = min(math.ceil(width * height / scale**2), most)
    if wanted <= 1:
        return None
    counts = [count for count in (wanted - 1, wanted, wanted + 1) if 1 < count <= most]
    grids = [
        (columns, count // columns)
        for count in counts
        for columns in range(1, count + 1)
        if count % columns == 0
    ]
    shape = math.log(width / height)
    return min(grids, key=lambda grid: abs(shape - math.log(grid[0] / grid[1])))


def plan(size: Size, scale: int, patch: int, most: int) -> Plan:
    """What becomes of an image of a size.

    Args:
        size: of the image.
        scale: side of a square of the area that a picture has, in pixels.
        patch: side of a patch.
        most: slices, the overview not counted; 1 sends the image in one piece.

    Raises:
        ValueError: `most` is below 1.
    """
    if most < 1:
        raise ValueError(f"max_slice_nums is {most}; it must be 1 or more")
    grid = choose_grid(size, scale, most)
    if grid is None:
        return Plan(fitted(size, scale, patch, enlarge=True))
    columns, rows = grid
    cell = nearest_multiple(size[0], columns) / columns, nearest_multiple(size[1], rows) / rows
    return Plan(
        overview=fitted(size, scale, patch, enlarge=False),
        grid=grid,
        slice_size=fitted(cell, scale, patch, enlarge=True),
    )


def slice_boxes(size: tuple[float, float], grid: Grid) -> list[Box]:
    """(left, top, right, bottom) of each slice in pixels of an image of a size, row by row."""
    columns, rows = grid
    across, down = size[0] / columns, size[1] / rows
    return [
        (column * across, row * down, (column + 1) * across, (row + 1) * down)
        for row in range(rows)
        for column in range(columns)
    ]

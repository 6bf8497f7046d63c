"""From a guess at how two pictures lie on each other to a fraction of a pixel.

In: brightness as arrays and a matrix (3, 3), in the coordinates of `vlm.arrays`. Out: the matrix
nearby at which they fit best.
"""

import numpy
from numpy import ndarray
from skimage.filters import gaussian
from skimage.transform import warp

from vlm.arrays import Size


def shifting(right: float, down: float) -> ndarray:
    """The matrix (3, 3) of a shift."""
    return numpy.array([[1, 0, right], [0, 1, down], [0, 0, 1]], float)


def local_detail(array: ndarray) -> ndarray:
    """Brightness less its local mean, divided by its local contrast: exposure leaves no trace."""
    smooth = gaussian(array, 0.8)
    detail = smooth - gaussian(smooth, 6)
    contrast = numpy.sqrt(gaussian(detail**2, 6))
    return (detail / (contrast + 0.02)).astype(numpy.float32)


def sampled(array: ndarray, matrix: ndarray, shape: tuple[int, ...]) -> ndarray:
    """The values (height, width) of an array seen through a matrix; NaN where it shows nothing."""
    centres = shifting(-0.5, -0.5) @ matrix @ shifting(0.5, 0.5)
    return warp(array, centres, output_shape=shape, order=1, cval=numpy.nan)


class Template:
    """Points of a picture with the slopes that Gauss-Newton needs, computed once."""

    MOST_POINTS = 12_000
    MOST_STEPS = 30

    def __init__(self, array: ndarray) -> None:
        self.size: Size = array.shape[::-1]
        down, right = numpy.gradient(array)
        strength = numpy.hypot(down, right)
        strongest = numpy.flatnonzero(strength >= numpy.median(strength))
        chosen = strongest[:: max(1, len(strongest) // self.MOST_POINTS)]
        rows, columns = numpy.unravel_index(chosen, array.shape)
        self._values = array[rows, columns]  # (points,)
        ones = numpy.ones(len(chosen))
        self._points = numpy.stack([columns + 0.5, rows + 0.5, ones])  # (3, points)
        self._unit = max(self.size) / 2
        x, y = (self._points[:2] - numpy.array(self.size)[:, None] / 2) / self._unit
        across, along = right[rows, columns], down[rows, columns]
        self._slopes = numpy.stack(
            [across * x + along * y, along * x - across * y, across, along], axis=1
        )  # (points, 4): growth, turn, right, down

    def fit(self, second: ndarray, matrix: ndarray) -> ndarray | None:
        """The matrix near `matrix` at which the second picture fits; None where it runs off."""
        for _ in range(self.MOST_STEPS):
            x, y = (matrix @ self._points)[:2] - 0.5
            values = warp(second, numpy.stack([y, x])[..., None], order=1, cval=numpy.nan)[:, 0]
            error = values - self._values  # (points,)
            seen = numpy.isfinite(error)
            if seen.sum() < 50:
                return None
            spread = 1.4826 * numpy.median(numpy.abs(error[seen])) + 1e-3
            weight = numpy.clip(1 - (numpy.nan_to_num(error) / (4.685 * spread)) ** 2, 0, None) ** 2
            weight *= seen
            weighted = self._slopes * weight[:, None]  # (points, 4)
            hessian = weighted.T @ self._slopes  # (4, 4)
            hessian += numpy.eye(4) * (1e-6 * numpy.trace(hessian) + 1e-9)
            step = numpy.linalg.solve(hessian, weighted.T @ numpy.nan_to_num(error))  # (4,)
            matrix = matrix @ numpy.linalg.inv(self._as_matrix(step))
            if numpy.abs(step).max() < 0.005:  # pixels
                break
        return matrix

    def _as_matrix(self, step: ndarray) -> ndarray:
        """The small similarity about the middle that a step stands for."""
        growth, turn, right, down = step
        centre = numpy.array(self.size) / 2
        change = numpy.array([[growth, -turn, right], [turn, growth, down], [0, 0, 0]])
        change[:2, :2] /= self._unit
        return numpy.eye(3) + change @ shifting(-centre[0], -centre[1])

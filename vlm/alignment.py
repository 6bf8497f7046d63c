"""How one picture lies on another: turned, scaled and shifted.

In: two images. Out: an `Alignment`, whose state says plainly where none could be found. Guesses
come from the frames themselves, from phase correlation and from matched features, in this order and
only as long as none convinces; each is refined to a fraction of a pixel and judged by how many
parts of the pictures agree, so that a changed object does not count against it.
"""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy
from numpy import ndarray
from skimage.feature import SIFT, match_descriptors
from skimage.filters import gaussian, window
from skimage.measure import ransac
from skimage.registration import phase_cross_correlation
from skimage.transform import SimilarityTransform, warp_polar

from vlm.arrays import Size, brightness, farthest_corner, fitted, plain, resized, scaling, shrunk
from vlm.errors import RequestError
from vlm.messages import Image
from vlm.refinement import Template, local_detail, sampled, shifting

State = Literal["same_frame", "aligned", "no_detail", "failed", "not_asked"]
Method = Literal["frames", "phase", "features"]
OnStage = Callable[[str], None]
"""Hears the stage that begins: "aligning", "comparing", "outlining"."""

BASE_SIDE = 1024
"""Longest side of the copies that are aligned, in pixels."""
COARSE, FINE = (96, 192), (384, 768)
"""Longest sides of the copies that a guess is refined on, one after the other."""
PHASE_SIDE = 256
FEATURE_SIDE = 448
JUDGED_SIDE = 384
BLOCK = 16
"""Side of the parts that agree or not, in pixels of a copy of `JUDGED_SIDE`."""

SMALLEST_SIDE = 16
"""Pictures with a shorter side hold nothing to align by."""
LEAST_CONTRAST = 0.012
"""Standard deviation of brightness (0 to 1) above which a block has something to compare."""
LEAST_BLOCKS = 6
AGREES = 0.6
"""Correlation of two blocks that show the same."""
CONVINCING = 0.75
"""Share of blocks that agree at which no further guess is made."""
ENOUGH = 0.45
"""Share of blocks that must agree; of different things at most 0.15 do, of a mirrored cup 0.38."""
WORTH_REFINING = 0.2
"""Share of blocks that must agree after the coarse steps."""
LEAST_OVERLAP = 0.1
SAME_FRAME = 0.2
"""Corners that move less, in pixels of the copies, have not moved."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """How the second image lies on the first.

    Attributes:
        state: "same_frame" (the second, scaled to the first's size, lies on it as it is),
            "aligned" (it was turned, scaled or shifted), "no_detail" (too little in one of them to
            align by), "failed" (they do not show the same) or "not_asked". In the last three the
            frames are laid on each other as they are.
        matrix: (3, 3), float64: maps (x, y, 1) in pixels of the first image to the second, both in
            their original sizes; a pixel in column i covers x from i to i + 1.
        method: where the guess came from.
        agreement: share of the parts with some detail that look alike once aligned, 0 to 1.
    """

    state: State
    matrix: ndarray
    method: Method = "frames"
    agreement: float = 0.0

    @property
    def found(self) -> bool:
        """Whether the images lie on each other by more than assumption."""
        return self.state in ("same_frame", "aligned")

    @property
    def rotation(self) -> float:
        """How far the second is turned against the first, clockwise as seen, in degrees."""
        return math.degrees(math.atan2(self.matrix[1, 0], self.matrix[0, 0]))

    @property
    def scale(self) -> float:
        """How many pixels of the second one pixel of the first measures."""
        return math.sqrt(abs(numpy.linalg.det(self.matrix[:2, :2])))

    @property
    def shift(self) -> tuple[float, float]:
        """(right, down): where the first's upper left corner lies in the second, in its pixels."""
        return float(self.matrix[0, 2]), float(self.matrix[1, 2])

    def movement(self, first: Size, second: Size) -> float:
        """How far the first's middle lies from the second's, in pixels of the second.

        Args:
            first, second: (width, height) of the images.
        """
        middle = self.matrix @ (first[0] / 2, first[1] / 2, 1)
        return math.hypot(middle[0] - second[0] / 2, middle[1] - second[1] / 2)


def align(
    first: Image,
    second: Image,
    *,
    progress: OnStage | None = None,
    cancel: threading.Event | None = None,
) -> Alignment:
    """Finds how the second image lies on the first.

    Args:
        first, second: of any mode and size.
        progress: hears the stage "aligning" when it begins.
        cancel: ends the work before its next step once it is set.

    Raises:
        RequestError: it was cancelled.
    """
    if progress is not None:
        progress("aligning")
    sizes = first.pixels.size, second.pixels.size
    frames = scaling(*sizes)
    if first.sha256 == second.sha256:
        return Alignment("same_frame", frames, agreement=1.0)
    arrays = []
    for image in (first, second):
        stop_if(cancel)
        pixels = plain(image.pixels)
        arrays.append(brightness(shrunk(pixels, fitted(pixels.size, BASE_SIDE))))
    pair = _Pair(*arrays)
    if not pair.has_detail():
        return Alignment("no_detail", frames)
    best = _best(pair, cancel)
    if best is None or best.agreement < ENOUGH:
        return Alignment("failed", frames, agreement=best.agreement if best else 0.0)
    if pair.moves(best.matrix) < SAME_FRAME:
        return Alignment("same_frame", frames, agreement=best.agreement)
    to_first, to_second = (
        scaling(size, array.shape[::-1]) for size, array in zip(sizes, arrays, strict=True)
    )
    matrix = numpy.linalg.inv(to_second) @ best.matrix @ to_first
    return Alignment("aligned", matrix, best.method, best.agreement)


def stop_if(cancel: threading.Event | None) -> None:
    """Raises RequestError once the flag is set."""
    if cancel is not None and cancel.is_set():
        raise RequestError("compare_cancelled")


@dataclass(frozen=True, eq=False)
class _Guess:
    """A matrix (3, 3) between the two copies, with the share of blocks that agree."""

    matrix: ndarray
    method: Method
    agreement: float


def _best(pair: "_Pair", cancel: threading.Event | None) -> _Guess | None:
    """The guess with most agreement; stops at the first that convinces."""
    best: _Guess | None = None
    sources: Sequence[tuple[Method, Callable[[_Pair], Iterator[ndarray]]]] = (
        ("frames", _as_framed),
        ("phase", _by_phase),
        ("features", _by_features),
    )
    for method, guesses in sources:
        for guess in guesses(pair):
            stop_if(cancel)
            coarse = pair.refined(guess, COARSE)
            if coarse is None or pair.agreement(coarse) < WORTH_REFINING:
                continue
            matrix = pair.refined(coarse, FINE)
            agreement = 0.0 if matrix is None else pair.agreement(matrix)
            if matrix is not None and (best is None or agreement > best.agreement):
                best = _Guess(matrix, method, agreement)
        if best is not None and best.agreement >= CONVINCING:
            break
    return best


# ---- guesses ----


def _as_framed(pair: "_Pair") -> Iterator[ndarray]:
    """The middles on each other at a scale by area, then the second frame stretched onto the first.

    Refinement keeps the form of a guess, so a part that was cut out would stay stretched by the
    second; a picture that was stretched needs it. Frames of one form differ in nothing.
    """
    stretched = scaling(*pair.sizes)
    scale = math.sqrt(stretched[0, 0] * stretched[1, 1])
    (width, height), (other_width, other_height) = pair.sizes
    if abs(width * scale - other_width) > 1 or abs(height * scale - other_height) > 1:
        uniform = scale * numpy.eye(3)
        uniform[:, 2] = (other_width - scale * width) / 2, (other_height - scale * height) / 2, 1
        yield uniform
    yield stretched


def _by_phase(pair: "_Pair") -> Iterator[ndarray]:
    """Rotation and scale from the log-polar spectra, then the shift, each by phase correlation.

    After Reddy and Chatterji, "An FFT-based technique for translation, rotation, and
    scale-invariant image registration" (1996). A spectrum is the same half a turn on, so there are
    two guesses.
    """
    squares, grids = [], []
    for array in pair.arrays:
        small = local_detail(resized(array, fitted(array.shape[::-1], PHASE_SIDE)))
        height, width = small.shape
        square = numpy.zeros((PHASE_SIDE, PHASE_SIDE), numpy.float32)
        top, left = (PHASE_SIDE - height) // 2, (PHASE_SIDE - width) // 2
        square[top : top + height, left : left + width] = small * window("hann", small.shape)
        squares.append(square)
        grids.append(shifting(left, top) @ scaling(array.shape[::-1], (width, height)))
    radius = PHASE_SIDE // 3
    polar = [
        warp_polar(
            numpy.log1p(numpy.abs(numpy.fft.fftshift(numpy.fft.fft2(square)))),
            radius=radius,
            output_shape=(360, PHASE_SIDE),
            scaling="log",
        )[:180]  # (half a turn in 180 steps, PHASE_SIDE)
        for square in squares
    ]
    (turned, stretched), _, _ = phase_cross_correlation(
        *(each - each.mean() for each in polar), upsample_factor=10, normalization="phase"
    )
    scale = math.exp(stretched * math.log(radius) / PHASE_SIDE)
    for degrees in (-turned, 180 - turned):
        turn = _about_centre(math.radians(degrees), scale)
        laid = sampled(squares[1], turn, squares[0].shape)
        shift, _, _ = phase_cross_correlation(
            squares[0], numpy.nan_to_num(laid), normalization="phase"
        )
        matrix = turn @ shifting(-shift[1], -shift[0])
        yield numpy.linalg.inv(grids[1]) @ matrix @ grids[0]


def _about_centre(angle: float, scale: float) -> ndarray:
    """The matrix (3, 3) that turns a square of `PHASE_SIDE` about its middle and scales it."""
    cosine, sine = math.cos(angle) * scale, math.sin(angle) * scale
    turn = numpy.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    middle = PHASE_SIDE / 2
    return shifting(middle, middle) @ turn @ shifting(-middle, -middle)


def _by_features(pair: "_Pair") -> Iterator[ndarray]:
    """SIFT features (Lowe, 2004) matched both ways, and the similarity that most agree on (RANSAC).

    The draws are seeded, so that the same pair gives the same answer.
    """
    points, descriptors, grids = [], [], []
    for array in pair.arrays:
        size = fitted(array.shape[::-1], FEATURE_SIDE)
        finder = SIFT()
        try:
            finder.detect_and_extract(resized(array, size))
        except RuntimeError:  # it found none
            return
        points.append(numpy.asarray(finder.keypoints)[:, ::-1] + 0.5)
        descriptors.append(finder.descriptors)
        grids.append(scaling(array.shape[::-1], size))
    matches = match_descriptors(*descriptors, cross_check=True, max_ratio=0.85)  # (matches, 2)
    if len(matches) < 4:
        return
    model, inliers = ransac(
        (points[0][matches[:, 0]], points[1][matches[:, 1]]),
        SimilarityTransform,
        min_samples=2,
        residual_threshold=3,
        max_trials=1000,
        rng=0,
    )
    if model is not None and inliers is not None and numpy.sum(inliers) >= 4:
        yield numpy.linalg.inv(grids[1]) @ model.params @ grids[0]


# ---- refinement and judgement ----


class _Pair:
    """Two pictures as brightness (height, width), and what matrices between them are worth."""

    def __init__(self, first: ndarray, second: ndarray) -> None:
        self.arrays = (first, second)
        self.sizes: tuple[Size, Size] = (first.shape[::-1], second.shape[::-1])
        self._template = cache(self._make_template)

    def has_detail(self) -> bool:
        """Whether both hold something to align by."""
        return all(
            min(array.shape) >= SMALLEST_SIDE
            and (_blocks(_judged(array))[1] > LEAST_CONTRAST**2).sum() >= LEAST_BLOCKS
            for array in self.arrays
        )

    def moves(self, matrix: ndarray) -> float:
        """How far the first's corners lie from where frames put them, in pixels of the second."""
        return farthest_corner(matrix, scaling(*self.sizes), self.sizes[0])

    def refined(self, matrix: ndarray, sides: Sequence[int]) -> ndarray | None:
        """The similarity near a guess that fits best on copies of these sides; None: it runs off.

        Inverse compositional Gauss-Newton (Baker and Matthews, "Lucas-Kanade 20 years on", 2004)
        on brightness with the local mean and contrast taken out, with Tukey's weights so that what
        changed does not pull.
        """
        longest = max(self.sizes[0])
        for side in sides:
            template = self._template(min(side, longest))
            grid = scaling(self.sizes[0], template.size)
            scale = math.sqrt(abs(numpy.linalg.det(matrix[:2, :2])))
            if not 0.05 < scale * max(self.sizes[0]) / max(self.sizes[1]) < 20:
                return None
            factor = min(1.0, template.size[0] / self.sizes[0][0] / scale)
            size = fitted(self.sizes[1], max(1, round(max(self.sizes[1]) * factor)))
            if min(size) < 4:
                return None
            second = local_detail(resized(self.arrays[1], size))
            other = scaling(self.sizes[1], size)
            found = template.fit(second, other @ matrix @ numpy.linalg.inv(grid))
            if found is None:
                return None
            matrix = numpy.linalg.inv(other) @ found @ grid
            if side >= longest:
                break
        return matrix

    def _make_template(self, side: int) -> Template:
        array = self.arrays[0]
        return Template(local_detail(resized(array, fitted(array.shape[::-1], side))))

    def agreement(self, matrix: ndarray) -> float:
        """The share of blocks with detail, in either picture, that correlate once aligned."""
        first = _judged(self.arrays[0])
        grid = scaling(self.sizes[0], first.shape[::-1])
        onto = matrix @ numpy.linalg.inv(grid)
        scale = math.sqrt(abs(numpy.linalg.det(onto[:2, :2])))
        size = fitted(self.sizes[1], max(1, round(max(self.sizes[1]) / max(scale, 1.0))))
        small = gaussian(resized(self.arrays[1], size), 1)
        second = sampled(small, scaling(self.sizes[1], size) @ onto, first.shape)
        one, one_variance = _blocks(first)
        other, other_variance = _blocks(second)
        seen = numpy.isfinite(other_variance)
        if seen.mean() < LEAST_OVERLAP:
            return 0.0
        detailed = seen & (numpy.fmax(one_variance, other_variance) > LEAST_CONTRAST**2)
        if detailed.sum() < LEAST_BLOCKS:
            return 0.0
        covariance = (one * other).mean((1, 3))[detailed]
        spread = numpy.sqrt(one_variance[detailed] * other_variance[detailed])
        return float((covariance > AGREES * spread).mean())


def _judged(array: ndarray) -> ndarray:
    """A copy in which blocks are compared, free of grain."""
    return gaussian(resized(array, fitted(array.shape[::-1], JUDGED_SIDE)), 1)


def _blocks(array: ndarray) -> tuple[ndarray, ndarray]:
    """Blocks about their mean (rows, side, columns, side), and the variance (rows, columns)."""
    side = min(BLOCK, *array.shape)
    rows, columns = (length // side for length in array.shape)
    cut = array[: rows * side, : columns * side].reshape(rows, side, columns, side)
    cut = cut - cut.mean((1, 3), keepdims=True)
    return cut, (cut**2).mean((1, 3))

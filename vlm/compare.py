"""What differs between two pictures: figures, a map, and numbered regions with their boxes.

In: two images. Out: a `Comparison`. The second is aligned, both are brought to one exposure, and
what is left is measured as a difference of colour that a shift of a pixel, grain and JPEG do not
cause. All work is done on copies of at most `WORKING_SIDE` pixels.
"""

import math
import threading
from dataclasses import asdict, dataclass
from typing import Any

import numpy
from numpy import ndarray
from skimage.color import rgb2lab
from skimage.filters import apply_hysteresis_threshold, gaussian
from skimage.measure import label, regionprops
from skimage.metrics import structural_similarity
from skimage.morphology import isotropic_closing, isotropic_dilation, isotropic_erosion

from vlm.alignment import Alignment, OnStage, align, stop_if
from vlm.arrays import LUMA, Size, covered, moved, on_white, plain, scaling, shrunk
from vlm.exposure import Exposure, applied, find_exposure
from vlm.messages import Image, Pixels

WORKING_SIDE = 1024
"""Longest side of what is compared, in pixels."""
SOFTENED = 1.2
"""Standard deviation of the blur before colours are compared, in pixels of the copies."""
COLOUR_SOFTENED = 3.5
"""The same for hue and saturation, which JPEG stores at half the size."""
COLOUR_WEIGHT = 0.7
SURE, POSSIBLE = 12.0, 5.0
"""Differences of colour: a region needs one of the first and reaches as far as the second. JPEG of
quality 70 stays below the first on photos (7) and on small coloured letters (10.5), the worst."""
EDGE = 0.35
"""Share of the median difference of a region where it ends."""
RIM = 4
"""Half the width of what the blur makes around a region, in pixels."""
JOINED = 0.02
"""Parts nearer than this share of the diagonal are one region."""
SMALLEST_REGION = 0.001
"""Share of the first image's area below which a region is not told."""
MARGIN = 12
"""Pixels next to where the second picture ends that are left out: JPEG mixes colours in blocks of
16."""
WINDOW = 11
"""Side of the window of structural similarity."""


@dataclass(frozen=True)
class Region:
    """A part of the picture that changed.

    Attributes:
        number: from 1, the largest first.
        box: (left, top, right, bottom) in pixels of the first image's original size.
        area: share, 0 to 1, of what is compared: of the pixels that are `Comparison.seen`. Those
            of all regions add up to `Comparison.changed_share`.
        strength: mean difference of colour there, see `Comparison.difference`.
        feature_distance: how far apart it is to a model, see `vlm.feature_difference`; None where
            none was asked.
        hardly_seen: whether that is hardly more than recompression does; None where none was asked.
    """

    number: int
    box: tuple[int, int, int, int]
    area: float
    strength: float
    feature_distance: float | None = None
    hardly_seen: bool | None = None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two images compared, in the frame of the first.

    Arrays have the size of the working copies: (height, width), at most `WORKING_SIDE` a side.

    Attributes:
        alignment: how the second lies on the first; where it was not found, everything below
            compares the frames laid on each other as they are.
        similarity: mean structural similarity of brightness where both show something, at one
            exposure; 1 is equal, near 0 unrelated; it can be a little below 0.
        changed_share: share of pixels within regions, of those that are `seen`: the sum of the
            areas of the regions.
        regions: largest first.
        overlap: share of the first image's area that the second shows.
        brightness: how much lighter the second is, in steps of CIE L* (0 to 100), before the
            exposures are brought together.
        difference: of colour, float32, see `colour_difference`: about 2 is just noticeable, black
            and white are 100 apart; 0 where the second shows nothing.
        changed: truth: what belongs to a region, where it is `seen`.
        seen: truth: what is compared: where both show something, without a margin of `MARGIN`.
        aligned: the second in the frame of the first, in the size of the arrays, RGB or RGBA.
        exposure: what was taken out.
    """

    alignment: Alignment
    similarity: float
    changed_share: float
    regions: tuple[Region, ...]
    overlap: float
    brightness: float
    difference: ndarray
    changed: ndarray
    seen: ndarray
    aligned: Pixels
    exposure: Exposure

    def to_json(self) -> dict[str, Any]:
        """The figures, the regions and the alignment, in what JSON can hold."""
        alignment = self.alignment
        return {
            "alignment": {
                "state": alignment.state,
                "method": alignment.method,
                "agreement": alignment.agreement,
                "rotation": alignment.rotation,
                "scale": alignment.scale,
                "shift": list(alignment.shift),
                "matrix": alignment.matrix.tolist(),
            },
            "similarity": self.similarity,
            "changed_share": self.changed_share,
            "overlap": self.overlap,
            "brightness": self.brightness,
            "regions": [{**asdict(region), "box": list(region.box)} for region in self.regions],
        }


def compare(
    first: Image,
    second: Image,
    *,
    aligned: bool = True,
    progress: OnStage | None = None,
    cancel: threading.Event | None = None,
) -> Comparison:
    """Compares two images of any mode and size.

    Args:
        aligned: whether to look for how the second lies on the first; if not, exposures stay too.
        progress: hears each stage when it begins: "aligning", "comparing", "outlining".
        cancel: ends the work before its next step once it is set.

    Raises:
        RequestError: it was cancelled.
    """
    as_they_are = Alignment("not_asked", scaling(first.pixels.size, second.pixels.size))
    alignment = align(first, second, progress=progress, cancel=cancel) if aligned else as_they_are
    if progress is not None:
        progress("comparing")
    stop_if(cancel)
    size = working_size(first.pixels.size, second.pixels.size, alignment)
    frame = alignment.matrix @ scaling(size, first.pixels.size)
    seen = covered(frame, size, second.pixels.size, min(MARGIN, 0.03 * min(size)))
    laid = moved(plain(second.pixels), frame, size)
    stop_if(cancel)
    one, one_opacity = on_white(shrunk(plain(first.pixels), size))
    other, other_opacity = on_white(laid)
    stop_if(cancel)
    exposure = find_exposure(_soft(one), _soft(other), seen) if alignment.found else Exposure()
    other = numpy.where(seen[..., None], other, applied(exposure.there, one))
    stop_if(cancel)
    difference = colour_difference(one, other, exposure)
    difference = _with_opacity(difference, one_opacity, other_opacity) * seen
    stop_if(cancel)
    similarity = _similarity(one @ LUMA, applied(exposure.back, other) @ LUMA, seen)
    if progress is not None:
        progress("outlining")
    stop_if(cancel)
    changed, regions = outline(difference, seen, first.pixels.size)
    return Comparison(
        alignment=alignment,
        similarity=similarity,
        changed_share=float(changed.sum() / max(1, seen.sum())),
        regions=regions,
        overlap=float(covered(frame, size, second.pixels.size, margin=0).mean()),
        brightness=_lighter(one, other, seen),
        difference=difference,
        changed=changed,
        seen=seen,
        aligned=laid,
        exposure=exposure,
    )


def _with_opacity(difference: ndarray, one: ndarray | None, other: ndarray | None) -> ndarray:
    """A difference of colour (height, width) with that of opacity, where something has any."""
    if one is None and other is None:
        return difference
    veils = [numpy.ones_like(difference) if each is None else each for each in (one, other)]
    return numpy.hypot(difference, 100 * _apart(*(_soft(veil) for veil in veils)))


def working_size(first: Size, second: Size, alignment: Alignment) -> Size:
    """(width, height) in which both are compared: neither is enlarged."""
    factor = min(1.0, WORKING_SIDE / max(first), alignment.scale)
    width, height = (max(1, round(length * factor)) for length in first)
    return width, height


def colour_difference(first: ndarray, second: ndarray, exposure: Exposure) -> ndarray:
    """How far apart the colours of aligned pictures are, in steps like those of CIE 1976.

    The root of the squared differences of luma (0 to 100) and of CIE a and b by `COLOUR_WEIGHT`.

    Both are softened, and each is compared with the range of colours that the other has within a
    pixel, so that edges that lie half a pixel apart do not differ. They are compared at the
    exposure of the first and at that of the second and the smaller difference counts: where one
    was cut off at white, only one way is known.

    Args:
        first, second: colours (height, width, 3) from 0 to 1.

    Returns:
        float32 (height, width).
    """
    found = _apart(_lab(applied(exposure.there, first)), _lab(second))
    if exposure.changed:
        back = _apart(_lab(first), _lab(applied(exposure.back, second)))
        found = numpy.minimum(found, back)
    return found


def outline(
    difference: ndarray, seen: ndarray, original: Size
) -> tuple[ndarray, tuple[Region, ...]]:
    """The regions of a difference, and which pixels they hold.

    Two thresholds (as for Canny's edges), edges where the difference falls off, then closing, so
    that the parts of one object are one region.

    Args:
        difference: (height, width), see `colour_difference`; 0 where nothing is seen.
        seen: truth (height, width): what is compared.
        original: (width, height) of the first image, in whose pixels boxes are told.
    """
    height, width = difference.shape
    if (difference <= SURE).all():
        return numpy.zeros_like(difference, bool), ()
    rough = _edged(apply_hysteresis_threshold(difference, POSSIBLE, SURE), difference)
    radius = JOINED * math.hypot(height, width) / 2
    margin = math.ceil(radius) + 1
    joined = isotropic_closing(numpy.pad(rough, margin), radius)[margin:-margin, margin:-margin]
    across, down = original[0] / width, original[1] / height
    changed = numpy.zeros_like(rough)
    found: list[Region] = []
    compared = int(seen.sum())
    for part, inside in _largest_first(joined, difference, seen):
        pixels = int(inside.sum())
        if pixels < SMALLEST_REGION * difference.size:
            break
        top, left, bottom, right = part.bbox
        box = (
            math.floor(left * across),
            math.floor(top * down),
            min(original[0], math.ceil(right * across)),
            min(original[1], math.ceil(bottom * down)),
        )
        strength = float(part.intensity_mean)
        found.append(Region(len(found) + 1, box, pixels / compared, strength))
        changed[part.slice] |= inside
    return changed, tuple(found)


def _largest_first(
    joined: ndarray, difference: ndarray, seen: ndarray
) -> list[tuple[Any, ndarray]]:
    """Each part of a truth (height, width) with which pixels of its box are its own and seen.

    The closing that joined them reaches into what is not seen.
    """
    parts = [
        (part, part.image & seen[part.slice])
        for part in regionprops(label(joined, connectivity=2), intensity_image=difference)
    ]
    return sorted(parts, key=lambda each: (-int(each[1].sum()), each[0].label))


def _edged(rough: ndarray, difference: ndarray) -> ndarray:
    """Each part of a truth (height, width) without the rim that the blur around it makes.

    What is weak beside what is strong is rim where it is thin, and part of the change where not.
    """
    strong = numpy.zeros_like(rough)
    for part in regionprops(label(rough, connectivity=2), intensity_image=difference):
        values = part.image_intensity
        strong[part.slice] |= part.image & (values >= EDGE * numpy.median(values[part.image]))
    weak = rough & ~strong
    # An opening that leaves nothing gives nonsense: a distance to what is not there.
    cores = isotropic_erosion(weak, RIM)
    return strong | isotropic_dilation(cores, RIM) if cores.any() else strong


def _lab(colours: ndarray) -> ndarray:
    """Luma (0 to 100) and CIE a and b (height, width, 3).

    Softened after all else: what an exposure cuts off must be cut off first. JPEG keeps luma and
    thins out colour, so colour is softened more, and luma stands for L*, which colour moves.
    """
    luma = 100 * _soft(colours @ LUMA, SOFTENED)  # (height, width)
    colour = rgb2lab(_soft(colours, COLOUR_SOFTENED))[..., 1:]  # (height, width, 2)
    colour *= COLOUR_WEIGHT
    return numpy.concatenate([luma[..., None], colour], axis=-1)


def _soft(values: ndarray, width: float = SOFTENED) -> ndarray:
    """Softened copies of (height, width) or (height, width, channels)."""
    return gaussian(values, width, channel_axis=-1 if values.ndim == 3 else None)


def _apart(one: ndarray, other: ndarray) -> ndarray:
    """The distance (height, width) of each value from the other's range within a pixel."""
    if one.ndim == 2:
        one, other = one[..., None], other[..., None]
    squares = []
    for values, others in ((one, other), (other, one)):
        low, high = _near(others, numpy.minimum), _near(others, numpy.maximum)
        beyond = numpy.maximum(numpy.maximum(low - values, values - high), 0)
        squares.append((beyond**2).sum(-1))  # (height, width)
    return numpy.sqrt(numpy.maximum(*squares)).astype(numpy.float32)


def _near(values: ndarray, pick: numpy.ufunc) -> ndarray:
    """The smallest or largest of the 3 x 3 values around each (height, width, channels)."""
    for axis in (0, 1):
        pads = [(1, 1) if each == axis else (0, 0) for each in range(3)]
        padded = numpy.pad(values, pads, mode="edge")
        length = values.shape[axis]
        before, at, after = (
            padded.take(range(start, start + length), axis=axis) for start in range(3)
        )
        values = pick(pick(before, at), after)
    return values


def _similarity(one: ndarray, other: ndarray, seen: ndarray) -> float:
    """Mean structural similarity (Wang et al., 2004) of brightness (height, width) where seen."""
    if not seen.any():
        return 0.0
    pads = [(0, max(0, WINDOW - length)) for length in one.shape]
    found: Any = structural_similarity(
        *(numpy.pad(each, pads, mode="edge") for each in (one, other)),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        full=True,
    )
    parts = found[1][: one.shape[0], : one.shape[1]]  # (height, width)
    return float(parts[seen].mean())


def _lighter(one: ndarray, other: ndarray, seen: ndarray) -> float:
    """How much lighter the other is where both are seen, in CIE L*."""
    if not seen.any():
        return 0.0
    means = [colours[seen].mean(0)[None, None] for colours in (one, other)]  # (1, 1, 3)
    return float(rgb2lab(means[1])[0, 0, 0] - rgb2lab(means[0])[0, 0, 0])

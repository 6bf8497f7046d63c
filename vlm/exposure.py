"""What light and camera did between two pictures, so that it does not count as a change.

In: colours of the same places in both. Out: a curve for each channel that turns the first's
exposure into the second's, fitted so that places that did change do not pull.
"""

from dataclasses import dataclass

import numpy
from numpy import ndarray

MOST_SAMPLES = 20_000
CLIPPED = 0.015
"""Values so near to white may have been cut off and say nothing."""
WIDEST, NARROWEST = 0.3, 0.015
"""Of the error that still counts: from the first step of the fit to the last."""
TOWARDS_UNCHANGED = 1e-5
"""How strongly the fit keeps what the samples do not tell as it was."""
EXPLAINED = 0.04
LEAST_EXPLAINED = 0.5
"""Share of samples that a curve must bring within `EXPLAINED`; with less it is none."""
LEAST_USABLE = 0.1
"""Share of samples that must not be cut off."""
UNCHANGED_CURVE = (0.0, 1.0, 1.0)
"""Offset, gain and gamma."""
LEAST_GAIN, LEAST_GAMMA = 0.125, 0.25
"""These and one divided by them are what a camera does."""
UNCHANGED = 0.004
"""Curves that move no value by more, of 0 to 1, are left out: a step of 8 bits."""

KNOTS = numpy.linspace(0, 1, 256, dtype=numpy.float32)


@dataclass(frozen=True, eq=False)
class Exposure:
    """Curves from the first picture's exposure to the second's, and back.

    Attributes:
        there, back: (3, 256) values at even steps from 0 to 1, for red, green and blue; None where
            nothing is to be done.
    """

    there: ndarray | None = None
    back: ndarray | None = None

    @property
    def changed(self) -> bool:
        """Whether there is anything to take out."""
        return self.there is not None or self.back is not None


def find_exposure(first: ndarray, second: ndarray, seen: ndarray) -> Exposure:
    """Fits the curves.

    Args:
        first, second: colours (height, width, 3) from 0 to 1 of aligned pictures.
        seen: truth (height, width): where both show something.
    """
    places = numpy.flatnonzero(seen)
    places = places[:: max(1, len(places) // MOST_SAMPLES)]
    one, other = (colours.reshape(-1, 3)[places] for colours in (first, second))  # (samples, 3)
    return Exposure(_curves(one, other), _curves(other, one))


def applied(curves: ndarray | None, colours: ndarray) -> ndarray:
    """Colours (height, width, 3) after their curves."""
    if curves is None:
        return colours
    channels = [
        numpy.interp(colours[..., channel], KNOTS, curves[channel]).astype(numpy.float32)
        for channel in range(3)
    ]
    return numpy.stack(channels, axis=-1)


def _curves(one: ndarray, other: ndarray) -> ndarray | None:
    """Curves (3, 256) that turn samples (samples, 3) into the others; None: leave them."""
    if len(one) == 0:
        return None
    curves = [_curve(one[:, channel], other[:, channel]) for channel in range(3)]
    if any(curve is None for curve in curves):
        return None
    found = numpy.array(curves, numpy.float32)
    return found if numpy.abs(found - KNOTS).max() > UNCHANGED else None


def _curve(one: ndarray, other: ndarray) -> ndarray | None:
    """One channel: offset + gain x^gamma by Gauss-Newton, with a tolerance that narrows.

    A gain of light is one of gamma-coded values too, a tone curve much like a power. Weights after
    Geman and McClure; the scheme is graduated non-convexity (Blake and Zisserman, "Visual
    Reconstruction", 1987).
    """
    usable = numpy.maximum(one, other) < 1 - CLIPPED
    if usable.sum() < LEAST_USABLE * len(one):
        return None
    x, y = numpy.maximum(one[usable], 1e-3).astype(float), other[usable].astype(float)
    logarithm = numpy.log(x)
    offset, gain, gamma = UNCHANGED_CURVE
    width, weight = WIDEST, numpy.ones_like(x)
    while width > NARROWEST:
        power = x**gamma
        slopes = numpy.stack([numpy.ones_like(x), power, gain * power * logarithm], axis=-1)
        error = y - offset - gain * power  # (samples,)
        weighted = slopes * weight[:, None]  # (samples, 3)
        hold = TOWARDS_UNCHANGED * len(x) * numpy.eye(3)
        away = numpy.array(UNCHANGED_CURVE) - (offset, gain, gamma)
        step = numpy.linalg.solve(weighted.T @ slopes + hold, weighted.T @ error + hold @ away)
        offset = offset + step[0]
        gain = numpy.clip(gain + step[1], LEAST_GAIN, 1 / LEAST_GAIN)
        gamma = numpy.clip(gamma + step[2], LEAST_GAMMA, 1 / LEAST_GAMMA)
        error = y - offset - gain * x**gamma
        weight = (width**2 / (width**2 + error**2)) ** 2
        width *= 0.8
    if (numpy.abs(error) < EXPLAINED).mean() < LEAST_EXPLAINED:
        return None
    return numpy.clip(offset + gain * KNOTS**gamma, 0, 1)

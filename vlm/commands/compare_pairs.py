"""Pairs of pictures with known edits, to measure what `vlm.compare` promises.

Scenes are cut from the example photos or drawn; edits, objects and their places come from a seed,
so that the same seed gives the same pairs everywhere.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy
from numpy import ndarray
from numpy.random import Generator, default_rng
from PIL import Image as pillow
from PIL import ImageDraw
from PIL.Image import Resampling, Transform
from skimage.color import rgb2lab
from skimage.filters import gaussian
from skimage.transform import resize

from vlm.arrays import Size
from vlm.images import made_image, open_image
from vlm.messages import Image, Pixels

PHOTOS = Path(__file__).parents[2] / "assets" / "examples"

LEAST_AREA, MOST_AREA = 0.012, 0.1
"""Of an object, as a share of the scene: promised is what is over 1 %."""
VISIBLE = 15.0
"""Mean difference of colour (CIE 1976) that an edit makes at least: less is hard to see."""
NOTICED, LEAST_NOTICED = 5.0, 0.8
"""So large a share of what was touched must differ by so much: a part of a black object in front of
a black coat is not a change that anybody could find."""
APART = 0.06
"""Least way between the places of a moved object, as a share of the longest side."""
MOST_DRAWS = 400


@dataclass(frozen=True, eq=False)
class Pair:
    """Two pictures, and what is true about them.

    Attributes:
        first, second: as they would be opened.
        edited: truth (height, width) in the first picture's pixels: what the edit touched.
        matrix: (3, 3): where each place of the first lies in the second.
    """

    first: Image
    second: Image
    edited: ndarray
    matrix: ndarray


@dataclass(frozen=True, eq=False)
class _Edit:
    """Colours before and after (height, width, 3), 0 to 1, and what was touched (height, width)."""

    before: ndarray
    after: ndarray
    edited: ndarray


def make_pair(kind: str, seed: int) -> Pair:
    """A pair of one of the `KINDS`; the same for the same seed."""
    random = default_rng([seed, *kind.encode()])
    return KINDS[kind](random)


# ---- scenes and objects ----


@cache
def _photo(name: str) -> Pixels:
    return open_image(PHOTOS / f"{name}.jpg").pixels.convert("RGB")


PHOTO_NAMES = ("astronaut", "cat", "coffee", "photographer")


def scene(random: Generator) -> ndarray:
    """Colours (height, width, 3): three times out of four a part of a photo, else drawn."""
    if random.random() < 0.25:
        return _drawn(random)
    photo = _photo(str(random.choice(PHOTO_NAMES)))
    width, height = (round(length * random.uniform(0.75, 1)) for length in photo.size)
    left = int(random.integers(0, photo.size[0] - width + 1))
    top = int(random.integers(0, photo.size[1] - height + 1))
    colours = _colours(photo.crop((left, top, left + width, top + height)))
    return colours[:, ::-1] if random.random() < 0.5 else colours


def _drawn(random: Generator) -> ndarray:
    """A drawn scene: a sky of soft clouds, and shapes of many colours with soft shading."""
    width, height = int(random.integers(400, 640)), int(random.integers(400, 640))
    picture = pillow.new("RGB", (width, height))
    draw = ImageDraw.Draw(picture)
    for _ in range(40):
        x, y = random.uniform(0, width), random.uniform(0, height)
        half = random.uniform(15, 90)
        box = (x - half, y - half * random.uniform(0.3, 1), x + half, y + half)
        fill = tuple(int(value) for value in random.integers(30, 225, 3))
        (draw.ellipse if random.random() < 0.5 else draw.rectangle)(box, fill=fill)
    clouds = random.standard_normal((height, width, 1))
    clouds = gaussian(clouds, 12, channel_axis=-1) + 0.1 * gaussian(clouds, 1.5, channel_axis=-1)
    soft = gaussian(_colours(picture), 0.7, channel_axis=-1)
    return numpy.clip(soft + 0.06 * clouds / clouds.std(), 0, 1).astype(numpy.float32)


def _blob(random: Generator, shape: tuple[int, ...]) -> ndarray:
    """An object's outline: opacity (rows, columns), cut to its size, soft by a pixel."""
    height, width = shape[:2]
    area = math.exp(random.uniform(math.log(LEAST_AREA), math.log(MOST_AREA))) * height * width
    angles = numpy.linspace(0, 2 * math.pi, 90, endpoint=False)
    radius = numpy.ones_like(angles)
    for wave in range(2, 5):
        phase = random.uniform(0, 2 * math.pi)
        radius += random.uniform(0, 0.18) * numpy.cos(wave * angles + phase)
    stretch = random.uniform(0.7, 1.4)
    x, y = radius * numpy.cos(angles) * stretch, radius * numpy.sin(angles) / stretch
    inside = 0.5 * abs(numpy.dot(x, numpy.roll(y, 1)) - numpy.dot(y, numpy.roll(x, 1)))
    factor = math.sqrt(area / inside)
    x, y = (x - x.min()) * factor + 2, (y - y.min()) * factor + 2
    columns, rows = math.ceil(x.max()) + 2, math.ceil(y.max()) + 2
    picture = pillow.new("L", (columns * 4, rows * 4))
    points = [(float(a * 4), float(b * 4)) for a, b in zip(x, y, strict=True)]
    ImageDraw.Draw(picture).polygon(points, fill=255)
    small = picture.resize((columns, rows), Resampling.BOX)
    return numpy.asarray(small, numpy.float32) / 255


def _object(random: Generator, shape: tuple[int, ...]) -> tuple[ndarray, ndarray]:
    """Colours (rows, columns, 3) and opacity (rows, columns): part of a photo, or one colour."""
    opacity = _blob(random, shape)
    rows, columns = opacity.shape
    if random.random() < 0.5:
        source = _colours(_photo(str(random.choice(PHOTO_NAMES))))
        top = int(random.integers(0, max(1, source.shape[0] - rows)))
        left = int(random.integers(0, max(1, source.shape[1] - columns)))
        part = source[top : top + rows, left : left + columns]
        return numpy.asarray(resize(part, (rows, columns, 3)), numpy.float32), opacity
    light = numpy.linspace(1, random.uniform(0.6, 0.9), rows)[:, None, None]
    colours = random.uniform(0.1, 1, 3) * light * numpy.ones((rows, columns, 1))
    return colours.astype(numpy.float32), opacity


def _place(random: Generator, shape: tuple[int, ...], small: tuple[int, ...]) -> tuple[int, int]:
    """(top, left) of an object that keeps 8 % away from the border, if it fits at all."""
    found = []
    for length, part in zip(shape[:2], small, strict=True):
        margin = round(0.08 * length)
        found.append(int(random.integers(margin, max(margin + 1, length - part - margin))))
    return found[0], found[1]


def _laid(
    colours: ndarray, thing: tuple[ndarray, ndarray], place: tuple[int, int]
) -> tuple[ndarray, ndarray]:
    """A scene with an object on it, and where the object is: truth (height, width)."""
    (top, left), (rows, columns) = place, thing[1].shape
    part = (slice(top, top + rows), slice(left, left + columns))
    veil = thing[1][: colours[part].shape[0], : colours[part].shape[1], None]
    result, where = colours.copy(), numpy.zeros(colours.shape[:2], bool)
    result[part] = colours[part] * (1 - veil) + thing[0][: veil.shape[0], : veil.shape[1]] * veil
    where[part] = veil[..., 0] > 0.5
    return result, where


# ---- edits ----


def _removed(random: Generator) -> _Edit | None:
    """An object that only the first has."""
    colours = scene(random)
    thing = _object(random, colours.shape)
    before, where = _laid(colours, thing, _place(random, colours.shape, thing[1].shape))
    return _Edit(before, colours, where)


def _recoloured(random: Generator) -> _Edit | None:
    """An object whose colour turns, while its lights and shades stay."""
    colours = scene(random)
    (surface, opacity), angle = _object(random, colours.shape), random.uniform(0, 2 * math.pi)
    blue, red = random.uniform(0.15, 0.3) * numpy.array([math.cos(angle), math.sin(angle)])
    turn = numpy.array([1.402 * red, -0.714 * red - 0.344 * blue, 1.772 * blue])  # at equal luma
    other = numpy.clip(surface + turn, 0, 1).astype(numpy.float32)
    place = _place(random, colours.shape, opacity.shape)
    before, where = _laid(colours, (surface, opacity), place)
    return _Edit(before, _laid(colours, (other, opacity), place)[0], where)


def _moved(random: Generator) -> _Edit | None:
    """An object that lies elsewhere, with a gap between."""
    colours = scene(random)
    thing = _object(random, colours.shape)
    places = [_place(random, colours.shape, thing[1].shape) for _ in range(2)]
    (before, here), (after, there) = (_laid(colours, thing, place) for place in places)
    gap = APART * max(colours.shape)
    distances = [
        abs(a - b) - side for a, b, side in zip(places[0], places[1], thing[1].shape, strict=True)
    ]
    return _Edit(before, after, here | there) if max(distances) >= gap else None


def _edit(random: Generator, make: Callable[[Generator], _Edit | None]) -> _Edit:
    """An edit that can be seen: draws again until it is as `VISIBLE` and `NOTICED` say."""
    for _ in range(MOST_DRAWS):
        edit = make(random)
        if edit is None:
            continue
        apart = rgb2lab(edit.before) - rgb2lab(edit.after)
        distance = numpy.sqrt((apart**2).sum(-1))
        share = edit.edited.mean()
        shown = distance[edit.edited]
        visible = shown.mean() >= VISIBLE and (shown >= NOTICED).mean() >= LEAST_NOTICED
        if visible and share >= LEAST_AREA * 0.9:
            return edit
    raise AssertionError("no edit that can be seen was drawn")


def _nothing(random: Generator) -> _Edit:
    colours = scene(random)
    return _Edit(colours, colours, numpy.zeros(colours.shape[:2], bool))


# ---- what a camera and a file do ----


def _exposed(random: Generator, colours: ndarray) -> ndarray:
    """Another exposure: up to 0.8 stops, a little white balance, a little tone curve."""
    stops = random.uniform(0.3, 0.8) * random.choice([-1, 1])
    gains = 2.0**stops * random.uniform(0.94, 1.06, 3)
    light = numpy.clip(colours**2.2 * gains, 0, 1)
    return (light ** (random.uniform(0.9, 1.1) / 2.2)).astype(numpy.float32)


def similarity_matrix(
    size: Size, degrees: float, scale: float, shift: tuple[float, float]
) -> ndarray:
    """(3, 3): turns a picture about its middle, clockwise as seen, scales it and shifts it."""
    x, y = size[0] / 2, size[1] / 2
    cosine, sine = (scale * each(math.radians(degrees)) for each in (math.cos, math.sin))
    return numpy.array(
        [
            [cosine, -sine, x - cosine * x + sine * y + shift[0]],
            [sine, cosine, y - sine * x - cosine * y + shift[1]],
            [0, 0, 1],
        ]
    )


def _turned(picture: Pixels, matrix: ndarray) -> Pixels:
    """The picture moved by a matrix within its frame; black where it shows nothing."""
    back = tuple(float(value) for value in numpy.linalg.inv(matrix)[:2].ravel())
    return picture.transform(picture.size, Transform.AFFINE, back, Resampling.BICUBIC)


def _jpeg(picture: Pixels, quality: int) -> Pixels:
    return made_image(picture, kind="JPEG", quality=quality).pixels


def _picture(colours: ndarray) -> Pixels:
    return pillow.fromarray((colours * 255).round().astype(numpy.uint8))


def _colours(picture: Pixels) -> ndarray:
    return numpy.asarray(picture, numpy.float32) / 255


def _pair(edit: _Edit, second: Pixels, matrix: ndarray | None = None) -> Pair:
    matrix = numpy.eye(3) if matrix is None else matrix
    return Pair(made_image(_picture(edit.before)), made_image(second), edit.edited, matrix)


# ---- kinds ----


def _edited(make: Callable[[Generator], _Edit | None]) -> Callable[[Generator], Pair]:
    def pair(random: Generator) -> Pair:
        edit = _edit(random, make)
        return _pair(edit, _picture(edit.after))

    return pair


def _re_exposed(random: Generator) -> Pair:
    edit = _nothing(random)
    return _pair(edit, _picture(_exposed(random, edit.after)))


def _rotated(random: Generator) -> Pair:
    edit = _nothing(random)
    second = _picture(edit.after)
    matrix = similarity_matrix(second.size, float(random.choice([-3, 3])), 1, (0, 0))
    return _pair(edit, _turned(second, matrix), matrix)


def _rotated_and_scaled(random: Generator) -> Pair:
    edit = _nothing(random)
    second = _picture(edit.after)
    shift = tuple(random.uniform(-0.03, 0.03, 2) * second.size)
    degrees, scale = random.choice([-5, 5]), random.choice([0.9, 1.1])
    matrix = similarity_matrix(second.size, float(degrees), float(scale), shift)
    return _pair(edit, _turned(second, matrix), matrix)


def _recompressed(random: Generator) -> Pair:
    edit = _nothing(random)
    return _pair(edit, _jpeg(_picture(edit.after), int(random.integers(70, 96))))


def _everything(random: Generator) -> Pair:
    """An object removed in another shot: exposed anew, turned by 3 degrees, recompressed."""
    edit = _edit(random, _removed)
    second = _picture(_exposed(random, edit.after))
    matrix = similarity_matrix(second.size, float(random.choice([-3, 3])), 1, (0, 0))
    return _pair(edit, _jpeg(_turned(second, matrix), 80), matrix)


KINDS: Mapping[str, Callable[[Generator], Pair]] = {
    "removed": _edited(_removed),
    "recoloured": _edited(_recoloured),
    "moved": _edited(_moved),
    "re_exposed": _re_exposed,
    "rotated": _rotated,
    "scaled": _rotated_and_scaled,
    "recompressed": _recompressed,
    "all": _everything,
}
"""How a pair of each kind is made."""


def large_pair(size: Size, seed: int) -> Pair:
    """A pair of such pictures: an enlarged photo with grain, turned by 5 degrees, 10 % larger."""
    random = default_rng(seed)
    photo = _photo("coffee").resize(size, Resampling.BICUBIC)
    grain = random.integers(-6, 7, (size[1], size[0], 1), dtype=numpy.int16)
    noisy = numpy.clip(numpy.asarray(photo) + grain, 0, 255).astype(numpy.uint8)
    first = pillow.fromarray(noisy)
    matrix = similarity_matrix(size, 5, 1.1, (40, 20))
    nothing = numpy.zeros((size[1], size[0]), bool)
    return Pair(made_image(first), made_image(_turned(first, matrix)), nothing, matrix)

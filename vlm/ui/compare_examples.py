"""Pairs to try: each an example photo, and the same photo after something happened to it.

Made from the committed photos when somebody asks for them, always the same.
"""

from collections.abc import Callable
from pathlib import Path

import numpy
from PIL import Image as pillow
from PIL import ImageDraw, ImageFilter
from PIL.Image import Resampling

from vlm.images import made_image, open_image
from vlm.messages import Image, Pixels

COARSE = 4
"""What is filled in is worked out so many times smaller: it is smooth anyway."""
SEED = 7


def coffee(photo: Pixels) -> Pixels:
    """The cup is empty and the spoon is gone; the camera has moved."""
    mask = _mask(
        photo,
        [
            ("ellipse", (200, 88, 374, 202)),  # coffee
            ("ellipse", (320, 238, 412, 332)),  # bowl of the spoon, then its neck
            ("polygon", (366, 244, 382, 196, 394, 198, 390, 246)),
            ("ellipse", (304, 222, 362, 268)),
        ],
    )
    return _taken_again(_filled(photo, mask), turned=2.9, smaller=0.96, lighter=1.06)


def photographer(photo: Pixels) -> Pixels:
    """A tower on the horizon is gone; the camera has turned the other way."""
    mask = _mask(photo, [("rectangle", (404, 112, 440, 198))])
    return _taken_again(_filled(photo, mask), turned=-1.8, smaller=1.0, lighter=0.94)


PAIRS: dict[str, Callable[[Pixels], Pixels]] = {"coffee": coffee, "photographer": photographer}
"""Name of a file in assets/examples -> what happens to it; `pair.example.NAME` says it."""


def example_pair(assets: Path, name: str) -> list[Image]:
    """A photo and the same photo later."""
    photo = open_image(assets / "examples" / f"{name}.jpg")
    later = PAIRS[name](photo.pixels)
    return [photo, made_image(later, f"{name}-later.jpg", "JPEG", quality=90)]


def _mask(photo: Pixels, shapes: list[tuple[str, tuple[int, ...]]]) -> Pixels:
    """White where something is to go."""
    mask = pillow.new("L", photo.size)
    draw = ImageDraw.Draw(mask)
    for shape, corners in shapes:
        getattr(draw, shape)(corners, fill=255)
    return mask


def _filled(photo: Pixels, mask: Pixels) -> Pixels:
    """What is masked, filled in smoothly from around it, with the grain of a photo."""
    from skimage.restoration import inpaint_biharmonic  # see `vlm.ui.compare_room.prepare`

    small = (photo.width // COARSE, photo.height // COARSE)
    colours = numpy.asarray(photo.convert("RGB").resize(small, Resampling.BOX)) / 255
    holes = numpy.asarray(mask.resize(small, Resampling.BOX)) > 0
    filled = inpaint_biharmonic(colours, holes, channel_axis=-1)  # (height, width, 3)
    smooth = pillow.fromarray((filled.clip(0, 1) * 255).astype(numpy.uint8))
    smooth = smooth.resize(photo.size, Resampling.BICUBIC)
    grain = numpy.random.default_rng(SEED).normal(0, 2.5, (*photo.size[::-1], 1))
    grained = numpy.asarray(smooth) + grain
    cover = pillow.fromarray(grained.clip(0, 255).astype(numpy.uint8))
    soft = mask.filter(ImageFilter.GaussianBlur(2))
    return pillow.composite(cover, photo.convert("RGB"), soft)


def _taken_again(photo: Pixels, *, turned: float, smaller: float, lighter: float) -> Pixels:
    """The photo as another shot of the same, cut so that no corner is empty."""
    width, height = photo.size
    shot = photo.rotate(-turned, Resampling.BICUBIC, expand=False)
    edge = 0.045
    cut = (round(width * edge), round(height * edge))
    shot = shot.crop((*cut, width - cut[0], height - cut[1]))
    size = (round(shot.width * smaller), round(shot.height * smaller))
    shot = shot.resize(size, Resampling.LANCZOS)
    return shot.point([min(255, round(value * lighter)) for value in range(256)] * 3)

"""Images to the tower's pixels, in the two ways of the published code, which disagree.

In: pictures of any size. Out: `pixel_values` (images, 3, side, side) float32. Serving: the whole
picture, squeezed. Training: its middle. Each has its own mean and deviation of the colours.
"""

from typing import Any, cast

import numpy
import torch
from PIL import Image as pillow
from torch.nn import functional
from transformers import CLIPImageProcessorPil
from transformers.image_processing_base import BatchFeature
from transformers.image_utils import SizeDict
from transformers.processing_utils import ImagesKwargs
from transformers.utils.constants import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    OPENAI_CLIP_MEAN,
    OPENAI_CLIP_STD,
)

Box = tuple[float, float, float, float]


class CroppingKwargs(ImagesKwargs, total=False):
    """What may be chosen for one call.

    Attributes:
        cropping: whether images are prepared as in training: the shorter side resized, the middle
            cut out, CLIP's colours; else as the published page does it.
    """

    cropping: bool


class ClipQwenImageProcessor(CLIPImageProcessorPil):
    """The image part of the processor; see `CroppingKwargs`.

    Its own `image_mean` and `image_std` are those of serving; CLIP's take their place where an
    image is cropped and nothing else is asked for.
    """

    valid_kwargs = CroppingKwargs
    model_input_names = ["pixel_values"]  # noqa: RUF012 - as in its base class
    image_mean = IMAGENET_DEFAULT_MEAN
    image_std = IMAGENET_DEFAULT_STD
    size = {"height": 224, "width": 224}  # noqa: RUF012
    crop_size = {"height": 224, "width": 224}  # noqa: RUF012
    cropping = False

    def chosen(self, settings: dict[str, Any], name: str) -> Any:
        """The value of a setting for one call."""
        value = settings.get(name)
        return getattr(self, name) if value is None else value

    def convert_to_rgb(self, image: Any, input_data_format: Any = None) -> Any:
        """Drops transparency, where the native way would lay the picture on white."""
        if isinstance(image, pillow.Image):
            return numpy.asarray(image.convert("RGB"))  # (height, width, 3)
        return super().convert_to_rgb(image, input_data_format)

    def preprocess(self, images: Any, *args: Any, **settings: Any) -> BatchFeature:
        """Pictures to pixels; `settings` as in `CroppingKwargs`."""
        if self.chosen(settings, "cropping"):
            usual = {"image_mean": OPENAI_CLIP_MEAN, "image_std": OPENAI_CLIP_STD}
            settings |= {k: v for k, v in usual.items() if settings.get(k) is None}
        return super().preprocess(images, *args, **settings)

    def _preprocess(
        self,
        images: list[numpy.ndarray],
        size: SizeDict,
        image_mean: tuple[float, ...],
        image_std: tuple[float, ...],
        cropping: bool,
        return_tensors: Any = None,
        **settings: Any,
    ) -> BatchFeature:
        side = cast(int, size.height)
        if cropping:
            settings |= {"size": SizeDict(shortest_edge=side), "crop_size": size}
            settings |= {"image_mean": image_mean, "image_std": image_std}
            return super()._preprocess(images, return_tensors=return_tensors, **settings)
        pixels = [squeezed(image, side, image_mean, image_std) for image in images]
        values = {"pixel_values": torch.cat(pixels).numpy()}  # (images, 3, side, side)
        return BatchFeature(data=values, tensor_type=return_tensors)


def squeezed(
    image: numpy.ndarray, side: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> torch.Tensor:
    """The whole picture as a square: (1, 3, side, side), float32.

    Resized after it was normalised, bilinear, and without antialiasing, as torchvision 0.16 does
    with tensors: of a large picture only some pixels are looked at.

    Args:
        image: (3, height, width), uint8.
        side: of the square in pixels.
        mean, std: of each channel, for values from 0 to 1.
    """
    pixels = torch.from_numpy(image.astype(numpy.float32)).div_(255)
    middle, spread = (torch.tensor(each, dtype=torch.float32).view(3, 1, 1) for each in (mean, std))
    pixels = pixels.sub_(middle).div_(spread)[None]  # (1, 3, height, width)
    return functional.interpolate(
        pixels, (side, side), mode="bilinear", align_corners=False, antialias=False
    )


def middle_box(width: int, height: int, side: int) -> Box:
    """(left, top, right, bottom) of what is seen of a cropped image, in its own pixels.

    Args:
        width, height: of the image.
        side: of the square that is cut out once the shorter side is as long.
    """
    shorter = min(width, height)
    resized = [side if each == shorter else int(side * each / shorter) for each in (width, height)]
    across, down = width / resized[0], height / resized[1]
    left, top = ((each - side) // 2 for each in resized)
    return left * across, top * down, (left + side) * across, (top + side) * down

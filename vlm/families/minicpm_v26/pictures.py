"""Images to pictures: resized, sliced, and laid out as strips of patches.

In: images of any size. Out: `pixel_values` (pictures, 3, patch, patch * patches) float32, filled
up with 0 to the longest strip, and `tgt_sizes` (pictures, 2), rows and columns of patches; of each
image the overview first, then its slices row by row. By PIL and numpy.
"""

from collections.abc import Iterator
from typing import Any

import numpy
from PIL import Image as pillow
from transformers.image_processing_backends import PilBackend
from transformers.image_processing_base import BatchFeature
from transformers.image_utils import PILImageResampling
from transformers.processing_utils import ImagesKwargs
from transformers.utils.constants import IMAGENET_STANDARD_MEAN, IMAGENET_STANDARD_STD

from vlm.families.minicpm_v26.slicing import Plan, plan, slice_boxes
from vlm.messages import Pixels


class SlicingKwargs(ImagesKwargs, total=False):
    """What may be chosen for one call.

    Attributes:
        max_slice_nums: slices that an image may have, the overview not counted; 1: none.
        use_image_id: whether images are numbered in the prompt, from 0 in each conversation.
        scale_resolution: side of a square of the area that a picture has, in pixels.
        patch_size: side of a patch, in pixels.
    """

    max_slice_nums: int
    use_image_id: bool
    scale_resolution: int
    patch_size: int


class SlicingImageProcessor(PilBackend):
    """The image part of the processor; see `SlicingKwargs`."""

    valid_kwargs = SlicingKwargs
    model_input_names = ["pixel_values", "tgt_sizes"]  # noqa: RUF012 - as in its base class
    resample = PILImageResampling.BICUBIC
    image_mean = IMAGENET_STANDARD_MEAN
    image_std = IMAGENET_STANDARD_STD
    do_resize = False  # to sizes that follow from each image, not to `size`
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True
    max_slice_nums = 9
    use_image_id = True
    scale_resolution = 448
    patch_size = 14

    def convert_to_rgb(self, image: Any, input_data_format: Any = None) -> Any:
        """Drops transparency, where the native way would lay the picture on white."""
        if isinstance(image, pillow.Image):
            return numpy.asarray(image.convert("RGB"))  # (height, width, 3)
        return super().convert_to_rgb(image, input_data_format)

    def chosen(self, settings: dict[str, Any], name: str) -> Any:
        """The value of a setting for one call."""
        value = settings.get(name)
        return getattr(self, name) if value is None else value

    def plan(self, width: int, height: int, settings: dict[str, Any]) -> Plan:
        """How an image is sliced under these settings; those left out keep their defaults.

        Raises:
            ValueError: `max_slice_nums` is below 1.
        """
        scale, patch, most = (
            int(self.chosen(settings, name))
            for name in ("scale_resolution", "patch_size", "max_slice_nums")
        )
        return plan((width, height), scale, patch, most)

    def _preprocess(
        self,
        images: list[numpy.ndarray],
        resample: Any,
        image_mean: tuple[float, ...],
        image_std: tuple[float, ...],
        patch_size: int,
        return_tensors: Any = None,
        **settings: Any,
    ) -> BatchFeature:
        strips: list[numpy.ndarray] = []
        sizes: list[tuple[int, int]] = []
        grids: list[tuple[int, int]] = []
        mean, deviation = (
            numpy.asarray(values, dtype=numpy.float32)[:, None, None]
            for values in (image_mean, image_std)
        )
        for image in images:
            picture = pillow.fromarray(numpy.ascontiguousarray(image.transpose(1, 2, 0)))
            how = self.plan(*picture.size, {**settings, "patch_size": patch_size})
            for part in _pictures(picture, how, pillow.Resampling(int(resample))):
                pixels = part.transpose(2, 0, 1).astype(numpy.float32) / numpy.float32(255)
                strips.append(strip((pixels - mean) / deviation, patch_size))
            sizes += how.patches(patch_size)
            grids.append(how.grid or (0, 0))
        data = {"pixel_values": _together(strips), "tgt_sizes": numpy.array(sizes), "grids": grids}
        return BatchFeature(data=data, tensor_type=return_tensors)


def strip(pixels: numpy.ndarray, patch: int) -> numpy.ndarray:
    """Patches side by side, row by row: (3, height, width) -> (3, patch, patch * patches)."""
    channels, height, width = pixels.shape
    blocks = pixels.reshape(channels, height // patch, patch, width // patch, patch)
    return blocks.transpose(0, 2, 1, 3, 4).reshape(channels, patch, -1)


def _together(strips: list[numpy.ndarray]) -> numpy.ndarray:
    """(pictures, 3, patch, patch * patches) of strips of any length, filled up with 0."""
    longest = max(each.shape[-1] for each in strips)
    together = numpy.zeros((len(strips), *strips[0].shape[:2], longest), dtype=numpy.float32)
    for row, each in zip(together, strips, strict=True):
        row[:, :, : each.shape[-1]] = each
    return together


def _pictures(image: Pixels, how: Plan, resample: pillow.Resampling) -> Iterator[numpy.ndarray]:
    """(height, width, 3), uint8: the overview, then the slices row by row."""
    yield numpy.asarray(image.resize(how.overview, resample))
    if how.grid is not None and how.refined is not None:
        whole = numpy.asarray(image.resize(how.refined, resample))
        for box in slice_boxes(how.refined, how.grid):
            left, top, right, bottom = map(round, box)
            yield whole[top:bottom, left:right]

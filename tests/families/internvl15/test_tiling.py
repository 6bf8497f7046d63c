"""Images to tiles: the choice of a grid, the pixels, the thumbnail, padding."""

from typing import Any

import numpy
import pytest
import torch
from PIL import Image

from vlm.families.internvl15.tiling import (
    TilingImageProcessor,
    candidate_grids,
    choose_grid,
    square_box,
    tile_boxes,
)

MEAN, STD = numpy.array([0.485, 0.456, 0.406]), numpy.array([0.229, 0.224, 0.225])


@pytest.fixture
def part() -> Any:
    settings: dict[str, Any] = {"size": {"height": 28, "width": 28}, "tiles": 12}
    return TilingImageProcessor(**settings)


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    noise = numpy.random.default_rng(width * height).integers(0, 256, (9, 7, 4), numpy.uint8)
    return Image.fromarray(noise, "RGBA").resize((width, height)).convert(mode)


def normalised(pixels: Image.Image) -> torch.Tensor:
    """By hand, in float64."""
    values = (numpy.asarray(pixels, dtype=numpy.float64) / 255 - MEAN) / STD
    return torch.from_numpy(values.transpose(2, 0, 1))


def close(got: torch.Tensor, wanted: Image.Image) -> bool:
    return torch.allclose(got.double(), normalised(wanted), rtol=0, atol=1e-5)


def test_candidates() -> None:
    assert candidate_grids(1, 4) == (
        *((1, 1), (1, 2), (2, 1), (1, 3), (3, 1)),
        *((1, 4), (2, 2), (4, 1)),
    )
    assert {c * r for c, r in candidate_grids(3, 4)} == {3, 4}


@pytest.mark.parametrize(
    ("size", "side", "wanted"),
    [
        ((150, 50), 28, (6, 2)),  # 3x1 is as near; the image is larger than half of 6x2
        ((84, 28), 28, (3, 1)),
        ((100, 100), 448, (1, 1)),
        ((1, 1000), 28, (1, 12)),
    ],
)
def test_grid(size: tuple[int, int], side: int, wanted: tuple[int, int]) -> None:
    assert choose_grid(*size, side, 1, 12) == wanted


@pytest.mark.parametrize(
    ("size", "wanted"), [((56, 28), (2, 1)), ((78, 39), (2, 1)), ((80, 40), (4, 2))]
)
def test_more_than_half_of_the_pixels_take_the_larger_grid(
    size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    """4x2 tiles of 28 pixels have 6272 in all; 78 x 39 is 3042, 80 x 40 is 3200."""
    assert choose_grid(*size, 28, 1, 8) == wanted


def test_tiles_row_by_row_and_the_thumbnail_last(part: Any) -> None:
    image = picture(90, 60)
    out = part([image], return_tensors="pt", tiles=6)
    assert out["num_patches"].tolist() == [7]
    assert out["pixel_values"].shape == (7, 3, 28, 28)
    assert out["pixel_values"].dtype == torch.float32
    whole = image.resize((84, 56), Image.Resampling.BICUBIC)
    boxes = [(c * 28, r * 28, c * 28 + 28, r * 28 + 28) for r in range(2) for c in range(3)]
    for number, box in enumerate(boxes):
        assert close(out["pixel_values"][number], whole.crop(box))
    assert close(out["pixel_values"][6], image.resize((28, 28), Image.Resampling.BICUBIC))


def test_one_tile_has_no_thumbnail(part: Any) -> None:
    one = part([picture(30, 30)], return_tensors="pt", tiles=1)
    three = part([picture(90, 30)], return_tensors="pt", thumbnail=False)
    assert one["num_patches"].tolist() == [1]
    assert three["num_patches"].tolist() == [3]


def test_several_images_follow_each_other(part: Any) -> None:
    images = [picture(90, 30), picture(30, 30), picture(30, 90)]
    together = part(images, return_tensors="pt")
    alone = [part([image], return_tensors="pt")["pixel_values"] for image in images]
    assert together["num_patches"].tolist() == [len(each) for each in alone]
    assert torch.equal(together["pixel_values"], torch.cat(alone))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "L", "P", "1", "CMYK"])
def test_transparency_is_dropped(part: Any, mode: str) -> None:
    image = picture(40, 20, mode)
    out = part([image], return_tensors="pt", splitting=False)
    plain = part([image.convert("RGB")], return_tensors="pt", splitting=False)
    assert torch.equal(out["pixel_values"], plain["pixel_values"])


def test_without_splitting_an_image_may_be_padded(part: Any) -> None:
    image = picture(41, 20)
    squeezed = part([image], return_tensors="pt", splitting=False)["pixel_values"]
    padded = part([image], return_tensors="pt", splitting=False, padding=True)["pixel_values"]
    assert squeezed.shape == padded.shape == (1, 3, 28, 28)
    assert close(squeezed[0], image.resize((28, 28), Image.Resampling.BICUBIC))
    square = Image.new("RGB", (41, 41), (123, 116, 103))
    square.paste(image, (0, 10))
    assert close(padded[0], square.resize((28, 28), Image.Resampling.BICUBIC))


def test_padding_is_for_images_that_are_not_cut(part: Any) -> None:
    image = picture(41, 20)
    plain = part([image], return_tensors="pt")["pixel_values"]
    assert torch.equal(part([image], return_tensors="pt", padding=True)["pixel_values"], plain)


def test_boxes() -> None:
    assert tile_boxes(30, 20, (3, 2))[4] == (10, 10, 20, 20)
    assert square_box(41, 20) == (0, -10, 41, 31)
    assert square_box(20, 41) == (-10, 0, 31, 41)

"""Images to strips of patches: which pixels, in which order."""

from typing import Any

import numpy
import pytest
from PIL import Image as pillow

from tests.support.fakes import photo
from vlm.families.minicpm_v26.pictures import SlicingImageProcessor, strip

P = 14


@pytest.fixture
def part() -> Any:
    settings: dict[str, Any] = {"scale_resolution": 56, "max_slice_nums": 9}
    return SlicingImageProcessor(**settings)


def normalised(picture: pillow.Image) -> numpy.ndarray:
    """(3, height, width)"""
    whole = numpy.asarray(picture.convert("RGB")).astype(numpy.float32) / numpy.float32(255)
    return ((whole - numpy.float32(0.5)) / numpy.float32(0.5)).transpose(2, 0, 1)


def test_a_strip_by_its_indices():
    high, wide = 2, 3
    pixels = numpy.random.default_rng(0).random((3, high * P, wide * P), numpy.float32)
    found = strip(pixels, P)
    assert found.shape == (3, P, P * high * wide)
    for patch in range(high * wide):
        top, left = P * (patch // wide), P * (patch % wide)
        there = found[:, :, patch * P : (patch + 1) * P]
        assert (there == pixels[:, top : top + P, left : left + P]).all()


def test_overview_then_slices_row_by_row(part: Any):
    image = photo(size=(120, 170)).pixels
    out = part(image, return_tensors="np")
    how = part.plan(120, 170, {})
    assert how.grid == (2, 3)
    assert out["tgt_sizes"].tolist() == [list(each) for each in how.patches(P)]
    width, height = how.slice_size
    whole = image.resize((2 * width, 3 * height), pillow.Resampling.BICUBIC)
    expected = [image.resize(how.overview, pillow.Resampling.BICUBIC)]
    expected += [
        whole.crop((column * width, row * height, (column + 1) * width, (row + 1) * height))
        for row in range(3)
        for column in range(2)
    ]
    assert len(out["pixel_values"]) == len(expected) == 7
    for found, picture in zip(out["pixel_values"], expected, strict=True):
        wanted = strip(normalised(picture), P)
        assert (found[:, :, : wanted.shape[2]] == wanted).all()
        assert not found[:, :, wanted.shape[2] :].any()


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK"])
def test_every_mode_becomes_rgb_and_alpha_is_dropped(part: Any, mode: str):
    image = photo(mode, (50, 60)).pixels
    found = part(image, return_tensors="np")["pixel_values"]
    assert (found == part(image.convert("RGB"), return_tensors="np")["pixel_values"]).all()


def test_hidden_colours_show(part: Any):
    opaque = pillow.new("RGB", (30, 30), (200, 40, 90))
    hidden = opaque.copy()
    hidden.putalpha(0)
    one, other = (part(each, return_tensors="np")["pixel_values"] for each in (opaque, hidden))
    assert (one == other).all()


def test_the_number_of_slices_is_one_calls_choice(part: Any):
    image = photo(size=(300, 300)).pixels
    assert len(part(image, max_slice_nums=1)["pixel_values"]) == 1
    assert len(part(image)["pixel_values"]) == 10
    assert len(part(image, max_slice_nums=4)["pixel_values"]) == 5
    with pytest.raises(ValueError, match="max_slice_nums is 0"):
        part(image, max_slice_nums=0)


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (1, 1), (3, 2)])
def test_extremes(part: Any, size: tuple[int, int]):
    out = part(pillow.linear_gradient("L").resize(size), return_tensors="np")
    ((high, wide),) = out["tgt_sizes"]
    assert out["pixel_values"].shape == (1, 3, P, P * high * wide)

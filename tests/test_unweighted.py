"""Models without weights: their shapes are those of real runs, their tiles and tokens as known."""

from pathlib import Path
from typing import Any, cast

import numpy
import pytest
from PIL import Image as pillow

from tests.support.fakes import as_image, photo
from tests.support.goldens import CHECKPOINTS
from vlm import families
from vlm.engine import Engine
from vlm.images import open_image
from vlm.inspection import Inspection, folded, tile_spans
from vlm.messages import user_message
from vlm.stage_pictures import picture
from vlm.ui.shelf import Shelf
from vlm.unweighted import open_unweighted

NAMES = [each.name for each in families.published()]
CLIP_QWEN = "CLIP-ViT-L+Qwen-1.8B"
SHELF = Shelf()


def inspect(name: str, size: tuple[int, int] = (600, 400)) -> Inspection:
    return SHELF.open(name).inspect([user_message("What?", [photo(size=size)])])


def test_every_family_is_there() -> None:
    assert all(family.published for family in families.families().values())
    own = {each.name for each in families.catalogue()}
    known = {name for family in families.families().values() for name in family_names(family)}
    assert known <= own & set(NAMES)


def family_names(family: families.Family) -> set[str]:
    return {each.name for each in family.checkpoints}


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_of_a_published_configuration_has_its_full_size(name: str) -> None:
    found = inspect(name)
    family = next(
        each for each in families.families().values() if name in {p.name for p in each.published}
    )
    assert [stage.name for stage in found.stages] == [tap.name for tap in family.stages]
    assert found.complete and found.weightless and found.words == ()
    stages = {stage.name: stage for stage in found.stages}
    assert stages["pixel_values"].known and stages["pixel_values"].array.std() > 0
    assert not stages["logits"].known and stages["logits"].device == "meta"
    width = stages["inputs_embeds"].array.shape
    assert width[:2] == (1, found.tokens)
    pictures, tokens, wide = stages["projector"].array.shape
    assert (pictures * tokens, wide) == (found.image_tokens, width[2])
    assert found.image_tokens == sum(layout.placeholders for layout in found.layouts)
    spans = tile_spans(found.layouts, found.pieces)
    assert sum(span.tokens for span in spans) == found.image_tokens
    memory = found.memory
    assert memory["none"] > memory["int8"] > memory["nf4"] > 0 < memory["work"]


@pytest.mark.parametrize("name", NAMES)
def test_patches_are_seen_before_the_tower(name: str) -> None:
    """Before any layer: as many positions as come out of the tower, each as wide."""
    stages = {stage.name: stage for stage in inspect(name).stages}
    if "patch_embedding" in stages:
        assert stages["patch_embedding"].array.shape == stages["vision_tower"].array.shape
    else:  # a tower of convolutions
        assert stages["stem"].array.shape == (1, 32, 128, 128)


def test_images_without_words_between_them_are_folded_one_by_one() -> None:
    """The prompt of CLIP + Qwen has nothing between two images of 256 tokens each."""
    asked = [user_message("What?", [photo(size=(600, 400)), photo(size=(80, 90), seed=1)])]
    found = SHELF.open(CLIP_QWEN).inspect(asked)
    chips = [each for each in found.pieces if each.placeholder]
    assert [each.stop - each.start for each in chips] == [256, 256]
    assert chips[0].stop == chips[1].start
    assert folded(found.pieces).count(" × 256") == 2
    assert [span.ranges for span in tile_spans(found.layouts, found.pieces)] == [
        ((each.start, each.stop),) for each in chips
    ]


KNOWN = {
    "pocket": (1, 16, 576, 49152),
    "google/paligemma-3b-mix-224": (1, 256, 2048, 257216),
    "google/paligemma-3b-mix-448": (1, 1024, 2048, 257216),
    "OpenGVLab/InternVL-Chat-V1-5": (7, 256, 6144, 92553),
    "OpenGVLab/Mini-InternVL-Chat-2B-V1-5": (7, 256, 2048, 92553),
    "openbmb/MiniCPM-V-2_6": (3, 64, 3584, 151666),
    "MiniMind2-V-seed": (1, 196, 512, 6400),
    "jingyaogong/minimind-3v": (1, 64, 768, 6400),
    "CLIP-ViT-L+Qwen-7B": (1, 256, 4096, 151936),
}
"""Name -> pictures of a photo of 600 x 400, tokens of each, width, words of the vocabulary."""


@pytest.mark.parametrize("name", KNOWN)
def test_sizes_are_the_published_ones(name: str) -> None:
    stages = {stage.name: stage.array.shape for stage in inspect(name).stages}
    pictures, tokens, width, words = KNOWN[name]
    assert stages["projector"] == (pictures, tokens, width)
    assert stages["logits"] == (1, 1, words)


@pytest.mark.parametrize("source", CHECKPOINTS, ids=lambda path: path.parent.name)
def test_shapes_are_those_of_the_goldens(source: Path) -> None:
    """A golden run compares every array; here the shapes follow without its weights."""
    messages = [user_message("What?", [photo(size=(90, 60)), photo(size=(30, 80), seed=1)])]
    without = open_unweighted(str(source)).inspect(messages)
    engine = Engine.load(str(source), quantization="none", dtype="float32", device="cpu")
    try:
        *_, real = engine.inspect(messages, *arguments())
    finally:
        engine.close()
    assert isinstance(real, Inspection)
    assert shapes(without) == shapes(real)
    assert without.pieces == real.pieces
    assert not without.byte_words


def arguments() -> tuple[Any, Any]:
    import threading

    from vlm.options import GenerationOptions

    return GenerationOptions(), threading.Event()


def shapes(found: Inspection) -> list[tuple[str, tuple[int, ...], tuple[str, ...]]]:
    return [(stage.name, stage.array.shape, stage.axes) for stage in found.stages]


@pytest.mark.parametrize("name", families.NAMES)
def test_tiny_checkpoints_have_the_same_shapes_without_weights(name: str, tmp_path: Path) -> None:
    source = families.families()[name].tiny(tmp_path)
    messages = [user_message("What?", [photo(size=(120, 64))])]
    without = open_unweighted(source).inspect(messages)
    engine = Engine.load(source, quantization="none", dtype="float32", device="cpu")
    try:
        *_, real = engine.inspect(messages, *arguments())
    finally:
        engine.close()
    assert isinstance(real, Inspection)
    assert shapes(without) == shapes(real)
    assert [each.name for each in real.figures if each.name == "filters"]  # none without weights
    assert not [each.name for each in without.figures if each.name == "filters"]


ONE_EACH = [next(iter(family.published)).name for family in families.families().values()]
"""A published configuration of every family."""
MODES = {
    "RGB": (200, 30, 60),
    "RGBA": (200, 30, 60, 255),
    "L": 128,
    "LA": (128, 255),
    "P": (200, 30, 60),
    "1": 1,
    "CMYK": (0, 200, 180, 40),
    "I;16": 40_000,
    "I": 40_000,
}
"""Mode -> a colour in it."""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ONE_EACH)
def test_a_flat_picture_of_every_mode_keeps_its_colour(name: str, mode: str, tmp_path) -> None:
    file = tmp_path / ("flat.tiff" if mode == "CMYK" else "flat.png")
    pillow.new(mode, (40, 24), cast(Any, MODES[mode])).save(file)
    image = open_image(file)
    found = SHELF.open(name).inspect([user_message("", [image])])
    stage = next(each for each in found.stages if each.name == "pixel_values")
    drawn = picture(stage, found.stages, found.pixel_scale)
    assert drawn is not None
    colours = numpy.asarray(drawn).reshape(-1, 3)
    shown, counts = numpy.unique(colours, axis=0, return_counts=True)
    expected = numpy.asarray(image.pixels.convert("RGB"))[0, 0]
    numpy.testing.assert_allclose(shown[counts.argmax()], expected, atol=1)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3000, 20), (1600, 1200)])
@pytest.mark.parametrize("name", ONE_EACH)
def test_pictures_of_every_size(name: str, size: tuple[int, int]) -> None:
    image = as_image(pillow.new("RGB", size, "teal"))
    found = SHELF.open(name).inspect([user_message("", [image])])
    assert sum(s.tokens for s in tile_spans(found.layouts, found.pieces)) == found.image_tokens > 0


def test_a_run_is_left_half_way() -> None:
    asked = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 30

    found = SHELF.open("MiniMind2-V-seed").inspect([user_message("", [photo()])], should_stop=stop)
    assert not found.complete
    assert [stage.name for stage in found.stages][-1] != "logits"


def test_the_shelf_holds_a_few() -> None:
    shelf = Shelf()
    for name in NAMES[: Shelf.LIMIT + 1]:
        shelf.open(name)
    assert len(shelf._opened) == Shelf.LIMIT
    assert shelf.open(NAMES[Shelf.LIMIT]) is shelf.open(NAMES[Shelf.LIMIT])

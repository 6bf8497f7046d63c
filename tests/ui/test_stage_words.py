"""What is said of stages and axes follows from shapes and layouts, not from names of models."""

from dataclasses import replace

import numpy
import pytest

from tests.support.fakes import photo
from vlm.backend import ImageLayout, Stage, Tile
from vlm.inspection import Figure, Inspection, Piece, PixelScale, TowerFacts
from vlm.messages import user_message
from vlm.strings import LANGUAGES
from vlm.ui import inspect_photos, inspect_view
from vlm.ui.image_numbers import in_a_row
from vlm.ui.stage_words import axis_words, class_token, named_axes, stage_words
from vlm.unweighted import open_unweighted

INTERNVL = "OpenGVLab/InternVL-Chat-V1-5"
FEATURES = ("images", "positions", "width")


def look(name: str, size: tuple[int, int] = (600, 400)) -> Inspection:
    return open_unweighted(name).inspect([user_message("What?", [photo(size=size)])])


def said(found: Inspection, name: str, language: str = "en") -> str:
    return stage_words(stage_of(found, name), found, language)


def stage_of(found: Inspection, name: str) -> Stage:
    return next(stage for stage in found.stages if stage.name == name)


def axes(found: Inspection, name: str) -> list[str]:
    stage = stage_of(found, name)
    return [axis_words(stage, axis, found, "en") for axis in named_axes(stage)]


# ---- published systems ----


def test_internvl_keeps_its_class_token_until_the_shuffle() -> None:
    found = look(INTERNVL)
    assert "last of the vision tower's 45 layers" in said(found, "selected")
    assert "1025 positions are 1024 patches and one" in said(found, "selected")
    shuffled = said(found, "pixel_shuffle")
    assert "The class token is left out here: of 1025 positions 1024 are patches" in shuffled
    assert "256 tokens, 4 side by side" in shuffled
    tower = said(found, "vision_tower")
    assert "No tile knows another" in tower and "knows its whole picture" in tower
    assert "32 × 32 places for 32 × 32 patches: used as it is stored" in tower
    assert axes(found, "pixel_values")[0] == "pictures: tiles and thumbnail"
    patches = said(found, "patch_embedding")
    assert "448 pixels a side make 32 × 32 patches of 14 × 14 pixels" in patches
    assert "table of positions" in patches and "class token" in patches
    assert "1024 patches and before them the class token" in axes(found, "patch_embedding")[1]
    assert "1024 patches and before them the class token" in axes(found, "vision_tower")[1]
    assert axes(found, "projector")[1] == "visual tokens of a picture"


@pytest.mark.parametrize(
    ("name", "had", "kept"),
    [("CLIP-ViT-L+Qwen-7B", 257, 256), ("jingyaogong/MiniMind2-V", 197, 196)],
)
def test_clip_loses_its_class_token_where_a_state_is_chosen(name: str, had: int, kept: int) -> None:
    found = look(name)
    assert f"left out here: of {had} positions {kept} go on" in said(found, "selected")
    assert "What is handed on: the output of the last" in said(found, "selected")
    assert axes(found, "selected")[1] == "positions: one for each patch"
    assert axes(found, "vision_tower")[0] == "pictures: one for each photo"
    assert "tile" not in said(found, "pixel_values") + said(found, "vision_tower")


def test_siglip_has_none() -> None:
    assert "no class token: all 64 positions" in said(look("jingyaogong/minimind-3v"), "selected")
    found = look("google/paligemma-3b-mix-224")
    assert class_token(found) is False
    assert "class token" not in said(found, "patch_embedding")
    assert axes(found, "vision_tower")[1] == "positions: one for each patch"


def test_minicpm_has_strips_places_and_queries() -> None:
    found = look("openbmb/MiniCPM-V-2_6")
    assert "as one strip, patch beside patch" in said(found, "pixel_values")
    assert axes(found, "pixel_values")[2] == "rows of pixels of a patch"
    assert axes(found, "pixel_values")[3].startswith("columns of pixels: the patches")
    assert axes(found, "vision_tower")[1].startswith("positions: one for each patch, filled up")
    assert "70 × 70 places, whatever the picture" in said(found, "vision_tower")
    assert "what no query asks for is lost" in said(found, "projector")
    assert "64 learned queries" in said(found, "projector")
    assert class_token(found) is None


def test_pocket_has_convolutions_and_one_picture() -> None:
    found = look("pocket")
    assert "has no attention" in said(found, "vision_tower")
    assert "whole picture" not in said(found, "vision_tower")
    assert "64 positions become 16 tokens" in said(found, "pixel_shuffle")
    assert "Nothing is lost" in said(found, "pixel_shuffle")
    assert axes(found, "pixel_values")[0] == "pictures: one for each photo"
    assert "cell" in axes(found, "vision_tower")[1]
    assert "128 × 128 cells" in said(found, "stem") and "no patches" in said(found, "stem")
    assert "queries" not in said(found, "projector")
    assert not found.byte_words and "≈" not in inspect_view.stages(found, "en")
    assert "about" not in inspect_view.sequence(found, in_a_row(1), "en")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pocket", "600 × 400 → 256 × 256 pixels</li><li>squeezed from 1.5 : 1 to 1 : 1, so all "),
        ("jingyaogong/MiniMind2-V", "cropped to the 400 × 400 pixels in the frame: 33 % is cut"),
        (INTERNVL, "600 × 400 → 1344 × 896 pixels</li><li>proportions kept</li>"),
    ],
)
def test_it_is_said_how_a_photo_came_to_the_size_that_is_sent(name: str, words: str) -> None:
    image = photo(size=(600, 400))
    layout = open_unweighted(name).image_layout(image)
    drawn = inspect_photos.photos([image], in_a_row(1), [layout], [], False, "en")
    assert words in drawn
    assert ("squeezed" in drawn, "cropped" in drawn) == (name == "pocket", "MiniMind2" in name)


@pytest.mark.parametrize(
    ("proportions", "words"),
    [(1.5, "1.5 : 1"), (1, "1 : 1"), (0.5, "1 : 2"), (5000, "5000 : 1"), (1 / 5000, "1 : 5000")],
)
def test_proportions_are_written_as_a_ratio(proportions: float, words: str) -> None:
    assert inspect_photos.ratio(proportions) == words


def test_a_small_photo_becomes_one_picture_and_no_thumbnail() -> None:
    found = look(INTERNVL, (448, 448))
    assert axes(found, "pixel_values")[0] == "pictures: one for each photo"
    assert "knows another" not in said(found, "vision_tower")


def test_numbers_that_bytes_stand_behind_are_marked() -> None:
    found = look("jingyaogong/MiniMind2-V")
    assert axes(found, "input_ids")[1].endswith("counted in bytes")
    assert "the last token of the prompt alone" in axes(found, "logits")[1]
    drawn = inspect_view.stages(found, "en")
    assert f">≈ {found.tokens}<" in drawn and f">{found.tokens}<" not in drawn
    assert ">196<" in drawn  # visual tokens are exact
    bar = inspect_view.sequence(found, in_a_row(1), "en")
    assert f"about {found.tokens} tokens, exactly 196 of them" in bar
    assert "about 0.9 % of a context" in bar
    assert bar.index("counted in bytes") < bar.index('class="sequence"')


# ---- made up ----


def made(positions: int, kept: int, **more: object) -> Inspection:
    """A run of one tile, no family: a tower of so many positions of which some go on."""
    shapes = {
        "pixel_values": ((1, 3, 28, 28), ("images", "channels", "height", "width")),
        "vision_tower": ((1, positions, 8), FEATURES),
        "selected": ((1, kept, 8), FEATURES),
        "pixel_shuffle": ((1, kept // 4, 32), FEATURES),
        "projector": ((1, kept // 4, 16), FEATURES),
    }
    stages = [
        Stage(name, numpy.zeros(shape, numpy.float32), named)
        for name, (shape, named) in shapes.items()
    ]
    tile = Tile(box=(0, 0, 28, 28), rows=2, columns=2)
    layout = ImageLayout(original_size=(28, 28), sent_size=(28, 28), tiles=(tile,), placeholders=4)
    facts = {"layouts": (layout,), "stages": tuple(stages), **more}
    return Inspection(
        model="made",
        pieces=(Piece("<image>", 0, 4, True),),
        tokens=4,
        context_length=None,
        names=(),
        **facts,  # type: ignore[arg-type]
    )


def test_the_layer_that_is_handed_on() -> None:
    def of(selected: int | None) -> str:
        tower = TowerFacts(attends=True, layers=24, selected=selected)
        return said(made(17, 16, tower=tower), "selected")

    assert of(24).startswith("What is handed on: the output of the last of")
    assert of(23).startswith("What is handed on: the output of layer 23 of the vision tower's 24")
    assert of(None).startswith("The hidden state of the vision tower that is handed on.")
    assert all(
        each.endswith("17 positions 16 go on, one for each patch.") for each in map(of, (24, 23))
    )


@pytest.mark.parametrize(
    ("positions", "known"), [(16, False), (17, True), (18, None), (2, True), (1, False)]
)
def test_a_class_token_is_one_more_than_a_square(positions: int, known: bool | None) -> None:
    assert class_token(made(positions, 16)) is known


def test_nothing_is_said_of_a_class_token_of_pictures_that_are_not_square() -> None:
    found = made(17, 16)
    wide = Stage(
        "pixel_values",
        numpy.zeros((1, 3, 14, 28), numpy.float32),
        ("images", "channels", "height", "width"),
    )
    found = replace(found, stages=(wide, *found.stages[1:]))
    assert class_token(found) is None
    assert "class token" not in said(found, "selected")
    assert axes(found, "vision_tower")[1] == "positions in the picture"


def test_a_shuffle_that_drops_more_than_it_says_is_not_said_to_keep_all() -> None:
    assert "Nothing is lost" in said(made(16, 16), "pixel_shuffle")
    less = made(16, 12)
    states = [stage for stage in less.stages if stage.name != "selected"]
    less = replace(less, stages=tuple(states))
    assert "lost" not in said(less, "pixel_shuffle")
    assert "Neighbouring positions" in said(less, "pixel_shuffle")


def test_a_table_that_is_resized() -> None:
    table = Figure("positions", numpy.zeros((2, 2, 8)), {"stored": 2, "side": 4})
    found = made(16, 16, figures=(table,))
    assert "2 × 2 places for 4 × 4 patches: it is resized" in said(found, "vision_tower")
    assert "resized for 4 × 4" in inspect_view.figures([table], "en")
    same = Figure("table", numpy.arange(4).reshape(2, 2), {"stored": 2, "side": 2})
    assert "used as it is stored" in inspect_view.figures([same], "en")


def test_pictures_that_nobody_tells_about_are_pictures() -> None:
    found = made(16, 16, tower=TowerFacts(attends=True))
    unknown = replace(found, layouts=(replace(found.layouts[0], tiles=None),))
    assert axes(unknown, "pixel_values")[0] == "pictures"
    two = Stage("vision_tower", numpy.zeros((2, 16, 8), numpy.float32), FEATURES)
    unknown = replace(unknown, stages=(unknown.stages[0], two))
    assert "No picture knows another" in said(unknown, "vision_tower")
    assert said(unknown, "pixel_values").startswith("What the vision tower gets: pixels,")


def test_colours_are_said_to_be_those_of_the_photo_only_where_they_are() -> None:
    scale = PixelScale((0, 0, 0), (1, 1, 1))
    assert "taken back" in said(made(16, 16, pixel_scale=scale), "pixel_values")
    assert "taken back" not in said(made(16, 16), "pixel_values")


def test_a_stage_that_nobody_knows_stands_by_itself() -> None:
    other = Stage("something", numpy.zeros((1, 2)), ("batch", "heads"))
    found = replace(made(16, 16), stages=(other,))
    assert said(found, "something") == ""
    assert axes(found, "something")[1] == "heads"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_stage_of_every_system_is_told(language: str) -> None:
    for name in (INTERNVL, "openbmb/MiniCPM-V-2_6", "jingyaogong/MiniMind2-V", "pocket"):
        found = look(name)
        assert all(stage_words(stage, found, language) for stage in found.stages)
        assert "。 " not in "".join(stage_words(stage, found, language) for stage in found.stages)


# ---- the photo's facts ----


def facts(tiles: list[int], thumbnail: int | None) -> list[str]:
    made_of = [Tile(box=(0, 0, 9, 9), rows=1, columns=count) for count in tiles]
    layout = ImageLayout(
        original_size=(9, 9),
        sent_size=(9, 9),
        tiles=tuple(made_of),
        thumbnail=Tile(box=(0, 0, 9, 9), rows=1, columns=thumbnail) if thumbnail else None,
        placeholders=sum(tiles) + (thumbnail or 0),
    )
    return inspect_photos._facts(layout, "en")[3:-1]  # size, proportions, tokens; grid


def test_tokens_of_tiles_and_thumbnail() -> None:
    assert facts([4] * 6, 4) == ["6 tiles and a thumbnail", "4 each"]
    assert facts([4] * 6, 2) == ["6 tiles and a thumbnail", "4 each, the thumbnail 2"]
    assert facts([4], 4) == ["1 tile and a thumbnail", "4 each"]
    assert facts([4, 4], None) == ["2 tiles", "4 each"]
    assert facts([4, 3], None) == ["2 tiles"]
    assert facts([4, 3], 2) == ["2 tiles and a thumbnail"]
    assert facts([4], None) == []


# ---- strips ----


def test_a_strip_is_drawn_large_and_says_what_its_line_marks() -> None:
    found = look("pocket")
    ids = Stage("input_ids", numpy.arange(found.tokens)[None], ("batch", "tokens"), "int64")
    drawn = inspect_view.stages(replace(found, stages=(ids,)), "en")
    assert 'class="large strip"' in drawn and "marks the tokens of the image" in drawn
    text = replace(found, stages=(ids,), pieces=(Piece("Hello", 0, found.tokens),))
    drawn = inspect_view.stages(text, "en")
    assert 'class="large strip"' in drawn and "marks the tokens" not in drawn


def test_long_strips_keep_their_pixels() -> None:
    from PIL import Image as pillow

    assert inspect_view._small(pillow.new("RGB", (2048, 8))).size == (2048, 8)
    assert max(inspect_view._small(pillow.new("RGB", (2048, 900))).size) == inspect_view.LARGEST

"""What is said of an image is what happens to it, for every architecture and every knob."""

import threading

import numpy
import pytest
import torch
from PIL import Image as pillow

from tests.support.fakes import photo
from vlm.engine import Engine
from vlm.errors import RequestError
from vlm.image_layout import ImageReader
from vlm.images import open_image
from vlm.inspection import PixelScale
from vlm.messages import Image, user_message
from vlm.options import GenerationOptions

NAMES = ("llava", "smolvlm", "qwen2_5_vl", "gemma3", "gemma4", "minicpm_v4_6", "pocket")
SIZES = ((96, 64), (64, 64), (30, 20), (300, 100), (40, 90))


@pytest.fixture(scope="module", params=NAMES)
def engine(request, checkpoints):
    source = str(checkpoints.get(request.param, request.param))
    engine = Engine.load(source, quantization="none", dtype="float32")
    yield engine
    engine.close()


def choices(engine: Engine) -> list[dict[str, int | bool]]:
    """No choice, and every end of every knob."""
    found: list[dict[str, int | bool]] = [{}]
    for knob in engine.capabilities().image_knobs:
        ends = (True, False) if isinstance(knob.default, bool) else (knob.low, knob.high)
        found += [{knob.name: end} for end in ends if end is not None]
    return found


@pytest.mark.parametrize("size", SIZES)
def test_the_layout_counts_what_the_prompt_has(engine, size):
    for detail in choices(engine):
        options = GenerationOptions(image_detail=detail)
        layout = engine.image_layout(photo(size=size), options)
        inputs = engine.prepare([user_message("?", [photo(size=size)])], options)
        found = int((inputs["input_ids"] == engine.model.config.image_token_id).sum())
        assert layout.placeholders == found > 0
        assert layout.original_size == size
        if layout.tiles is not None:
            parts = [*layout.tiles, *([layout.thumbnail] if layout.thumbnail else [])]
            assert sum(part.rows * part.columns for part in parts) == found


def test_images_beside_others_count_the_same(engine):
    images = [photo(size=size) for size in SIZES]
    total = sum(engine.image_layout(each, GenerationOptions()).placeholders for each in images)
    ids = engine.prepare([user_message("?", images)])["input_ids"]
    assert int((ids == engine.model.config.image_token_id).sum()) == total


def test_tiles_cover_the_picture_in_reading_order(engine):
    layout = engine.image_layout(photo(size=(96, 64)), GenerationOptions())
    assert layout.tiles is not None
    boxes = [tile.box for tile in layout.tiles]
    assert boxes == sorted(boxes, key=lambda box: (box[1], box[0]))
    area = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes)
    cropped = engine.processor.image_processor.to_dict().get("do_center_crop")
    assert area == pytest.approx(64 * 64 if cropped else 96 * 64)
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= 96 and 0 <= top < bottom <= 64


@pytest.mark.parametrize("size", [(300, 100), (100, 300)])
def test_rows_are_not_taken_for_columns(engine, size):
    """What is wide is sent wide, is cut into more columns than rows, and so are its tokens."""
    layout = engine.image_layout(photo(size=size), GenerationOptions())
    assert layout.tiles is not None and layout.sent_size is not None
    wide = size[0] > size[1]
    lefts, tops = ({tile.box[side] for tile in layout.tiles} for side in (0, 1))
    across = [layout.sent_size, (len(lefts), len(tops))]
    for part in [*layout.tiles, *filter(None, [layout.thumbnail])]:
        left, top, right, bottom = part.box
        if (right - left > bottom - top) == wide and right - left != bottom - top:
            across.append((part.columns, part.rows))
    assert all(columns >= rows if wide else rows >= columns for columns, rows in across)


def test_only_what_lies_in_a_tile_reaches_the_model(engine):
    """Paint what no tile covers: nothing may change. Paint what one covers: something must."""
    layout = engine.image_layout(photo(size=(96, 64)), GenerationOptions())
    assert layout.tiles is not None
    left = round(min(tile.box[0] for tile in layout.tiles))

    def pixels(paint: tuple[int, int]) -> numpy.ndarray:
        picture = photo(size=(96, 64)).pixels.convert("RGB")
        picture.paste((255, 0, 0), (paint[0], 0, paint[1], 64))
        image = Image(picture, str(paint), "x", picture.size)
        return engine.prepare([user_message("?", [image])])["pixel_values"].numpy()

    whole = pixels((0, 0))
    if left > 8:
        assert numpy.allclose(pixels((0, left - 6)), whole)  # the filter reads a little around
    assert not numpy.allclose(pixels((left, left + 20)), whole)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_said_of_transparency_is_what_happens(engine, mode):
    clear = pillow.new("RGBA", (48, 48), (200, 40, 90, 0)).convert("LA").convert("RGBA")
    if mode == "P":
        clear = pillow.new("P", (48, 48), 0)
        clear.putpalette((200, 40, 90))
        clear.info["transparency"] = 0
    elif mode == "LA":
        clear = clear.convert("LA")
    image = Image(clear, f"clear {mode}", "clear", (48, 48))
    said = engine.image_layout(image, GenerationOptions()).alpha
    hidden = pillow.merge("RGB", clear.convert("RGBA").split()[:3])
    opaque = {"dropped": hidden, "white": (255, 255, 255), "black": (0, 0, 0)}

    def pixels(picture: pillow.Image) -> numpy.ndarray:
        shown = Image(picture, "shown", "shown", picture.size)
        return engine.prepare([user_message("?", [shown])])["pixel_values"].numpy()

    for name, colour in opaque.items():
        picture = (
            colour if isinstance(colour, pillow.Image) else pillow.new("RGB", (48, 48), colour)
        )
        assert numpy.allclose(pixels(clear), pixels(picture), atol=1e-4) == (name == said)


def test_a_picture_that_hides_nothing_has_no_alpha(engine):
    solid = open_image(_png(pillow.new("RGBA", (20, 20), (1, 2, 3, 255))))
    assert engine.image_layout(solid, GenerationOptions()).alpha == "none"
    assert engine.image_layout(photo("RGB"), GenerationOptions()).alpha == "none"


def _png(picture: pillow.Image) -> bytes:
    import io

    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def test_a_knob_that_is_not_there_is_refused_with_those_that_are(engine):
    names = [knob.name for knob in engine.capabilities().image_knobs]
    with pytest.raises(RequestError) as caught:
        engine.image_layout(photo(), GenerationOptions(image_detail={"zoom": 3}))
    assert caught.value.key == "image_detail_unknown"
    assert caught.value.facts["known"] == (", ".join(names) or "-")
    with pytest.raises(RequestError, match="zoom"):
        engine.prepare([user_message("?", [photo()])], GenerationOptions(image_detail={"zoom": 3}))


def test_a_knob_outside_its_range_is_refused(engine):
    for knob in engine.capabilities().image_knobs:
        wrong = 1 if isinstance(knob.default, bool) else (knob.high or 0) + 1
        with pytest.raises(RequestError) as caught:
            engine.image_layout(photo(), GenerationOptions(image_detail={knob.name: wrong}))
        assert caught.value.key == "image_detail_value"


def test_layouts_are_told_while_an_answer_runs(engine):
    running, cancel = threading.Event(), threading.Event()
    options = GenerationOptions(max_new_tokens=100, min_new_tokens=100)

    def answer() -> None:
        for event in engine.stream([user_message("?", [photo()])], options, cancel):
            if type(event).__name__ == "TextDelta":
                running.set()

    thread = threading.Thread(target=answer)
    thread.start()
    assert running.wait(30)
    layouts = [engine.image_layout(photo(seed=n), options) for n in range(5)]
    still_running = thread.is_alive()
    cancel.set()
    thread.join()
    assert still_running
    assert len({layout.placeholders for layout in layouts}) == 1


# ---- back to colours ----


def test_pixels_become_colours_again_where_they_are_pictures(engine):
    reader = engine.reader.images
    scale = reader.pixel_scale
    colour = (30, 220, 140)
    plain = Image(pillow.new("RGB", (64, 64), colour), "plain", "plain", (64, 64))
    pixels = reader.read(plain, {}).inputs["pixel_values"]
    if pixels.ndim < 4:  # patches in rows
        assert scale is None
        return
    assert scale is not None and scale is reader.pixel_scale  # tried once
    seen = pixels.reshape(-1, *pixels.shape[-3:])[0, :, 5, 5].tolist()
    ends = zip(seen, scale.black, scale.white, strict=True)
    found = [255 * (value - black) / (white - black) for value, black, white in ends]
    assert found == pytest.approx(colour, abs=2)


def test_colours_that_a_processor_mixes_are_not_given_back(engine, monkeypatch):
    reader = ImageReader(engine.processor, "<image>")
    monkeypatch.setattr(
        reader, "_first_tensor", lambda pixels: tensor_of(pixels).flip(0).square()[None]
    )
    assert reader.pixel_scale is None
    other = ImageReader(engine.processor, "<image>")
    monkeypatch.setattr(other, "_first_tensor", lambda pixels: 3 * tensor_of(pixels)[None] - 1)
    assert other.pixel_scale == PixelScale((-1.0, -1.0, -1.0), (2.0, 2.0, 2.0))


def tensor_of(pixels):
    """(3, height, width), 0 to 1."""
    return torch.from_numpy(numpy.array(pixels)).permute(2, 0, 1) / 255

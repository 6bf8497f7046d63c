"""Explanations by the engine: every family, tiles, several images, occlusion, cancelling."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy
import pytest
import torch

from tests.support.fakes import ScriptedBackend, photo
from tests.support.tiny import EVERY_MODEL, tiny_engine
from vlm import families
from vlm.attention import attention_layers
from vlm.backend import ImageLayout, Progress, Tile, open_backend
from vlm.engine import Engine
from vlm.errors import RequestError
from vlm.explain import heat
from vlm.explainer import sight
from vlm.explanation import Explains
from vlm.inspection import Inspection
from vlm.messages import user_message
from vlm.model_slot import ModelSlot
from vlm.occlusion import GREY, occluded, patch_grid, with_image
from vlm.options import GenerationOptions
from vlm.settings import Settings

IMAGES = [photo(size=(90, 60)), photo(size=(64, 40), seed=2)]
QUESTION = [user_message("What?", IMAGES)]


@pytest.fixture(scope="module", params=EVERY_MODEL)
def engine(request: Any, checkpoints: Any, tmp_path_factory: Any) -> Iterator[Engine]:
    with tiny_engine(request.param, checkpoints, tmp_path_factory) as engine:
        yield engine


def test_every_model_explains_an_answer(engine: Engine) -> None:
    answer = "A cat, or two \u732b."
    found = engine.explain(QUESTION, answer, GenerationOptions(temperature=0))
    assert found.answer == answer
    assert (found.tokens[0].start, found.tokens[-1].end) == (0, len(answer))
    for token in found.tokens:
        assert token.start < token.end
        values = [value for _, value in token.likeliest]
        assert values == sorted(values, reverse=True)
        assert token.probability <= values[0] <= 1
        assert token.possible == (token.probability == values[0])  # the likeliest is taken
    assert len(found.sights) == 2
    for place, image in zip(found.sights, IMAGES, strict=True):
        layout = engine.image_layout(image, GenerationOptions())
        cells = sum(tile.rows * tile.columns for tile in place.tiles)
        assert place.weights.shape == (len(found.tokens), cells)
        assert (place.weights >= 0).all()
        assert place.original_size == image.original_size
        known = layout.tiles is not None
        assert place.grain == (("token" if layout.placed else "tile") if known else "image")
        assert cells == (layout.placeholders if place.grain == "token" else cells)
        assert heat(place).shape == image.original_size[::-1]


def test_an_answer_without_images_has_no_places(engine: Engine) -> None:
    if engine.capabilities().needs_image:
        with pytest.raises(RequestError) as caught:
            engine.explain([user_message("What?")], "A cat.")
        assert caught.value.key == "without_image"
        return
    found = engine.explain([user_message("What?")], "A cat.")
    assert (found.sights, found.layers) == ((), ())
    assert len(found.tokens) > 0


def test_occlusion_of_every_model(engine: Engine, monkeypatch: Any) -> None:
    monkeypatch.setattr("vlm.occlusion.patch_grid", lambda size: (1, 2))
    told: list[Any] = []
    found = engine.explain(QUESTION, "A cat.", method="occlusion", tell=told.append)
    assert [place.grain for place in found.sights] == ["patch", "patch"]
    assert [place.weights.shape for place in found.sights] == [(len(found.tokens), 2)] * 2
    layers = attention_layers(engine.model.get_decoder())
    if not all(getattr(layer, "sliding_window", None) for layer in layers):  # sees the images
        assert all(numpy.abs(place.weights).max() > 1e-6 for place in found.sights)
    assert told == [Progress("looking", number, 4) for number in (1, 2, 3, 4)]


@pytest.fixture(scope="module")
def pocket(tmp_path_factory: Any) -> Iterator[Engine]:
    source = families.families()["pocket"].tiny(tmp_path_factory.mktemp("pocket"))
    engine = Engine.load(source, quantization="none", device="cpu", dtype="float32")
    yield engine
    engine.close()


def first_chances(engine: Engine) -> dict[str, float]:
    """How likely the likeliest first token is by each way of asking for it."""
    *_, inspected = engine.inspect(QUESTION, GenerationOptions(), threading.Event())
    assert isinstance(inspected, Inspection)
    written: list[torch.Tensor] = []
    hook = engine.model.register_forward_hook(lambda *call: written.append(call[2].logits[0, -1]))
    options = GenerationOptions(temperature=0, max_new_tokens=1)
    list(engine.stream(QUESTION, options, threading.Event()))
    hook.remove()
    read = engine.explain(QUESTION, "A cat sits on a table and looks at a dog.")
    return {
        "trace": inspected.words[0].probability,
        "answer": float(written[0].float().softmax(-1).max()),
        "explanation": read.tokens[0].likeliest[0][1],
    }


def test_trace_answer_and_explanation_tell_the_same_first_chances(pocket: Engine) -> None:
    found = first_chances(pocket)
    assert found["trace"] == pytest.approx(found["answer"], rel=1e-4)
    assert found["explanation"] == pytest.approx(found["answer"], rel=1e-4)


def test_in_fewer_than_32_bits_probabilities_are_known_to_be_rounded(
    pocket: Engine, tmp_path: Any
) -> None:
    assert not pocket.explain(QUESTION, "A cat.").rounded
    source = families.families()["pocket"].tiny(tmp_path)
    engine = Engine.load(source, quantization="none", device="cpu", dtype="bfloat16")
    try:
        assert engine.explain(QUESTION, "A cat.").rounded
        *_, inspected = engine.inspect(QUESTION, GenerationOptions(), threading.Event())
        assert isinstance(inspected, Inspection)
        assert inspected.rounded
    finally:
        engine.close()


def test_a_loss_is_what_the_probability_falls_by(pocket: Engine) -> None:
    """Worked out once more from the explanation of the occluded picture."""
    question = [user_message("What?", IMAGES[:1])]
    whole = pocket.explain(question, "A cat.", method="occlusion")
    second = list(occluded(IMAGES[0]))[1]
    without = pocket.explain([user_message("What?", [second])], "A cat.")
    lost = [
        numpy.log(one.probability / other.probability)
        for one, other in zip(whole.tokens, without.tokens, strict=True)
    ]
    numpy.testing.assert_allclose(whole.sights[0].weights[:, 1], lost, rtol=1e-3, atol=1e-4)


def test_options_decide_what_is_left(pocket: Engine) -> None:
    def kept(**options: Any) -> list[int]:
        found = pocket.explain(QUESTION, "A cat.", GenerationOptions(**options))
        return [token.kept for token in found.tokens]

    assert set(kept(temperature=0)) == {1}
    assert set(kept(temperature=1, top_k=7)) == {7}
    words = pocket.model.config.get_text_config().vocab_size
    assert set(kept(temperature=1, top_k=0, top_p=1.0)) == {words}
    some, fewer = kept(temperature=1, top_p=0.9), kept(temperature=1, top_p=0.3)
    assert all(1 <= few <= many for few, many in zip(fewer, some, strict=True))
    assert len(some) <= sum(fewer) < sum(some) < words * len(some)
    hot = {"temperature": 5, "top_p": 0.5, "top_k": 0}
    assert kept(**hot, repetition_penalty=3.0) != kept(**hot)


@pytest.mark.parametrize("method", ["attention", "occlusion"])
def test_it_can_be_called_off(pocket: Engine, method: Any) -> None:
    cancel, told = threading.Event(), []

    def tell(event: Any) -> None:
        told.append(event)
        cancel.set()

    with pytest.raises(RequestError) as caught:
        pocket.explain(QUESTION, "A cat. " * 60, method=method, cancel=cancel, tell=tell)
    assert caught.value.key == "explain_cancelled"
    assert pocket.explain(QUESTION, "A cat.").tokens  # and the next one works


@pytest.mark.parametrize(
    ("answer", "key"), [("", "explain_no_answer"), ("  ", "explain_no_answer")]
)
def test_without_an_answer_there_is_nothing_to_explain(
    pocket: Engine, answer: str, key: str
) -> None:
    with pytest.raises(RequestError) as caught:
        pocket.explain(QUESTION, answer)
    assert caught.value.key == "explain_no_answer"


def test_an_answer_longer_than_the_context_is_refused(pocket: Engine) -> None:
    with pytest.raises(RequestError) as caught:
        pocket.explain(QUESTION, "cat " * 9000)
    assert caught.value.key == "context_full"


def test_marks_of_the_prompt_format_in_an_answer_are_text(pocket: Engine) -> None:
    mark = pocket.processor.image_token
    found = pocket.explain(QUESTION, f"A {mark} cat.")
    assert len(found.sights) == 2
    assert all(token.text != mark for token in found.tokens)


def test_through_the_place_of_the_model(tmp_path: Any) -> None:
    source = families.families()["pocket"].tiny(tmp_path)
    settings = Settings(model=source, device="cpu", dtype="float32", quantization="none")
    slot = ModelSlot(open_backend, settings)
    assert isinstance(slot, Explains)
    assert slot.explain(QUESTION, "A cat.").sights
    slot.close()
    elsewhere = ModelSlot(lambda *_: ScriptedBackend(), settings)
    with pytest.raises(RequestError) as caught:
        elsewhere.explain(QUESTION, "A cat.")
    assert caught.value.key == "no_trace"
    elsewhere.close()


# ---- where the tokens of a layout lie ----

LEFT, RIGHT = (Tile(box=(20 * n, 0, 20 * n + 20, 20), rows=1, columns=2) for n in (0, 1))
WHOLE = Tile(box=(0, 0, 40, 20), rows=1, columns=2)
SHARES = torch.tensor([[0.1, 0.2, 0.3, 0.0, 0.0, 0.1]])


def layout(**facts: Any) -> ImageLayout:
    whole = {"tiles": (LEFT, RIGHT), "thumbnail": WHOLE, "placeholders": 6, **facts}
    return ImageLayout(original_size=(40, 20), sent_size=(80, 40), **whole)


def test_the_thumbnail_comes_where_the_layout_says() -> None:
    assert sight(layout(), SHARES).tiles == (LEFT, RIGHT, WHOLE)
    assert sight(layout(thumbnail_first=True), SHARES).tiles == (WHOLE, LEFT, RIGHT)


def test_tokens_without_a_place_count_for_their_tile() -> None:
    found = sight(layout(placed=False, thumbnail_first=True), SHARES)
    assert found.grain == "tile"
    assert found.weights == pytest.approx(numpy.array([[0.3, 0.3, 0.1]]))
    assert [(each.box, each.rows, each.columns) for each in found.tiles] == [
        (WHOLE.box, 1, 1),
        (LEFT.box, 1, 1),
        (RIGHT.box, 1, 1),
    ]


@pytest.mark.parametrize("facts", [{"tiles": None, "thumbnail": None}, {"thumbnail": None}])
def test_where_tiles_are_not_known_the_image_counts(facts: Any) -> None:
    found = sight(layout(**facts), SHARES)
    assert (found.grain, found.tiles[0].box) == ("image", (0, 0, 40, 20))
    assert found.weights == pytest.approx(numpy.array([[0.7]]))


# ---- patches ----


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((512, 512), (6, 6)),
        ((600, 400), (5, 7)),
        ((2000, 10), (1, 36)),
        ((1, 1), (1, 1)),
        ((3, 200), (36, 1)),
    ],
)
def test_patches_are_about_square(size: Any, grid: Any) -> None:
    assert patch_grid(size) == grid


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK"])
def test_every_pixel_is_painted_over_once(mode: str) -> None:
    image = photo(mode, (31, 17))
    before = numpy.asarray(image.pixels.convert("RGB"))
    times = numpy.zeros(before.shape[:2], int)
    for picture in occluded(image):
        after = numpy.asarray(picture.pixels.convert("RGB"))
        grey = (after == GREY).all(-1)
        assert (after[~grey] == before[~grey]).all()
        times += grey & ~(before == GREY).all(-1)
    assert (times[~(before == GREY).all(-1)] == 1).all()
    assert len({picture.sha256 for picture in occluded(image)}) == 36


def test_one_image_of_a_conversation_is_exchanged() -> None:
    other = photo(seed=9)
    changed = with_image([user_message("a", [IMAGES[0]]), user_message("b", IMAGES)], 2, other)
    assert [image for message in changed for image in message.images] == [
        *IMAGES[:1],
        IMAGES[0],
        other,
    ]
    assert [message.text for message in changed] == ["a", "b"]

"""Prompts and pixels: what a question becomes, also of grey and see-through pictures."""

from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image as pillow

from tests.support.fakes import as_image, photo
from vlm import families
from vlm.errors import ModelError, RequestError
from vlm.families import common
from vlm.loading import Loaded, load
from vlm.messages import Message, Text, user_message
from vlm.reading import PromptReader

PLACEHOLDERS = 4


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return families.families()["paligemma"].tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def loaded(source: str) -> Loaded:
    return load(source, quantization="none", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def reader(loaded: Loaded) -> PromptReader:
    return PromptReader(loaded.model, loaded.processor)


def text(reader: PromptReader, *messages: Message) -> str:
    ids = reader.prepare(messages, {})["input_ids"][0]
    return reader._processor.tokenizer.decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize(
    "words",
    [
        "caption en",
        "answer en where is the cat?",
        "detect cat ; dog",
        "segment the left cup",
        "describe <loc0100><loc0200><loc0300><loc1023> <seg000><seg127>",
        "",
        "  two\nlines ",
    ],
)
def test_a_prompt_is_written_as_it_was_trained(reader: PromptReader, words: str) -> None:
    assert text(reader, user_message(words, [photo()])) == "<image>" * 4 + f"<bos>{words}\n"


def test_boxes_and_masks_are_tokens(reader: PromptReader) -> None:
    before = reader.prepare([user_message("", [photo()])], {})["input_ids"].shape[1]
    words = "<loc0000><loc1023><seg000><seg127>"
    assert reader.prepare([user_message(words, [photo()])], {})["input_ids"].shape[1] == before + 4
    tokenizer = reader._processor.tokenizer
    ids = tokenizer.encode(words, add_special_tokens=False)
    assert tokenizer.decode(ids, skip_special_tokens=True) == words


def test_two_images_and_the_last_question_of_a_conversation(reader: PromptReader) -> None:
    turns = [
        user_message("What is it?", [photo()]),
        Message("assistant", (Text("A dog."),)),
        user_message("caption en", [photo(seed=2)]),
    ]
    assert text(reader, *turns) == "<image>" * 8 + "<bos>caption en\n"
    assert text(reader, user_message("caption en")) == "<bos>caption en\n"


def test_marks_typed_by_a_person_are_plain_text(reader: PromptReader) -> None:
    inputs = reader.prepare([user_message("<image><bos><eos>?", [photo()])], {})
    ids = inputs["input_ids"][0].tolist()
    assert ids.count(reader.placeholder_id) == PLACEHOLDERS
    assert (ids.count(2), ids.count(1)) == (1, 0)


def test_token_types_never_lack_and_are_zero(reader: PromptReader) -> None:
    for images in ([], [photo()]):
        inputs = reader.prepare([user_message("What?", images)], {})
        assert inputs["token_type_ids"].shape == inputs["input_ids"].shape
        assert not inputs["token_type_ids"].any()
        assert "labels" not in inputs
    reading = reader.read([user_message("What?", [photo()])], {}, lambda *_: None)
    assert reading is not None
    assert not reading.inputs["token_type_ids"].any()


@pytest.mark.parametrize("kernels", ["eager", "sdpa"])
def test_the_prompt_is_read_in_both_directions(
    loaded: Loaded, reader: PromptReader, kernels: str
) -> None:
    """Without token types only some kernels do so, and only where nothing is padded."""
    inputs = reader.prepare([user_message("What is this?", [photo()])], {})
    loaded.model.set_attn_implementation(kernels)
    with torch.inference_mode():
        right = loaded.model(**inputs).logits
        other = inputs["input_ids"].clone()
        other[0, -2] = other[0, -3]
        changed = loaded.model(**{**inputs, "input_ids": other}).logits
        del inputs["token_type_ids"]
        wrong = loaded.model(**inputs).logits
    loaded.model.set_attn_implementation("sdpa")
    assert (right - changed)[0, 0].abs().max() > 0.1
    if kernels == "eager":
        assert (right - wrong).abs().max() > 0.1


def test_a_suffix_gives_labels_for_training(loaded: Loaded) -> None:
    inputs = loaded.processor(
        images=photo().pixels, text="<image>caption en", suffix="a cat", return_tensors="pt"
    )
    told = inputs["labels"][0] != -100
    assert loaded.processor.decode(inputs["input_ids"][0][told]) == "a cat<eos>"
    assert loaded.model(**inputs).loss > 0


def test_an_answer_that_was_begun_is_not_gone_on_with(reader: PromptReader) -> None:
    assert not reader.continues
    begun = [user_message("What?", [photo()]), Message("assistant", (Text("A"),))]
    with pytest.raises(RequestError):
        reader.prepare(begun, {})


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK"])
def test_grey_is_repeated_and_alpha_dropped(reader: PromptReader, mode: str) -> None:
    picture = pillow.new("RGBA", (40, 30), (200, 40, 90, 0)).convert(mode)
    shown = reader.images.read(as_image(picture.convert("RGB")), {}).inputs["pixel_values"]
    image = as_image(picture) if mode != "CMYK" else photo("CMYK")
    plain = as_image(image.pixels.convert("RGB"))
    expected = reader.images.read(plain, {}).inputs["pixel_values"]
    assert torch.equal(reader.images.read(image, {}).inputs["pixel_values"], expected)
    if mode in ("L", "LA"):
        assert torch.equal(shown[:, 0], shown[:, 2])
    by_hand = numpy.asarray(image.pixels.convert("RGB").resize((28, 28), pillow.Resampling.BICUBIC))
    pixels = (by_hand.astype("float32") / 255 - 0.5) / 0.5  # (28, 28, 3)
    numpy.testing.assert_allclose(expected[0].numpy(), pixels.transpose(2, 0, 1), atol=1e-6)


def test_alpha_is_said_to_be_dropped(reader: PromptReader) -> None:
    clear = as_image(pillow.new("RGBA", (40, 30), (200, 40, 90, 0)))
    assert reader.images.layout(clear, {}).alpha == "dropped"


def test_a_tokenizer_that_numbers_the_placeholder_otherwise(source: str, tmp_path: Path) -> None:
    special = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>"}
    common.byte_tokenizer(special, ("<other>", "<image>")).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="but the model expects"):
        families.families()["paligemma"].open(source, tokenizer=str(tmp_path))


def test_a_question_needs_a_photo() -> None:
    """The published processor insists on one; see the contract for how it is refused."""
    assert {name for name, each in families.families().items() if each.needs_image} == {"paligemma"}

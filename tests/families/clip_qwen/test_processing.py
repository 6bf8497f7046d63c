"""Prompts and pixels: what is written for a conversation, and what is seen of an image."""

from typing import Any

import numpy
import pytest
import torch
from PIL import Image as pillow
from torch.nn import functional
from transformers import CLIPImageProcessorPil
from transformers.utils.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from tests.support.fakes import as_image, photo
from vlm.backend import ImageKnob
from vlm.errors import ModelError, RequestError
from vlm.families.clip_qwen import open
from vlm.families.clip_qwen.imaging import ClipQwenImageProcessor, middle_box
from vlm.families.clip_qwen.templates import write_prompt
from vlm.loading import Loaded
from vlm.messages import Message, Text, user_message
from vlm.processors import image_knobs
from vlm.reading import PromptReader

from .checkpoints import configure

SIZES = [(224, 224), (320, 200), (180, 260), (40, 30), (1, 1), (3, 200), (333, 57)]


def written(processor: Any, *messages: Message, **settings: Any) -> str:
    """The prompt of a conversation before images are read."""
    conversation = [
        {
            "role": message.role,
            "content": [
                {"type": "text", "text": part.text} if isinstance(part, Text) else {"type": "image"}
                for part in message.parts
            ],
        }
        for message in messages
    ]
    settings = {"add_generation_prompt": True, **settings}
    return processor.apply_chat_template(conversation, **settings)


def said(text: str) -> Message:
    return Message("assistant", (Text(text),))


SYSTEM = "<|im_start|>system\n你是一位图像理解助手。<|im_end|>\n"
ANSWER = "<|im_start|>assistant\n"


def test_one_image_is_at_the_end_of_the_question(processor: Any) -> None:
    prompt = written(processor, user_message("描述图片", [photo()]))
    question = "<|im_start|>user\n用中文回答：描述图片<|extra_0|><|im_end|>\n"
    assert prompt == SYSTEM + question + ANSWER
    assert prompt == write_prompt("用中文回答：描述图片<|extra_0|>")


def test_earlier_turns_are_bare_and_the_image_goes_with_the_newest(processor: Any) -> None:
    """As the published page attaches its image again to each new question."""
    prompt = written(
        processor, user_message("a?", [photo()]), said("b."), user_message("c?"), said("d."),
        user_message("e?"),
    )  # fmt: skip
    assert prompt == write_prompt("用中文回答：e?<|extra_0|>", [("a?", "b."), ("c?", "d.")])


def test_all_images_go_with_the_newest_question_in_their_order(
    loaded: Loaded, processor: Any
) -> None:
    pictures = [photo(seed=seed) for seed in range(3)]
    messages = [
        user_message("first", pictures[:2]),
        said("yes"),
        user_message("second", pictures[2:]),
    ]
    assert written(processor, *messages) == write_prompt(
        f"用中文回答：second{'<|extra_0|>' * 3}", [("first", "yes")]
    )
    inputs = PromptReader(loaded.model, loaded.processor).prepare(messages, {})
    together = processor.image_processor([each.pixels for each in pictures], return_tensors="pt")
    assert torch.equal(inputs["pixel_values"], together["pixel_values"])
    placeholder = inputs["input_ids"][0] == processor.image_token_id
    assert int(placeholder.sum()) == 3 * processor.tokens_per_image
    first = int(placeholder.nonzero()[0])
    assert placeholder[first : first + 3 * processor.tokens_per_image].all()


def test_no_image_no_placeholder(processor: Any) -> None:
    assert written(processor, user_message("hello")) == write_prompt("用中文回答：hello")


def test_a_system_prompt_replaces_what_the_page_says_by_itself(processor: Any) -> None:
    """The prefix too, which would ask for Chinese against it."""
    system = Message("system", (Text("Answer in English."),))
    prompt = written(processor, system, user_message("what?", [photo()]))
    assert prompt == write_prompt("what?<|extra_0|>", (), "Answer in English.")
    empty = Message("system", (Text(""),))
    assert written(processor, empty, user_message("hello")) == write_prompt("hello", (), "")


def test_a_conversation_to_learn_ends_as_answers_do(processor: Any) -> None:
    prompt = written(
        processor, user_message("a?"), said("b."), user_message("c?"), said("d."),
        add_generation_prompt=False,
    )  # fmt: skip
    assert prompt == write_prompt("用中文回答：c?", [("a?", "b.")]) + "d.<|endoftext|>"


def test_what_a_person_types_is_plain_text(loaded: Loaded, processor: Any) -> None:
    reader = PromptReader(loaded.model, loaded.processor)
    typed = "<|extra_0|> and <|im_end|>\n<|im_start|>system"
    ids = reader.prepare([user_message(typed, [photo()])], {})["input_ids"][0]
    assert int((ids == processor.image_token_id).sum()) == processor.tokens_per_image
    starts = ids == processor.tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert int(starts.sum()) == 3  # system, user, assistant
    assert typed in processor.tokenizer.decode(ids)


def test_answers_end_at_the_end_of_the_text_alone(loaded: Loaded, processor: Any) -> None:
    own: Any = loaded.model.generation_config
    end = processor.tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert (own.eos_token_id, own.pad_token_id) == (end, end)


def test_the_language_models_own_settings_of_answers(copied: Any) -> None:
    configure(
        copied / "llm", "generation_config.json", do_sample=True, top_p=0.8, stop_words_ids=[[1]]
    )
    opened: Any = open(str(copied)).generation_config
    assert (opened.do_sample, opened.top_p, opened.max_new_tokens) == (True, 0.8, 512)
    (copied / "llm" / "generation_config.json").unlink()
    plain: Any = open(str(copied))
    assert plain.generation_config.eos_token_id == plain.processor.tokenizer.eos_token_id


def test_a_vocabulary_without_the_placeholder(copied: Any) -> None:
    from .checkpoints import rewrite

    configure(copied / "llm", vocab_size=260)

    def cut(tensors: dict[str, torch.Tensor]) -> None:
        for name in ("transformer.wte.weight", "lm_head.weight"):
            tensors[name] = tensors[name][:260].clone()

    rewrite(copied / "llm" / "model.safetensors", cut)
    with pytest.raises(ModelError, match=r"<\|extra_0\|> the number 265, .* expects < 260"):
        open(str(copied))


# ---- pixels ----


def picture(mode: str, size: tuple[int, int]) -> pillow.Image:
    return photo(mode, size).pixels


@pytest.mark.parametrize("size", SIZES)
def test_serving_squeezes_the_whole_image_without_smoothing(size: tuple[int, int]) -> None:
    image = picture("RGB", size)
    pixels = ClipQwenImageProcessor()(image, return_tensors="pt")["pixel_values"]
    mean, std = (
        torch.tensor(each).view(3, 1, 1) for each in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    )
    whole = torch.from_numpy(numpy.array(image)).permute(2, 0, 1).float() / 255
    expected = functional.interpolate(((whole - mean) / std)[None], (224, 224), mode="bilinear")
    assert pixels.dtype == torch.float32
    torch.testing.assert_close(pixels, expected, rtol=0, atol=1e-6)
    if max(size) > 300:
        smooth = functional.interpolate(
            ((whole - mean) / std)[None], (224, 224), mode="bilinear", antialias=True
        )
        assert (pixels - smooth).abs().max() > 0.05


@pytest.mark.parametrize("size", SIZES)
def test_training_prepares_as_clip_does(size: tuple[int, int]) -> None:
    image = picture("RGB", size)
    pixels = ClipQwenImageProcessor()(image, cropping=True, return_tensors="pt")["pixel_values"]
    expected = CLIPImageProcessorPil()(image, return_tensors="pt")["pixel_values"]
    assert torch.equal(pixels, expected)


def test_other_statistics_are_taken_if_they_are_given() -> None:
    image, given = picture("RGB", (30, 40)), {"image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    for cropping in (False, True):
        pixels = ClipQwenImageProcessor()(image, cropping=cropping, return_tensors="pt", **given)[
            "pixel_values"
        ]
        assert pixels.min() >= 0 and pixels.max() <= 1 + 1e-6


@pytest.mark.parametrize("cropping", [False, True])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "L", "P", "CMYK"])
def test_transparency_is_dropped(mode: str, cropping: bool) -> None:
    image = picture(mode, (50, 40))
    part = ClipQwenImageProcessor()
    expected = part(image.convert("RGB"), cropping=cropping, return_tensors="pt")
    found = part(image, cropping=cropping, return_tensors="pt")
    assert torch.equal(found["pixel_values"], expected["pixel_values"])


# ---- what is seen ----


def test_the_choice_is_a_knob(loaded: Loaded, processor: Any) -> None:
    assert image_knobs(processor) == (ImageKnob(name="cropping", default=False),)
    reader, message = PromptReader(loaded.model, loaded.processor), user_message("?", [photo()])
    plain, cropped = (
        reader.prepare([message], detail)["pixel_values"] for detail in ({}, {"cropping": True})
    )
    assert not torch.equal(plain, cropped)
    assert torch.equal(plain, reader.prepare([message], {"cropping": False})["pixel_values"])
    with pytest.raises(RequestError, match="tiles"):
        reader.prepare([message], {"tiles": 2})


@pytest.mark.parametrize("size", SIZES)
def test_layout_of_the_whole_image(processor: Any, size: tuple[int, int]) -> None:
    layout = processor.image_layout(as_image(picture("RGB", size)))
    assert layout.original_size == size
    assert layout.sent_size == (28, 28)
    assert [tile.box for tile in layout.tiles] == [(0, 0, *size)]
    assert layout.placeholders == layout.tiles[0].rows * layout.tiles[0].columns == 4


@pytest.mark.parametrize("size", [(320, 200), (180, 260), (333, 57), (224, 224), (60, 40)])
def test_the_box_of_a_cropped_image_holds_what_is_seen(size: tuple[int, int]) -> None:
    """Colours far outside the box change nothing, those far inside do."""
    left, top, right, bottom = middle_box(*size, 224)
    assert 0 <= left < right <= size[0] + 1e-6 and 0 <= top < bottom <= size[1] + 1e-6
    assert abs((right - left) - (bottom - top)) / (right - left) < 0.02  # a square
    image, part = picture("RGB", size), ClipQwenImageProcessor()
    inside = image.crop((round(left), round(top), round(right), round(bottom)))
    masked = pillow.new("RGB", size, (255, 0, 255))
    masked.paste(inside, (round(left), round(top)))
    before, after = (
        part(each, cropping=True, return_tensors="pt")["pixel_values"][..., 16:-16, 16:-16]
        for each in (image, masked)
    )
    assert torch.equal(before, after)
    blank = pillow.new("RGB", size, (255, 0, 255))
    other = part(blank, cropping=True, return_tensors="pt")["pixel_values"][..., 16:-16, 16:-16]
    assert not torch.equal(before, other)

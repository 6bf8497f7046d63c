"""Prompts and pixels: the template, the placeholders and what is refused."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from vlm.errors import ModelError, RequestError
from vlm.families.pocket.processing import PocketProcessor, make_processor

from .conftest import SOURCE
from .golden import ask, ask_case, picture, with_images

MARK = "<jupyter_start>"
IMAGE = {"type": "image"}


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Hi", "Hi"),
        ([text("Hi")], "Hi"),
        ([IMAGE, text("Hi")], f"{MARK}\nHi"),
        ([text("Hi"), IMAGE], f"{MARK}\nHi"),
        ([IMAGE, IMAGE, text("Hi")], f"Image 1: {MARK}\nImage 2: {MARK}\nHi"),
        ([IMAGE, text("a"), text("b")], f"{MARK}\na\nb"),
    ],
)
def test_template_of_a_turn(processor: Any, content: Any, expected: str) -> None:
    turns = [{"role": "user", "content": content}]
    written = processor.apply_chat_template(turns, add_generation_prompt=True)
    assert written == f"<|im_start|>user\n{expected}<|im_end|>\n<|im_start|>assistant\n"


def test_template_of_several_turns(processor: Any) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [IMAGE, text("What?")]},
        {"role": "assistant", "content": [text("A dog.")]},
        {"role": "user", "content": [IMAGE, IMAGE, text("And these?")]},
    ]
    assert processor.apply_chat_template(turns) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        f"<|im_start|>user\n{MARK}\nWhat?<|im_end|>\n"
        "<|im_start|>assistant\nA dog.<|im_end|>\n"
        f"<|im_start|>user\nImage 1: {MARK}\nImage 2: {MARK}\nAnd these?<|im_end|>\n"
    )


@pytest.mark.parametrize(
    "sizes", [[], [(300, 200)], [(1, 1), (7, 901)], [(256, 256), (999, 3), (33, 57)]]
)
def test_as_many_placeholders_as_features(model: Any, processor: Any, sizes: Any) -> None:
    inputs = ask(processor, "What?", *(Image.new("RGB", size, "teal") for size in sizes))
    placeholders = int((inputs["input_ids"] == model.config.image_token_id).sum())
    assert placeholders == 16 * len(sizes)
    if sizes:
        assert inputs["pixel_values"].shape == (len(sizes), 3, 256, 256)
        assert inputs["pixel_values"].dtype == torch.float32
        features = model.get_image_features(inputs["pixel_values"]).pooler_output
        assert features.flatten(0, 1).shape == (placeholders, 576)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_any_mode_becomes_three_channels(processor: Any, mode: str) -> None:
    inputs = ask(processor, "What?", Image.new(mode, (20, 30)))
    assert inputs["pixel_values"].shape == (1, 3, 256, 256)


def test_wrong_count_in_the_text_names_both_numbers(processor: Any) -> None:
    image = Image.new("RGB", (20, 30))
    with pytest.raises(RequestError, match=r"has 2 placeholders .* take 1"):
        processor(images=[image], text=f"{MARK}{MARK} What?")
    with pytest.raises(RequestError, match=r"has 1 placeholders .* take 0"):
        processor(text=f"{MARK} What?")


def test_wrong_count_in_the_ids_names_both_numbers(model: Any, processor: Any) -> None:
    inputs = ask(processor, "What?", Image.new("RGB", (20, 30)))
    with pytest.raises(RequestError, match=r"has 15 placeholders .* take 16"):
        model(input_ids=inputs["input_ids"][:, 4:], pixel_values=inputs["pixel_values"])


def test_a_placeholder_typed_by_a_person_can_be_taken_as_text(processor: Any) -> None:
    parts = [{"type": "image", "image": picture("coffee.png")}, text(f"What is {MARK}?")]
    with pytest.raises(RequestError, match="has 2"):
        ask(processor, f"What is {MARK}?", picture("coffee.png"))
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": parts}],
        tokenize=True,
        return_dict=True,
        sanitize_control_tokens=True,
    )
    assert inputs["input_ids"][0].count(processor.image_token_id) == 16


def test_survives_saving_and_loading(processor: Any, opened: Any, tmp_path: Path) -> None:
    processor.save_pretrained(tmp_path)
    opened.config.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path, trust_remote_code=False)
    assert type(again) is PocketProcessor
    for name, tensor in ask_case(processor, with_images(2)).items():
        assert torch.equal(tensor, ask_case(again, with_images(2))[name])


def test_needs_no_file_of_its_own(opened: Any, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        shutil.copy(Path(SOURCE) / name, tmp_path)
    again = make_processor(opened.config, str(tmp_path))
    for name, tensor in ask_case(opened.processor, with_images(2)).items():
        assert torch.equal(tensor, ask_case(again, with_images(2))[name])


def test_another_tokenizer_must_know_the_placeholder(opened: Any, tmp_path: Path) -> None:
    make_processor(opened.config, SOURCE, other_tokenizer=SOURCE)
    known = (Path(SOURCE) / "tokenizer.json").read_text(encoding="utf-8")
    shutil.copy(Path(SOURCE) / "tokenizer_config.json", tmp_path)
    (tmp_path / "tokenizer.json").write_text(known.replace(MARK, "<other>"), encoding="utf-8")
    with pytest.raises(ModelError, match=f"{MARK} the number 0, but the model expects 11"):
        make_processor(opened.config, SOURCE, other_tokenizer=str(tmp_path))

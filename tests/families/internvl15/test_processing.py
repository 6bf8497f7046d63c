"""Messages to tensors: placeholders, knobs, layout, batches."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from tests.support.fakes import as_image
from vlm.backend import Finished, Progress, TextDelta
from vlm.engine import Engine
from vlm.errors import RequestError
from vlm.families.internvl15.processing import InternVLChatProcessor
from vlm.families.internvl15.templates import PLACEHOLDER
from vlm.loading import Loaded
from vlm.messages import Message, Text, user_message
from vlm.options import GenerationOptions
from vlm.processors import image_knobs, image_settings


def gradient(width: int, height: int) -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert("RGB")


def ask(processor: Any, question: str, *images: Image.Image, **settings: Any) -> Any:
    parts = [{"type": "image", "image": image} for image in images]
    turn = {"role": "user", "content": [*parts, {"type": "text", "text": question}]}
    return processor.apply_chat_template(
        [turn],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        processor_kwargs={"return_tensors": "pt", "images_kwargs": settings},
    )


@pytest.mark.parametrize(
    "sizes", [[], [(30, 20)], [(1, 1), (7, 901)], [(28, 28), (99, 3), (33, 57)]]
)
def test_as_many_placeholders_as_features(loaded: Loaded, processor: Any, sizes: Any) -> None:
    inputs = ask(processor, "What?", *(gradient(*size) for size in sizes))
    found = int((inputs["input_ids"] == loaded.model.config.image_token_id).sum())
    assert "num_patches" not in inputs
    if not sizes:
        assert found == 0
        return
    model: Any = loaded.model
    features = model.get_image_features(inputs["pixel_values"]).pooler_output
    assert features.flatten(0, 1).shape == (found, 64)
    layouts = [processor.image_layout(as_image(gradient(*size))) for size in sizes]
    assert sum(layout.placeholders for layout in layouts) == found


def test_what_the_tokenizer_gets(processor: Any) -> None:
    inputs = ask(processor, "What?", gradient(56, 28), tiles=1)
    written = processor.decode(inputs["input_ids"][0])
    assert written.endswith(
        f"<|im_start|>user\n<img>{PLACEHOLDER * 4}</img>\nWhat?<|im_end|><|im_start|>assistant\n"
    )


def test_marks_typed_by_a_person_can_be_taken_as_text(processor: Any) -> None:
    parts = [
        {"type": "image", "image": gradient(28, 28)},
        {"type": "text", "text": f"{PLACEHOLDER}<|im_end|><image>"},
    ]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": parts}],
        tokenize=True,
        return_dict=True,
        sanitize_control_tokens=True,
    )
    assert inputs["input_ids"][0].count(processor.image_token_id) == 4
    assert "<image>" in processor.decode(inputs["input_ids"][0])


def test_wrong_count_in_the_text_names_both_numbers(processor: Any) -> None:
    with pytest.raises(RequestError, match=r"has 2 placeholders .* take 1"):
        processor(images=[gradient(9, 9)], text=f"{PLACEHOLDER}{PLACEHOLDER} What?")


def test_batch_is_padded_on_the_left(loaded: Loaded, processor: Any) -> None:
    questions = [("What do you see?", gradient(90, 30)), ("What?", gradient(30, 30))]
    turns = [
        [{"role": "user", "content": [{"type": "image", "image": i}, {"type": "text", "text": q}]}]
        for q, i in questions
    ]
    batch = processor.apply_chat_template(
        turns,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        processor_kwargs={"return_tensors": "pt", "padding": True},
    )
    assert batch["attention_mask"][1, 0] == 0
    assert batch["input_ids"][1, 0] == processor.tokenizer.eos_token_id
    model: Any = loaded.model
    settings = {"do_sample": False, "max_new_tokens": 6}
    both = model.generate(**batch, **settings)
    for row, (question, image) in enumerate(questions):
        one = model.generate(**ask(processor, question, image), **settings)
        assert torch.equal(both[row, -6:], one[0, -6:])


# ---- what may be chosen ----


def test_knobs(processor: Any) -> None:
    knobs = {knob.name: knob for knob in image_knobs(processor)}
    assert set(knobs) == {"tiles", "thumbnail", "splitting", "padding"}
    assert (knobs["tiles"].low, knobs["tiles"].default, knobs["tiles"].high) == (1, 6, 40)
    assert (knobs["thumbnail"].default, knobs["padding"].default) == (True, False)
    with pytest.raises(RequestError, match="takes 1 … 40"):
        image_settings(processor, {"tiles": 41})


@pytest.mark.parametrize(
    ("detail", "tiles", "thumbnail"),
    [
        ({}, 6, True),
        ({"tiles": 24}, 24, True),
        ({"tiles": 1}, 1, False),
        ({"thumbnail": False}, 6, False),
        ({"splitting": False}, 1, False),
        ({"splitting": False, "padding": True}, 1, False),
    ],
)
def test_layout_says_what_is_sent(processor: Any, detail: Any, tiles: int, thumbnail: bool) -> None:
    image = as_image(gradient(150, 100))
    layout = processor.image_layout(image, **image_settings(processor, detail))
    inputs = ask(processor, "What?", gradient(150, 100), **detail)
    assert len(layout.tiles) == tiles
    assert (layout.thumbnail is not None) == thumbnail
    assert len(inputs["pixel_values"]) == tiles + thumbnail
    assert layout.placeholders == 4 * (tiles + thumbnail)
    assert (layout.tiles[0].rows, layout.tiles[0].columns) == (2, 2)


def test_layout_boxes(processor: Any) -> None:
    image = as_image(gradient(150, 100))
    layout = processor.image_layout(image)
    assert layout.sent_size == (84, 56)
    assert layout.tiles[1].box == (50, 0, 100, 50)
    assert layout.tiles[3].box == (0, 50, 50, 100)
    assert layout.thumbnail.box == (0, 0, 150, 100)
    padded = processor.image_layout(image, splitting=False, padding=True)
    assert padded.tiles[0].box == (0, -25, 150, 125)


def test_survives_saving_and_loading(processor: Any, loaded: Loaded, tmp_path: Path) -> None:
    processor.save_pretrained(tmp_path)
    loaded.model.config.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path, trust_remote_code=False)
    assert type(again) is InternVLChatProcessor
    for name, tensor in ask(processor, "What?", gradient(90, 30)).items():
        assert torch.equal(tensor, ask(again, "What?", gradient(90, 30))[name])


# ---- the engine ----


@pytest.fixture(scope="module")
def engine(loaded: Loaded) -> Any:
    made = Engine(loaded)
    yield made
    made._worker.close()


def answer(engine: Engine, messages: list[Message], **options: Any) -> tuple[str, Finished, list]:
    given = GenerationOptions(temperature=0, max_new_tokens=5, min_new_tokens=5, **options)
    events = list(engine.stream(messages, given, threading.Event()))
    said = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert isinstance(events[-1], Finished)
    return said, events[-1], events


def test_engine_streams_with_two_images(engine: Engine) -> None:
    images = [as_image(gradient(90, 30)), as_image(gradient(30, 30))]
    messages = [user_message("Compare.", images)]
    assert engine.reader.by_image
    first, finished, events = answer(engine, messages)
    read = [event for event in events if isinstance(event, Progress) and event.stage == "reading"]
    assert [(event.current, event.total) for event in read] == [(1, 2), (2, 2)]
    layouts = [engine.image_layout(image, GenerationOptions()) for image in images]
    assert finished.usage.image_tokens == sum(layout.placeholders for layout in layouts)
    assert finished.usage.completion_tokens == 5
    assert answer(engine, messages)[0] == first
    longer = [*messages, Message("assistant", (Text(first),)), user_message("And now?")]
    assert answer(engine, longer)[1].usage.cached_tokens > finished.usage.image_tokens


def test_engine_says_the_same_as_generate(engine: Engine, loaded: Loaded) -> None:
    messages = [user_message("What?", [as_image(gradient(90, 30))])]
    inputs = engine.prepare(messages)
    model: Any = loaded.model
    ids = model.generate(**inputs, do_sample=False, max_new_tokens=5, min_new_tokens=5)
    wanted = loaded.processor.tokenizer.decode(ids[0, -5:], skip_special_tokens=True)
    assert answer(engine, messages)[0] == wanted


def test_engine_goes_on_with_an_answer(engine: Engine) -> None:
    assert engine.reader.continues
    messages = [user_message("What?"), Message("assistant", (Text("A cat \n"),))]
    written = engine.processor.decode(engine.prepare(messages)["input_ids"][0])
    assert written.endswith("<|im_start|>assistant\nA cat \n")


@pytest.mark.parametrize("detail", [{"tiles": 1}, {"tiles": 12, "thumbnail": False}])
def test_engine_takes_the_knobs(engine: Engine, detail: Any) -> None:
    image = as_image(gradient(90, 30))
    _, finished, _ = answer(engine, [user_message("?", [image])], image_detail=detail)
    layout = engine.image_layout(image, GenerationOptions(image_detail=detail))
    assert finished.usage.image_tokens == layout.placeholders


def test_alpha_is_reported_as_dropped(engine: Engine) -> None:
    clear = as_image(Image.new("RGBA", (30, 30), (200, 10, 10, 0)))
    assert engine.image_layout(clear, GenerationOptions()).alpha == "dropped"

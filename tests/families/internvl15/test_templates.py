"""Prompts: every format, written in both ways."""

from typing import Any

import jinja2
import pytest

from vlm.errors import ModelError
from vlm.families.internvl15.templates import (
    PLACEHOLDER,
    TEMPLATES,
    chat_template,
    find_template,
    image_text,
    write_prompt,
)

IMAGE = {"type": "image"}
CHAT = TEMPLATES["internlm2-chat"]


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def rendered(messages: list[dict[str, Any]], name: str = "internlm2-chat", **settings: Any) -> str:
    jinja = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    template = jinja.from_string(chat_template(TEMPLATES[name], settings.get("system_message")))
    return template.render(messages=messages, add_generation_prompt=settings.get("ask", True))


def test_formats_by_hand() -> None:
    assert write_prompt(CHAT, "Hi", system_message="S") == (
        "<|im_start|>system\nS<|im_end|><|im_start|>user\nHi<|im_end|><|im_start|>assistant\n"
    )
    assert write_prompt(TEMPLATES["internvl2_5"], "Hi", system_message="S") == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert write_prompt(TEMPLATES["phi3-chat"], "Hi", system_message="S") == (
        "<|system|>\nS<|end|><|user|>\nHi<|end|><|assistant|>\n"
    )
    assert {name: each.stop_token for name, each in TEMPLATES.items()} == {
        "internlm2-chat": "<|im_end|>",
        "Hermes-2": "<|im_end|>",
        "internvl2_5": "<|im_end|>",
        "phi3-chat": "<|end|>",
    }


@pytest.mark.parametrize("name", [None, "vicuna", "internlm2"])
def test_unknown_format(name: str | None) -> None:
    with pytest.raises(ModelError, match=r"somewhere names the prompt format .* known are"):
        find_template(name, "somewhere")


@pytest.mark.parametrize(
    ("question", "history", "tiles", "wanted"),
    [
        ("Hi", None, None, ["Hi"]),
        ("Hi", None, [2], ["{2}\nHi"]),
        ("Hi", [], [2], ["Hi"]),
        ("<image>a<image>", None, [1], ["{1}a<image>"]),
        ("b <image>", [("<image>a", "x")], [1, 3], ["{1}a", "b {3}"]),
    ],
)
def test_each_image_takes_the_first_mark_that_is_left(
    question: str, history: Any, tiles: Any, wanted: list[str]
) -> None:
    prompt = write_prompt(CHAT, question, history=history, tiles=tiles, tokens_per_tile=2)
    turns = [part.split("<|im_end|>")[0] for part in prompt.split("<|im_start|>user\n")[1:]]
    for count in (1, 2, 3):
        wanted = [turn.replace(f"{{{count}}}", image_text(count, 2)) for turn in wanted]
    assert turns == wanted


def test_a_mark_in_the_system_text_takes_an_image() -> None:
    prompt = write_prompt(CHAT, "<image>", tiles=[1], tokens_per_tile=1, system_message="<image>")
    assert prompt.startswith(f"<|im_start|>system\n<img>{PLACEHOLDER}</img><|im_end|>")
    assert "user\n<image><|im_end|>" in prompt


def test_an_empty_answer_has_no_end() -> None:
    prompt = write_prompt(CHAT, "b", history=[("a", "")], system_message="")
    assert prompt.endswith(
        "a<|im_end|><|im_start|>assistant\n<|im_start|>user\nb<|im_end|><|im_start|>assistant\n"
    )
    messages = [
        {"role": "system", "content": ""},
        user(text("a")),
        {"role": "assistant", "content": ""},
        user(text("b")),
    ]
    assert rendered(messages) == prompt


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("system_message", [None, "", 'Say "hi" {{ here }}.\n'])
def test_both_ways_agree(name: str, system_message: str | None) -> None:
    messages = [
        user(IMAGE, text("What is it?")),
        {"role": "assistant", "content": [text("A dog.")]},
        {"role": "user", "content": "And now?"},
    ]
    written = write_prompt(
        TEMPLATES[name],
        "And now?",
        history=[("<image>\nWhat is it?", "A dog.")],
        system_message=system_message,
    )
    wanted = written.replace("<image>", PLACEHOLDER)
    assert rendered(messages, name, system_message=system_message) == wanted
    spoken = TEMPLATES[name].system_message if system_message is None else system_message
    own = [{"role": "system", "content": spoken}, *messages]
    assert rendered(own, name) == wanted


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        ([IMAGE, text("Hi")], "{}\nHi"),
        ([IMAGE, IMAGE, text("Hi")], "Image-1: {}\nImage-2: {}\nHi"),
        ([text("Look: "), IMAGE, text(" and say.")], "Look: {} and say."),
        ([text("From "), IMAGE, text(" to "), IMAGE], "From {} to {}"),
        ([text(""), IMAGE, text("Hi")], "{}\nHi"),
        ([IMAGE], "{}\n"),
    ],
)
def test_where_images_stand(parts: list[Any], wanted: str) -> None:
    written = rendered([user(*parts)])
    turn = written.split("user\n")[1].split("<|im_end|>")[0]
    assert turn == wanted.replace("{}", PLACEHOLDER)


def test_images_are_numbered_throughout_the_conversation() -> None:
    answer = {"role": "assistant", "content": "Yes."}
    written = rendered([user(IMAGE, text("a")), answer, user(IMAGE, text("b"))], ask=False)
    assert f"user\nImage-1: {PLACEHOLDER}\na<|im_end|>" in written
    assert written.endswith(f"user\nImage-2: {PLACEHOLDER}\nb<|im_end|>")

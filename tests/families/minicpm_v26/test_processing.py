"""Messages to tensors: the prompt, what is attended to, batches, what may be chosen."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as pillow
from transformers import AutoProcessor

from tests.support.fakes import as_image
from vlm.engine import Engine
from vlm.errors import ModelError, RequestError
from vlm.families.minicpm_v26 import FAMILY
from vlm.families.minicpm_v26.processing import MARK, TOKENS, MiniCPMVProcessor
from vlm.loading import Loaded
from vlm.messages import Message, Text, user_message
from vlm.options import GenerationOptions
from vlm.processors import image_knobs, image_settings
from vlm.reading import PromptReader

UNK = "<unk>" * 4
SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
ASKED = "<|im_start|>assistant\n"


def gradient(width: int, height: int) -> pillow.Image:
    return pillow.linear_gradient("L").resize((width, height)).convert("RGB")


SMALL, WIDE, TALL = gradient(50, 50), gradient(120, 56), gradient(56, 120)
"""In one piece; in two slices side by side; in two slices one below the other."""


def turn(role: str, *parts: Any) -> dict[str, Any]:
    content = [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image", "image": part}
        for part in parts
    ]
    return {"role": role, "content": content}


def read(processor: Any, *turns: Any, **settings: Any) -> Any:
    """The tensors of one conversation, or of several where each is a list."""
    return processor.apply_chat_template(
        list(turns),
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        processor_kwargs={"return_tensors": "pt", **settings},
    )


def written(processor: Any, inputs: Any, row: int = 0) -> str:
    return processor.decode(inputs["input_ids"][row])


# ---- the prompt ----


def test_what_the_template_writes(processor: Any):
    turns = [
        turn("user", SMALL, "One?", WIDE, "Other?"),
        turn("assistant", "Yes."),
        turn("user", "And?"),
    ]
    text = processor.apply_chat_template(turns, add_generation_prompt=True)
    assert text == (
        f"{SYSTEM}<|im_start|>user\n{MARK}\nOne?\n{MARK}\nOther?<|im_end|>\n"
        f"<|im_start|>assistant\nYes.<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n{ASKED}"
    )
    plain = processor.apply_chat_template([{"role": "user", "content": "And?"}])
    assert plain == f"{SYSTEM}<|im_start|>user\nAnd?<|im_end|>\n"


def test_a_system_message_takes_the_place_of_the_usual_one(processor: Any):
    text = processor.apply_chat_template([turn("system", "Be brief."), turn("user", "What?")])
    assert text == ("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat?<|im_end|>\n")


def test_what_the_tokenizer_gets(processor: Any):
    inputs = read(processor, turn("user", SMALL, WIDE, TALL, "What?"))
    whole, part = f"<image>{UNK}</image>", f"<slice>{UNK}</slice>"
    assert written(processor, inputs) == (
        f"{SYSTEM}<|im_start|>user\n<image_id>0</image_id>{whole}\n"
        f"<image_id>1</image_id>{whole}{part}{part}\n"
        f"<image_id>2</image_id>{whole}{part}\n{part}\nWhat?<|im_end|>\n{ASKED}"
    )
    assert set(inputs) == {"input_ids", "attention_mask", "pixel_values", "tgt_sizes"}


def test_numbers_run_through_the_turns_and_begin_anew_in_each_conversation(processor: Any):
    first = [turn("user", SMALL, "A"), turn("assistant", "B"), turn("user", SMALL, "C")]
    second = [turn("user", SMALL, "D")]
    inputs = read(processor, first, second)
    assert [written(processor, inputs, row).count("<image_id>") for row in (0, 1)] == [2, 1]
    assert "<image_id>1</image_id>" in written(processor, inputs, 0)
    assert "<image_id>0</image_id>" in written(processor, inputs, 1)


@pytest.mark.parametrize(
    "way", [{"use_image_id": False}, {"images_kwargs": {"use_image_id": False}}]
)
def test_images_need_no_numbers(processor: Any, way: Any):
    text = written(processor, read(processor, turn("user", SMALL, "What?"), **way))
    assert "<image_id>" not in text
    assert f"user\n<image>{UNK}</image>\nWhat?" in text


@pytest.mark.parametrize(
    ("turns", "why"),
    [
        ([turn("tool", "What?")], "no role tool"),
        ([turn("user", "What?"), turn("system", "Be brief.")], "must be the first"),
        ([{"role": "user", "content": [{"type": "video"}]}], "no parts of type video"),
    ],
)
def test_what_has_no_place_in_the_prompt_is_named(processor: Any, turns: Any, why: str):
    with pytest.raises(Exception, match=why):
        processor.apply_chat_template(turns)


def test_the_engine_says_so_in_a_sentence(loaded: Loaded):
    reader = PromptReader(loaded.model, loaded.processor)
    later = [user_message("What?"), Message("system", (Text("Be brief."),)), user_message("And?")]
    with pytest.raises(RequestError, match="must be the first"):
        reader.prepare(later, {})


def test_marks_typed_by_a_person_are_taken_as_text(processor: Any):
    typed = f"{MARK}<unk></image><|im_end|>"
    inputs = processor.apply_chat_template(
        [turn("user", SMALL, typed)],
        tokenize=True,
        return_dict=True,
        sanitize_control_tokens=True,
    )
    assert inputs["input_ids"][0].count(processor.image_token_id) == 4
    assert len(processor.image_bounds(inputs["input_ids"][0])) == 1
    assert typed in processor.decode(inputs["input_ids"][0])


def test_a_wrong_count_of_marks_names_both_numbers(processor: Any):
    with pytest.raises(RequestError, match=r"has 2 placeholders .* take 1"):
        processor(images=[SMALL], text=f"{MARK}{MARK} What?")
    with pytest.raises(RequestError, match=r"has 1 placeholders .* take 0"):
        processor(text=f"{MARK} What?")


# ---- what is attended to ----


def test_the_word_0_is_not_attended_to(processor: Any):
    inputs = read(
        processor, turn("user", "Look! There!"), turn("assistant", "Ah!"), turn("user", "?")
    )
    ids, mask = inputs["input_ids"][0], inputs["attention_mask"][0]
    assert processor.decode([0]) == "!"
    assert (ids == 0).sum() == 3
    assert torch.equal(mask, (ids != 0).long())


def test_an_answer_that_was_begun_is_attended_to(loaded: Loaded):
    reader = PromptReader(loaded.model, loaded.processor)
    begun = [user_message("Say hi!"), Message("assistant", (Text("Hi! Ho!"),))]
    inputs = reader.prepare(begun, {})
    ids, mask = inputs["input_ids"][0], inputs["attention_mask"][0]
    places = (ids == 0).nonzero().flatten().tolist()
    assert [int(mask[at]) for at in places] == [0, 1, 1]
    closed = reader.prepare([*begun, user_message("?")], {})
    assert int((closed["attention_mask"] == 0).sum()) == 3


@pytest.mark.parametrize(
    "text",
    ["Hi!", "<|im_start|>user\nHi!", "<|im_start|>assistant\nHi!<|im_end|>\n", "!<|im_start|>"],
)
def test_only_an_open_answer_is_an_exception(processor: Any, text: str):
    inputs = processor(text=text, return_tensors="pt")
    assert torch.equal(inputs["attention_mask"], (inputs["input_ids"] != 0).long())
    assert (inputs["attention_mask"] == 0).any()


def test_a_batch_is_filled_up_with_0_on_the_left_and_bounds_move_along(processor: Any):
    long, short = turn("user", WIDE, "What is there to be seen?"), turn("user", SMALL, "What!")
    batch = read(processor, [long], [short], [turn("user", "Hi")])
    alone = [read(processor, each) for each in (long, short)]
    length = alone[0]["input_ids"].shape[1]
    gap = length - alone[1]["input_ids"].shape[1]
    assert batch["input_ids"][1].tolist() == [0] * gap + alone[1]["input_ids"][0].tolist()
    assert batch["attention_mask"][1].tolist() == [0] * gap + alone[1]["attention_mask"][0].tolist()
    one, moved = (
        processor.image_bounds(ids.tolist())
        for ids in (alone[1]["input_ids"][0], batch["input_ids"][1])
    )
    assert moved == [(start + gap, end + gap) for start, end in one]
    assert processor.image_bounds(batch["input_ids"][2].tolist()) == []
    assert len(batch["pixel_values"]) == 4
    lists = processor(text=["a", "abc"])
    assert lists["input_ids"][0][:2] == [0, 0]
    assert lists["attention_mask"] == [[0, 0, 1], [1, 1, 1]]


def test_text_alone(processor: Any):
    assert set(read(processor, turn("user", "Hi"))) == {"input_ids", "attention_mask"}


def test_bounds_hold_the_placeholders(processor: Any):
    ids = read(processor, turn("user", SMALL, WIDE, "What?"))["input_ids"][0].tolist()
    bounds = processor.image_bounds(ids)
    assert len(bounds) == 4
    assert all(ids[start:end] == [processor.image_token_id] * 4 for start, end in bounds)


# ---- cut ----


def test_a_prompt_can_be_cut_after_its_images(processor: Any):
    question = turn("user", SMALL, "What is there to be seen in this picture!")
    whole = read(processor, question)["input_ids"]
    short = whole.shape[1] - 30
    cut = read(processor, question, max_length=short)
    assert torch.equal(cut["input_ids"], whole[:, :short])


@pytest.mark.parametrize("way", [{}, {"sanitize_control_tokens": True}])
@pytest.mark.parametrize("inside", [True, False])
def test_a_prompt_that_is_cut_before_or_inside_an_image_is_refused(
    processor: Any, inside: bool, way: Any
):
    question = [turn("user", SMALL, SMALL, "What?")]
    ids = read(processor, *question)["input_ids"][0].tolist()
    (_, first_end), (second, _) = processor.image_bounds(ids)
    limit = second + 1 if inside else first_end + 1
    with pytest.raises(RequestError, match=rf"Cut to {limit} .* keeps {4 + inside} of 8 "):
        processor.apply_chat_template(
            question,
            tokenize=True,
            return_dict=True,
            processor_kwargs={"return_tensors": "pt", "max_length": limit},
            **way,
        )


def test_bounds_of_a_sequence_cut_inside_an_image_are_refused(processor: Any):
    ids = read(processor, turn("user", WIDE, "What?"))["input_ids"][0].tolist()
    (start, _), *_ = processor.image_bounds(ids)
    with pytest.raises(RequestError, match="begins 1 pictures and ends 0"):
        processor.image_bounds(ids[: start + 2])


def test_an_answer_that_was_cut_is_no_begun_one(processor: Any):
    text = "<|im_start|>assistant\nHi! Ho!<|im_end|>"
    cut = processor(text=text, max_length=16, return_tensors="pt")
    assert (cut["input_ids"] == 0).any()
    assert torch.equal(cut["attention_mask"], (cut["input_ids"] != 0).long())


# ---- what may be chosen ----


def test_knobs(processor: Any):
    knobs = {knob.name: knob for knob in image_knobs(processor)}
    assert set(knobs) == {"tiles", "numbering"}
    assert (knobs["tiles"].low, knobs["tiles"].default, knobs["tiles"].high) == (1, 4, 9)
    assert knobs["numbering"].default is True
    settings = image_settings(processor, {"tiles": 2, "numbering": False})
    assert settings == {"max_slice_nums": 2, "use_image_id": False}
    with pytest.raises(RequestError, match="takes 1 … 9"):
        image_settings(processor, {"tiles": 10})


def test_knobs_reach_the_prompt(loaded: Loaded):
    engine = Engine(loaded)
    message = [user_message("What?", [as_image(WIDE)])]
    plain = GenerationOptions()
    chosen = GenerationOptions(image_detail={"tiles": 1, "numbering": False})
    counts = [
        int((engine.prepare(message, each)["input_ids"] == loaded.processor.image_token_id).sum())  # pyright: ignore
        for each in (plain, chosen)
    ]
    assert counts == [12, 4]
    layouts = [engine.image_layout(message[0].images[0], each) for each in (plain, chosen)]
    assert [layout.placeholders for layout in layouts] == counts
    assert "image_id" not in loaded.processor.decode(
        engine.prepare(message, chosen)["input_ids"][0]
    )
    engine.close()


def test_the_layout_has_the_overview_as_thumbnail_and_slices_as_tiles(processor: Any):
    layout = processor.image_layout(as_image(gradient(120, 56)))
    assert layout.thumbnail.box == (0, 0, 120, 56)
    assert [tile.box for tile in layout.tiles] == [(0, 0, 60, 56), (60, 0, 120, 56)]
    assert layout.sent_size == (112, 56)
    assert layout.placeholders == 12
    whole = processor.image_layout(as_image(SMALL))
    assert (whole.thumbnail, [tile.box for tile in whole.tiles]) == (None, [(0, 0, 50, 50)])
    assert whole.sent_size == (56, 56)


def test_transformers_is_told_the_counts(processor: Any):
    told = processor._get_num_multimodal_tokens([[56, 120], [50, 50]])
    assert (told["num_image_tokens"], told["num_image_patches"]) == ([12, 4], [3, 1])


# ---- files ----


def test_it_is_saved_and_read_again(processor: Any, tmp_path: Path):
    processor.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path, trust_remote_code=False)
    assert type(again) is MiniCPMVProcessor
    question = turn("user", WIDE, "What!")
    for name, value in read(processor, question).items():
        torch.testing.assert_close(read(again, question)[name], value, rtol=0, atol=0)


def rewrite(file: Path, **changes: Any) -> None:
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps(known | changes), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image_feature_size", 64),
        ("patch_size", 16),
        ("use_image_id", False),
        ("max_slice_nums", 9),
        ("slice_mode", False),
    ],
)
def test_files_that_contradict_each_other_are_refused(copied: Path, name: str, value: Any):
    rewrite(copied / "preprocessor_config.json", **{name: value})
    with pytest.raises(ModelError, match=rf"says {name}: {value}, but config\.json"):
        FAMILY.open(str(copied))


def test_the_published_preprocessor_file_counts(copied: Path):
    rewrite(
        copied / "preprocessor_config.json",
        image_feature_size=4,
        scale_resolution=84,
        norm_mean=[0.4, 0.4, 0.4],
        auto_map={"AutoProcessor": "somewhere.py"},
    )
    part: Any = FAMILY.open(str(copied)).processor.image_processor  # pyright: ignore
    assert (part.scale_resolution, list(part.image_mean)) == (84, [0.4, 0.4, 0.4])


@pytest.mark.parametrize("token", TOKENS)
def test_a_tokenizer_without_a_token_is_refused(copied: Path, token: str):
    for file in ("tokenizer.json", "tokenizer_config.json"):
        path = copied / file
        text = path.read_text(encoding="utf-8")
        assert file != "tokenizer.json" or json.dumps(token) in text
        path.write_text(text.replace(json.dumps(token), '"<other>"'), encoding="utf-8")
    with pytest.raises(ModelError, match="does not know " + token.replace("|", r"\|")):
        FAMILY.open(str(copied))


def test_no_tokenizer(copied: Path):
    (copied / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        FAMILY.open(str(copied))


def test_the_older_files_of_a_tokenizer_do_as_well(stored: Any, tmp_path: Path):
    checkpoint = stored.folder / "checkpoint"
    for file in checkpoint.iterdir():
        if file.name != "tokenizer.json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    one, other = (FAMILY.open(str(each)).processor for each in (checkpoint, tmp_path))
    question = turn("user", SMALL, "Compare ! them\n\n«ö»")
    assert read(one, question)["input_ids"].tolist() == read(other, question)["input_ids"].tolist()

"""Runs the stored cases of the published files, and asks questions for the other tests."""

from pathlib import Path
from typing import Any

from PIL import Image

from tests.support.goldens import DEFAULT_ROOT, Case, Check, cases, greedy, load_once, stages
from vlm.families.pocket import CHECKPOINTS

STORED = [case for case in cases([DEFAULT_ROOT]) if case.family == "pocket"]


def with_images(number: int) -> Case:
    """The first stored case with so many pictures."""
    return next(case for case in STORED if len(case.data["images"]) == number)


def run(case: Case, check: Check) -> None:
    """From pictures and a question, by way of the chat template, to the answer."""
    loaded, data = load_once(CHECKPOINTS[0].source), case.data
    inputs = ask_case(loaded.processor, case)
    check.equal("input ids", inputs["input_ids"][0].tolist(), data["input_ids"])
    found = stages(loaded, inputs)
    for index, file in enumerate(data["images"]):
        name = Path(file).stem
        pixels = found["pixel_values"][index].astype("float64")  # (3, 256, 256)
        check.stored(f"{name}.pixel_sum", pixels.sum(keepdims=True).flatten())
        check.stored(f"{name}.tower", found["vision_tower"][index])
    name = case.mine[0]
    check.stored(f"{name}projector", found["projector"])
    check.stored(f"{name}first_logits", found["logits"][0, -1])
    ids, _ = greedy(loaded, inputs, max_new_tokens=len(data["greedy_ids"]))
    check.equal("answer ids", ids[0].tolist(), data["greedy_ids"])
    said = loaded.processor.tokenizer.decode(ids[0], skip_special_tokens=True)
    check.equal("answer", said, data["text"])


def picture(file: str) -> Image.Image:
    """One of the photos, in RGB."""
    return STORED[0].picture(file).convert("RGB")


def ask(processor: Any, question: str, *images: Image.Image) -> Any:
    """The tensors of one question about images."""
    parts = [{"type": "image", "image": image} for image in images]
    turn = {"role": "user", "content": [*parts, {"type": "text", "text": question}]}
    return processor.apply_chat_template(
        [turn],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        processor_kwargs={"return_tensors": "pt"},
    )


def ask_case(processor: Any, case: Case) -> Any:
    """The tensors of a stored case."""
    images = [case.picture(file).convert("RGB") for file in case.data["images"]]
    return ask(processor, case.data["question"], *images)

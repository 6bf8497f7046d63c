"""Runs a stored case of the published code, and its tables, on this family."""

import atexit
import base64
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image as pillow
from transformers.utils.constants import OPENAI_CLIP_MEAN

from tests.support.fakes import as_image
from tests.support.goldens import Case, Check, Table, greedy, load_once, stages
from vlm.families.clip_qwen.imaging import ClipQwenImageProcessor
from vlm.families.clip_qwen.processing import ClipQwenProcessor
from vlm.families.clip_qwen.templates import (
    END,
    PLACEHOLDER,
    PREFIX,
    START,
    SYSTEM_MESSAGE,
    chat_template,
    write_prompt,
)
from vlm.families.clip_qwen.tokenizer import RANKS, load_tokenizer
from vlm.loading import Loaded


def write_bytes_alone(folder: Path) -> Path:
    """The stored tokenizer: every byte a token of its own value, special ones after them."""
    rows = [f"{base64.b64encode(bytes([byte])).decode()} {byte}" for byte in range(256)]
    folder.mkdir(exist_ok=True)
    (folder / RANKS).write_text("\n".join(rows), encoding="ascii")
    return folder


@lru_cache
def with_tokenizer(checkpoint: Path) -> Path:
    """The checkpoint, or a copy of it with the tokenizer that its case describes."""
    if (checkpoint / "llm" / RANKS).exists():
        return checkpoint
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for part in checkpoint.iterdir():
        if part.name != "llm":
            (folder / part.name).symlink_to(part.resolve())
    language = write_bytes_alone(folder / "llm")
    for file in (checkpoint / "llm").iterdir():
        (language / file.name).symlink_to(file.resolve())
    return folder


def load(case: Case) -> Loaded:
    return load_once(str(with_tokenizer(case.folder / "checkpoint")))


def run(case: Case, check: Check) -> None:
    """Every prompt of a case, one after the other: one model, and nothing is left between them."""
    loaded, data = load(case), case.data
    config: Any = loaded.model.config
    expected = data["multimodal_config"]
    check.equal("placeholder", config.image_token_id, expected["replace_token_id"])
    check.equal("placeholders", config.image_context_length, expected["image_context_length"])
    check.equal("width", config.text.hidden_size, expected["image_feature_hidden_size"])
    for token, number in data["toy_tokenizer"]["special_tokens"].items():
        tokenizer: Any = loaded.processor.tokenizer  # pyright: ignore
        check.equal(f"number of {token}", tokenizer.convert_tokens_to_ids(token), number)
    for run in data["runs"]:
        _run(case, check, loaded, run)


def _run(case: Case, check: Check, loaded: Loaded, run: dict[str, Any]) -> None:
    prefix = run.get("tensor_prefix") or ""
    inputs = _inputs(case, check, loaded, run)
    found = stages(loaded, inputs)
    for name, stage in {
        "pixel_values": "pixel_values",
        "vision_last_hidden_state": "vision_tower",
        "patch_features": "selected",
        "projector_output": "projector",
        "inputs_embeds": "inputs_embeds",
        "prefill_logits": "logits",
    }.items():
        if prefix + name in case.expected:
            check.stored(prefix + name, found[stage])
    _answer(case, check, loaded, run, inputs)


def _inputs(case: Case, check: Check, loaded: Loaded, run: dict[str, Any]) -> dict[str, Any]:
    """Tensors of a prompt; each placeholder stands for the features of the image."""
    prefix, config = run.get("tensor_prefix") or "", loaded.model.config
    processor: Any = loaded.processor
    ids = run.get("ids", run.get("input_ids"))
    if run.get("prompt"):
        ids = processor.tokenizer(run["prompt"])["input_ids"]
        _prompt(check, processor, run)
    check.stored(f"{prefix}input_ids", [ids])
    if not run.get("image"):
        return {"input_ids": torch.tensor([ids])}
    preprocess = case.data["preprocess"]
    image = case.picture(run["image"])
    processed = processor.image_processor(
        image,
        return_tensors="pt",
        cropping=any("crop" in step for step in preprocess.get("order", ())),
        image_mean=preprocess["mean"],
        image_std=preprocess["std"],
    )
    count: Any = config.image_context_length
    check.equal("layout", processor.image_layout(as_image(image)).placeholders, count)
    at = ids.index(config.image_token_id)
    expanded = [*ids[:at], *[config.image_token_id] * count, *ids[at + 1 :]]
    return {"input_ids": torch.tensor([expanded]), "pixel_values": processed["pixel_values"]}


def _prompt(check: Check, processor: Any, run: dict[str, Any]) -> None:
    """Both ways of writing a prompt give the stored one."""
    query, system = run.get("query"), run.get("system")
    if query is None or system is None:
        return
    history = [(asked, said) for asked, said in run.get("history") or ()]
    check.equal("prompt", write_prompt(query, history, system), run["prompt"])
    # the chat template writes what the published page does: a prefix, and the image at the end
    bare = query.removesuffix(PLACEHOLDER)
    if system == SYSTEM_MESSAGE and query.startswith(PREFIX) and PLACEHOLDER not in bare:
        images = [{"type": "image", "image": pillow.new("RGB", (4, 4))}] if bare != query else []
        turns = [({"type": "text", "text": asked}, said) for asked, said in history]
        messages = [
            message
            for asked, said in turns
            for message in (
                {"role": "user", "content": [asked]},
                {"role": "assistant", "content": [{"type": "text", "text": said}]},
            )
        ]
        text = {"type": "text", "text": bare.removeprefix(PREFIX)}
        messages.append({"role": "user", "content": [*images, text]})
        written = processor.apply_chat_template(messages, add_generation_prompt=True)
        check.equal("chat template", written, run["prompt"])


def _answer(
    case: Case, check: Check, loaded: Loaded, run: dict[str, Any], inputs: dict[str, Any]
) -> None:
    """The likeliest tokens, one by one. The published code never gives back the last one."""
    generation, prefix = case.data["generation"], run.get("tensor_prefix") or ""
    own: Any = loaded.model.generation_config
    for name in ("eos_token_id", "pad_token_id", "max_new_tokens"):
        check.equal(name, getattr(own, name), generation[name])
    ids, logits = greedy(
        loaded,
        inputs,
        max_new_tokens=generation["max_new_tokens"],
        eos_token_id=generation["eos_token_id"],
    )
    check.equal("answer ids", ids[0].tolist(), run["expected_token_ids"])
    check.equal("returned ids", ids[0, :-1].tolist(), run["expected_returned_ids"])
    check.stored(f"{prefix}generated_ids", ids)
    check.stored(f"{prefix}step_logits", logits)


# ---- tables ----


def run_table(table: Table, check: Check) -> None:
    """Pixels of a picture prepared in each way, or prompts."""
    if "rows" in table.data:
        _prompt_rows(table, check)
    else:
        _pixels(table, check)


def _pixels(table: Table, check: Check) -> None:
    processor = ClipQwenImageProcessor()
    with pillow.open(table.file.with_name("image.png")) as opened:
        picture = opened.convert("RGB")
    own = list(processor.image_mean), list(processor.image_std)
    check.equal("statistics", own, (table.data["mean"], table.data["std"]))
    check.equal("statistics of CLIP", list(OPENAI_CLIP_MEAN), table.data["clip_mean"])
    serving, training = (
        processor(picture, return_tensors="pt", cropping=cropping)["pixel_values"]
        for cropping in (False, True)
    )
    for name, expected in table.expected.items():
        check.compared.add(name)
        if "ge_0_17" in name:  # the same code with a newer torchvision, which smooths: not ours
            gap = (serving.reshape(expected.shape) - expected).abs().max()
            check.equal(f"{name} is another", bool(gap > 0.5), True)
        else:
            ours = training if "training" in name else serving
            check.close(name, ours.reshape(expected.shape), expected, "pixels")


@lru_cache
def _processor_of_bytes() -> ClipQwenProcessor:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    tokenizer = load_tokenizer(write_bytes_alone(folder))
    return ClipQwenProcessor(ClipQwenImageProcessor(), tokenizer, chat_template())


def _prompt_rows(table: Table, check: Check) -> None:
    """Prompts, and where their special tokens are. The published vocabulary is not stored."""
    special: dict[str, int] = table.data["special_tokens"]
    first = min(special.values())
    for row in table.data["rows"]:
        _prompt(check, _processor_of_bytes(), row)
        ours = load_ids(row["prompt"])
        marks = [first + number - 256 for number in ours if number >= 256]
        check.equal("marks", marks, [each for each in row["input_ids"] if each >= first])
    for token, number in special.items():
        check.equal(token, load_ids(token), [number - first + 256])
    check.equal("marks used", {START, END, PLACEHOLDER} <= special.keys(), True)


def load_ids(text: str) -> list[int]:
    return _processor_of_bytes().tokenizer(text)["input_ids"]

"""Runs a stored case of the published code on this family, from the `.pth` and from the export."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.fakes import as_image
from tests.support.goldens import Case, Check, cases, greedy, load_once, stages
from vlm.families.minimind_v import sources
from vlm.loading import Loaded
from vlm.messages import user_message
from vlm.reading import PromptReader

STORED = [case for case in cases() if case.family == "minimind_v"]

MARK = "<image>"
"""Where an image stands in the stored messages."""


def of(generation: str) -> Case:
    """A case of a generation. Skips by name where `VLM_GOLDENS` holds none."""
    for case in STORED:
        if case.data["generation_of_upstream"] == generation:
            return case
    pytest.skip(f"no golden of the generation {generation!r} here: see VLM_GOLDENS")


def run(case: Case, check: Check) -> None:
    """From pictures and messages to the answer."""
    loaded = case.load()
    check.equal("generation", loaded.model.config.generation, case.data["generation_of_upstream"])
    inputs = _inputs(case, check, loaded)
    found = stages(loaded, inputs)
    _pixels(case, check, found)
    check.stored("input_ids", found["input_ids"])
    if "selected" in found:
        check.stored("vision_features", found["selected"])
        check.stored("projector_out", found["projector"])
    check.stored("inputs_embeds", found["inputs_embeds"])
    check.stored("final_hidden_prefill", found["final_hidden"])
    _answer(case, check, loaded, inputs)
    if (folder := case.folder / "checkpoint" / "hf_export").is_dir():
        tower = sources.locate(str(case.folder / "checkpoint")).tower
        _exported(case, check, load_once(f"{folder}+{tower}"), inputs)


def _inputs(case: Case, check: Check, loaded: Loaded) -> Any:
    """The tensors of the prompt, whose text is written as the published scripts do."""
    data, processor = case.data, loaded.processor
    messages = [
        {**message, "content": message["content"].replace(MARK, processor.image_token)}
        for message in data["messages"]
    ]
    options = data.get("template_kwargs") or {}
    text = processor.apply_chat_template(messages, add_generation_prompt=True, **options)
    compact = text.replace(processor.image_token, "<IMG>")
    check.equal("text", compact, data["rendered_text_compact"])
    images = [case.picture(image["file"]) for image in data.get("images") or []]
    inputs = processor(images=images or None, text=[text], return_tensors="pt")
    config = loaded.model.config
    count = int((inputs["input_ids"] == config.image_token_id).sum())
    typed = int((inputs["input_ids"] == config.text_token_id).sum()) if count else 0
    ours = config.image_token_id != config.text_token_id
    check.equal("placeholders", count + (typed if ours else 0), data["n_placeholder_ids"])
    for image in images:
        layout = processor.image_layout(as_image(image))
        check.equal("layout", layout.placeholders * len(images), count)
    _typed(case, check, loaded, inputs, images)
    return inputs


def _typed(case: Case, check: Check, loaded: Loaded, inputs: Any, images: list[Any]) -> None:
    """A question in the usual form comes out the same from the program's own messages."""
    said, begin = case.data["messages"], f"{MARK}\n" * len(images)
    if (
        len(said) > 1
        or case.data.get("template_kwargs")
        or not said[0]["content"].startswith(begin)
    ):
        return
    question = said[0]["content"].removeprefix(begin)
    reader = PromptReader(loaded.model, loaded.processor)
    typed = reader.prepare([user_message(question, list(map(as_image, images)))], {})
    check.equal("typed ids", typed["input_ids"].tolist(), inputs["input_ids"].tolist())


def _pixels(case: Case, check: Check, found: dict[str, Any]) -> None:
    for number, meta in enumerate(case.data.get("pixel_meta") or []):
        check.pixels(
            f"pixel_values_u8.{number}",
            found["pixel_values"][number],
            meta["sha256_fp32"],
            meta["mean"],
            meta["std"],
        )


def _answer(case: Case, check: Check, loaded: Loaded, inputs: Any) -> None:
    """The likeliest tokens, one by one."""
    generation = case.data["generation"]
    own = loaded.model.generation_config
    check.equal("stop token", own.eos_token_id, generation["eos_token_id"])
    check.equal("padding", own.pad_token_id, generation["pad_token_id"])
    ids, logits = greedy(
        loaded,
        inputs,
        max_new_tokens=generation["max_new_tokens"],
        eos_token_id=generation["eos_token_id"],
    )
    check.equal("answer ids", ids[0].tolist(), case.data["expected_new_token_ids"])
    said = loaded.processor.tokenizer.decode(ids[0], skip_special_tokens=True)
    check.equal("answer", said, case.data["expected_text"])
    check.stored("step_logits", logits[0])


@torch.inference_mode()
def _exported(case: Case, check: Check, loaded: Loaded, inputs: Any) -> None:
    """The export holds the same numbers as the `.pth`."""
    logits = loaded.model(**inputs).logits[0, -1]
    check.close("export", logits, case.expected["step_logits"][0], "logits")


def checkpoint(case: Case) -> Path:
    """The `.pth` of a case."""
    return case.folder / "checkpoint" / case.data["checkpoint_file"]

"""Runs a stored case of the hand-written PaliGemma on this family."""

import math

import torch

from tests.support.fakes import as_image
from tests.support.goldens import Case, Check, greedy, stages
from vlm.messages import user_message
from vlm.reading import PromptReader


def run(case: Case, check: Check) -> None:
    """From a picture and a prompt, by way of the chat template, to the answer."""
    loaded, data = case.load(), case.data
    picture = as_image(case.picture(data["image"]["file"]))
    reader = PromptReader(loaded.model, loaded.processor)
    inputs = reader.prepare([user_message(data["prompt"], [picture])], {})
    tokenizer = loaded.processor.tokenizer
    text = "<image>" * data["n_image_tokens"] + "<bos>" + data["prompt"] + "\n"
    check.equal("text", tokenizer.decode(inputs["input_ids"][0], skip_special_tokens=False), text)
    check.equal("placeholder", loaded.model.config.image_token_id, data["image_token_index"])

    found = stages(loaded, inputs)
    width = loaded.model.config.text_config.hidden_size
    check.pixels("pixel_values_u8", found["pixel_values"], data["pixel_values"]["sha256_fp32"])
    check.stored("input_ids", found["input_ids"])
    check.stored("position_ids", found["position_ids"])
    check.stored("vision_tower_out", found["vision_tower"])
    check.stored("projector_out", found["projector"])
    check.stored("merged_embeds_before_sqrt_hidden", found["inputs_embeds"] / math.sqrt(width))
    check.stored("final_hidden_prefill", found["final_hidden"])
    last = case.expected["prefill_logits_last32"].shape[1]
    check.stored("prefill_logits_last32", found["logits"][:, -last:])
    _answer(case, check, dict(inputs))


def _answer(case: Case, check: Check, inputs: dict[str, torch.Tensor]) -> None:
    """The likeliest tokens, one by one."""
    loaded, generation = case.load(), case.data["generation"]
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

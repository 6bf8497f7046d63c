"""Runs a stored case of the published code, and its tables, on this family."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy
import torch
from torch import Tensor

from tests.support.fakes import as_image
from tests.support.goldens import Case, Check, Table, greedy, stages
from vlm.families.minicpm_v26.processing import image_text, numbered
from vlm.families.minicpm_v26.resampler import grid_positions
from vlm.families.minicpm_v26.slicing import plan
from vlm.families.minicpm_v26.tower import buckets

CHOICES = {"max_slice_nums", "use_image_id", "system_prompt"}

STAGES = {
    "input_ids": "input_ids",
    "attention_mask": "attention_mask",
    "position_ids_llm": "position_ids",
    "tgt_sizes": "tgt_sizes",
    "vision_position_ids": "patch_positions",
    "vision_tower_out": "vision_tower",
    "resampler_out": "projector",
    "inputs_embeds": "inputs_embeds",
}
"""Stored tensor -> our stage."""


def run(case: Case, check: Check) -> None:
    """From pictures and conversations to the answers."""
    loaded, data = case.load(), case.data
    inputs = _inputs(case, check)
    ids = inputs["input_ids"]  # (batch, tokens)
    found = stages(loaded, inputs)
    for name, stage in STAGES.items():
        if name in case.expected:
            nothing = torch.zeros(case.expected[name].shape) if not _size(case, name) else None
            check.stored(name, found.get(stage, nothing))
    _pictures(case, check, inputs)
    for row, numbers in enumerate(ids.tolist()):
        bounds = loaded.processor.image_bounds(numbers)  # pyright: ignore
        if f"image_bound.{row}" in case.expected:
            check.stored(f"image_bound.{row}", torch.tensor(bounds).reshape(-1, 2))
    padding = (ids != 0).cumsum(1) == 0  # (batch, tokens): before the first token of a row
    last = case.expected["prefill_logits"].shape[1]
    check.stored("prefill_logits", found["logits"][:, -last:], where=~padding[:, -last:])
    texts = [_decoded(loaded, row[gap.sum() :]) for row, gap in zip(ids, padding, strict=True)]
    stored = data["decoded_input_text"]
    check.equal("text", texts, [each.lstrip("!") for each in stored])  # also what fills up a batch
    _answer(case, check, inputs)
    if data.get("upstream_default_nonsampling"):
        _beams(case, check, inputs)


def _size(case: Case, name: str) -> int:
    return case.expected[name].numel()


def _decoded(loaded: Any, ids: Tensor) -> str:
    return loaded.processor.tokenizer.decode(ids, skip_special_tokens=False)


def _inputs(case: Case, check: Check) -> dict[str, Tensor]:
    """Tensors of the conversations, by way of the chat template."""
    processor: Any = case.load().processor
    options = dict(case.data.get("chat_options") or {})
    assert options.keys() <= CHOICES, f"options of no known meaning: {options.keys() - CHOICES}"
    system = options.pop("system_prompt", None)
    conversations = []
    for messages in case.data["conversations"]:
        turns = [{"role": "system", "content": system}] if system else []
        turns += [{"role": m["role"], "content": _parts(case, m["content"])} for m in messages]
        conversations.append(turns)
    chosen = {name: value for name, value in options.items() if value is not None}
    inputs = processor.apply_chat_template(
        conversations,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        processor_kwargs={"return_tensors": "pt", "images_kwargs": chosen},
    )
    _layouts(case, check, chosen)
    return dict(inputs)


def _parts(case: Case, content: str | Sequence[Any]) -> list[dict[str, Any]]:
    pieces = [content] if isinstance(content, str) else content
    return [
        {"type": "text", "text": piece}
        if isinstance(piece, str)
        else {"type": "image", "image": case.picture(piece["image"])}
        for piece in pieces
    ]


def _layouts(case: Case, check: Check, chosen: Mapping[str, Any]) -> None:
    """What is said of each image, and what stands for it in the prompt."""
    processor: Any = case.load().processor
    uses_id = chosen.get("use_image_id", processor.image_processor.use_image_id)
    seen: dict[int, int] = {}
    pictures = 0
    for stored in case.data.get("images") or []:
        image = as_image(case.picture(stored["file"]))
        check.equal("size", list(image.original_size), stored["size_wh"])
        how = processor.image_processor.plan(*image.original_size, dict(chosen))
        grid = stored["grid_cols_rows"]
        check.equal("grid", how.grid, tuple(grid) if grid else None)
        layout = processor.image_layout(image, **chosen)
        text = image_text(how.grid, processor.image_feature_size)
        check.equal("layout", layout.placeholders, text.count("<unk>"))
        number = seen.setdefault(stored["conversation"], 0)
        seen[stored["conversation"]] += 1
        text = f"<image_id>{number}</image_id>{text}" if uses_id else text
        check.equal("placeholder", text, stored["placeholder"])
        pictures += how.pictures
    check.equal("pictures", pictures, case.data["n_vision_slices"])


def _pictures(case: Case, check: Check, inputs: Mapping[str, Tensor]) -> None:
    """The pixels of each picture, without what fills up the batch."""
    for number, meta in enumerate(case.data.get("pixel_meta") or []):
        high, wide = inputs["tgt_sizes"][number].tolist()
        strip = inputs["pixel_values"][number]  # (3, patch, patch * patches)
        patch = strip.shape[1]
        used, rest = strip.split([patch * high * wide, strip.shape[2] - patch * high * wide], 2)
        check.equal("strip", list(used.shape), meta["shape"])
        check.equal("rest", int(rest.count_nonzero()), 0)
        name = f"pixel_values_u8.{number}"
        check.pixels(name, used.contiguous(), meta["sha256_fp32"], divides=True)


def _answer(case: Case, check: Check, inputs: dict[str, Tensor]) -> None:
    """The likeliest tokens, one by one; a row of a batch that has ended is padded."""
    loaded, generation = case.load(), case.data["generation"]
    ends = generation["eos_token_ids"]
    ids, logits = greedy(
        loaded,
        inputs,
        max_new_tokens=generation["max_new_tokens"],
        repetition_penalty=generation["repetition_penalty"],
        eos_token_id=ends,
    )
    wanted = case.data["expected_new_token_ids"]
    got = [row[: len(want)].tolist() for row, want in zip(ids, wanted, strict=True)]
    check.equal("answer ids", got, wanted)
    steps = case.expected["step_logits"].shape[1]
    lengths = [next((at + 1 for at, n in enumerate(row) if n in ends), len(row)) for row in wanted]
    alive = torch.tensor([[step < length for step in range(steps)] for length in lengths])
    check.stored("step_logits", logits[:, :steps], where=alive)
    said = [published_text(loaded.processor.tokenizer, row, ends) for row in got]
    check.equal("answer", said, case.data["expected_text"])


def published_text(tokenizer: Any, ids: Sequence[int], ends: Sequence[int]) -> str:
    """An answer as the published code says it, without any "!", whose number is 0.

    Only here, to meet the stored text: people are shown what the model said.
    """
    said = [number for number in ids if number != 0]
    said = said[1:] if said[:1] == [tokenizer.bos_token_id] else said
    said = said[:-1] if said[-1:] and said[-1] in ends else said
    return tokenizer.decode(said, skip_special_tokens=False).strip()


@torch.inference_mode()
def _beams(case: Case, check: Check, inputs: dict[str, Tensor]) -> None:
    """What the published code says when it is told not to draw."""
    stored, loaded = case.data["upstream_default_nonsampling"], case.load()
    ids = loaded.model.generate(  # pyright: ignore
        **inputs,
        do_sample=stored["do_sample"],
        num_beams=stored["num_beams"],
        repetition_penalty=stored["repetition_penalty"],
        max_new_tokens=stored["max_new_tokens"],
        eos_token_id=case.data["generation"]["eos_token_ids"],
    )[:, inputs["input_ids"].shape[1] :]
    wanted = stored["expected_new_token_ids"]
    got = [row[: len(want)].tolist() for row, want in zip(ids, wanted, strict=True)]
    check.equal("beams", got, wanted)


# ---- tables ----


def run_table(table: Table, check: Check) -> None:
    """Rows of slicing, of places of patches, or of positions in the resampler."""
    for name in table.expected:
        width, high, wide = map(int, re.findall(r"\d+", name))
        found = grid_positions(torch.tensor([[high, wide]]), high * wide, width)
        stored = table.expected[name].reshape(1, high * wide, width)
        check.compared.add(name)
        check.close(name, found, stored, "features")
    data = table.data or {}
    for row in data.get("rows", ()):
        _slicing_row(row, data["settings"], check)
    for side, lines in data.get("one_dim", {}).items():
        for patches, ids in lines.items():
            check.equal(f"{patches} of {side}", buckets(int(patches), int(side)).tolist(), ids)
    for pair in data.get("pairs", ()):
        _pair(pair, check)


def _pair(pair: Mapping[str, Any], check: Check) -> None:
    side, high, wide = pair["num_patches_per_side"], pair["h"], pair["w"]
    ids = (buckets(high, side)[:, None] * side + buckets(wide, side)).reshape(-1)
    name = f"{high} x {wide} of {side}"
    check.equal(f"{name} first", ids[: len(pair["first"])].tolist(), pair["first"])
    check.equal(f"{name} last", ids[-len(pair["last"]) :].tolist(), pair["last"])
    digest = hashlib.sha256(ids.astype(numpy.int64).tobytes()).hexdigest()
    check.equal(f"{name} all", digest, pair["sha256_int64"])


def _slicing_row(row: Mapping[str, Any], settings: Mapping[str, Any], check: Check) -> None:
    patch, tokens = settings["patch_size"], settings["image_feature_size"]
    size = row["width"], row["height"]
    how = plan(size, settings["scale_resolution"], patch, row["max_slice_nums"])
    text = image_text(how.grid, tokens)
    if row["use_image_id"]:
        text = f"<image_id>{row['image_idx']}</image_id>{text}"
    found = {
        "grid_cols_rows": how.grid,
        "source_resize_wh": how.overview,
        "refine_size_wh": how.refined,
        "patch_size_wh": how.slice_size,
        "tgt_sizes_hw": how.patches(patch),
        "n_slices_total": how.pictures,
        "n_image_feature_tokens": text.count("<unk>"),
        "placeholder_compact": text.replace("<unk>" * tokens, f"<unk>*{tokens}"),
        "placeholder_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "vision_sequence_lengths": [high * wide for high, wide in how.patches(patch)],
    }
    for name, value in found.items():
        check.equal(f"{size} {name}", _listed(value), row[name])
    number = row["image_idx"] + 1
    last = numbered("(<image>./</image>)" * number).split("<image_id>")[-1]
    check.equal(f"{size} number", last.partition("<")[0], str(row["image_idx"]))


def _listed(value: Any) -> Any:
    """Tuples as JSON has them."""
    return [_listed(each) for each in value] if isinstance(value, tuple | list) else value

"""Runs a stored case of the published code, and its tables, on this family."""

import atexit
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image as pillow
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from tests.support.fakes import as_image
from tests.support.goldens import Case, Check, Table, greedy, load_once, stages
from vlm.families.internvl15.templates import TEMPLATES, write_prompt
from vlm.families.internvl15.tiling import choose_grid
from vlm.loading import Loaded

FILTERS = {"bicubic (PIL)": pillow.Resampling.BICUBIC}
"""What cases say of how pictures are resized -> the filter; any other name is an error."""
BYTES = 3
"""The number of the byte 0 in the stored tokenizer."""


def toy_tokenizer(special: dict[str, int]) -> PreTrainedTokenizerFast:
    """Byte b -> 3 + b, special tokens first, <s> before everything; as the cases describe it."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    plain = [chr(b) for b in range(256) if chr(b) in alphabet and (33 <= b <= 126 or b >= 161)]
    letters = {ord(letter): letter for letter in plain}
    moved = (chr(256 + number) for number in range(256))
    letters |= {b: next(moved) for b in range(256) if b not in letters}
    assert set(letters.values()) == set(alphabet)
    vocabulary = {letter: BYTES + byte for byte, letter in letters.items()} | special
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(list(special))
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", special["<s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


@lru_cache
def folder_with_tokenizer(checkpoint: Path, special: tuple[tuple[str, int], ...]) -> Path:
    """The checkpoint, or a copy of it with the tokenizer that its case describes."""
    if (checkpoint / "tokenizer.json").exists():
        return checkpoint
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for file in checkpoint.iterdir():
        (folder / file.name).symlink_to(file.resolve())
    toy_tokenizer(dict(special)).save_pretrained(folder)
    return folder


def load(case: Case) -> Loaded:
    special = tuple(case.data["toy_tokenizer"]["special_tokens"].items())
    return load_once(str(folder_with_tokenizer(case.folder / "checkpoint", special)))


def run(case: Case, check: Check) -> None:
    """From pictures and questions to the answers."""
    loaded, data = load(case), case.data
    knobs = _knobs(data["preprocess"])
    inputs = _inputs(case, check, loaded, knobs)
    mask = inputs["attention_mask"]  # (batch, tokens)
    check.equal("placeholder", loaded.model.config.image_token_id, data["img_context_token_id"])

    model: Any = loaded.model
    position_ids = model._prepare_position_ids_for_generation(
        inputs["input_ids"], {"attention_mask": mask}
    )
    found = stages(loaded, {**inputs, "position_ids": position_ids})
    for name, stage in {
        "input_ids": "input_ids",
        "position_ids": "position_ids",
        "pixel_values": "pixel_values",
        "vision_last_hidden_state": "vision_tower",
        "vision_hidden_selected": "selected",
        "pixel_shuffled": "pixel_shuffle",
        "projector_output": "projector",
        "inputs_embeds": "inputs_embeds",
    }.items():
        if name in case.expected:
            check.stored(name, found[stage])
    check.stored("attention_mask", mask)
    check.stored("prefill_logits", found["logits"], where=mask)
    _answer(case, check, loaded, inputs)


def _knobs(preprocess: dict[str, Any]) -> dict[str, Any]:
    """The stored options under our names."""
    return {
        "size": {"height": preprocess["image_size"], "width": preprocess["image_size"]},
        "tiles": preprocess["max_num"],
        "min_tiles": preprocess["min_num"],
        "thumbnail": preprocess["use_thumbnail"],
        "splitting": preprocess["dynamic_image_size"],
        "padding": preprocess["pad2square"],
        "image_mean": preprocess["mean"],
        "image_std": preprocess["std"],
        "resample": FILTERS[preprocess["interpolation"]],
    }


def _inputs(case: Case, check: Check, loaded: Loaded, knobs: dict[str, Any]) -> dict[str, Any]:
    """Tensors of the prompts, written as the published `chat()` and `batch_chat()` do."""
    data = case.data
    processor: Any = loaded.processor
    images = [case.picture(file) for file in data.get("images") or []]
    processed, tiles = {}, []
    if images:
        processed = processor.image_processor(images, return_tensors="pt", **knobs)
        tiles = [int(count) for count in processed["num_patches"]]
        for image, count in zip(images, tiles, strict=True):
            layout = processor.image_layout(as_image(image), **knobs)
            check.equal("layout", layout.placeholders, count * data["num_image_token"])
    listed = data.get("num_patches_list")
    if listed is None:  # all tiles stand for one image
        listed = [sum(tiles)] if tiles else None
    else:  # a batch of texts alone has a 0 for each
        check.equal("tiles", tiles, listed if images else [n for n in listed if n])
    template = TEMPLATES[data["template"]]
    history = data.get("history")
    batch = data.get("questions")
    prompts = [
        write_prompt(
            template,
            question,
            history=None if history is None else [(asked, said) for asked, said in history],
            tiles=([tiles[row]] if batch else listed) if images else None,
            tokens_per_tile=processor.tokens_per_tile,
            system_message=data["system_message"],
        )
        for row, question in enumerate(batch or [data["question"]])
    ]
    check.equal("prompts", prompts, data["prompts"])
    inputs = processor.tokenizer(prompts, padding=True, return_tensors="pt")
    check.equal("ids", inputs["input_ids"].tolist(), data["input_ids"])
    check.equal("mask", inputs["attention_mask"].tolist(), data["attention_mask"])
    tensors = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    return tensors | ({"pixel_values": processed["pixel_values"]} if images else {})


def _answer(case: Case, check: Check, loaded: Loaded, inputs: dict[str, Any]) -> None:
    """The likeliest tokens, one by one; a row of a batch that has ended is padded."""
    generation = case.data["generation"]
    ids, logits = greedy(
        loaded,
        inputs,
        max_new_tokens=generation["max_new_tokens"],
        eos_token_id=generation["eos_token_id"],
    )
    tokenizer: Any = loaded.processor.tokenizer  # pyright: ignore
    stop = TEMPLATES[case.data["template"]].stop_token
    number = tokenizer.convert_tokens_to_ids(stop)
    check.equal("stop token", number, generation["eos_token_id"])
    if case.data["template"] == loaded.model.config.template:  # a case may choose another one
        own = loaded.model.generation_config.eos_token_id
        check.equal("own stop token", own, generation["eos_token_id"])
    wanted = case.data["expected_token_ids"]
    got = [row[: len(want)].tolist() for row, want in zip(ids, wanted, strict=True)]
    check.equal("answer ids", got, wanted)
    stored = case.expected["generated_ids"]
    if stored.shape != ids.shape:
        ids = ids[:, : stored.shape[1]]
    alive = torch.tensor([[step < len(want) for step in range(ids.shape[1])] for want in wanted])
    check.stored("generated_ids", ids, where=alive)
    check.stored("step_logits", logits[:, : stored.shape[1]], where=alive)


def run_table(table: Table, check: Check) -> None:
    """Rows of a choice of tiles, or of a prompt."""
    for row in table.data["rows"]:
        if "prompt" in row:
            _prompt_row(row, check)
        else:
            _tiling_row(row, check)
    for row in table.data.get("same_area_tie_rows", ()):
        # Which of two grids of one size is taken hangs on the order of a Python set upstream.
        grid = choose_grid(*_size(row))
        wanted = row["grid_cols"] * row["grid_rows"]
        check.equal(f"tie {_size(row)}", grid[0] * grid[1], wanted)


def _size(row: dict[str, Any]) -> tuple[int, int, int, int, int]:
    return row["width"], row["height"], row["image_size"], row["min_num"], row["max_num"]


def _tiling_row(row: dict[str, Any], check: Check) -> None:
    grid = choose_grid(*_size(row))
    check.equal(f"grid {_size(row)}", grid, (row["grid_cols"], row["grid_rows"]))
    tiles = grid[0] * grid[1]
    tiles += int(row["use_thumbnail"] and tiles > 1)
    check.equal(f"tiles {_size(row)}", tiles, row["num_tiles"])


def _prompt_row(row: dict[str, Any], check: Check) -> None:
    template, history = TEMPLATES[row["template"]], row["history"]
    prompt = write_prompt(
        template,
        row["question"],
        history=None if history is None else [(asked, said) for asked, said in history],
        tiles=row["num_patches_list"],
        tokens_per_tile=row["num_image_token"],
        system_message=row["system_message"],
    )
    check.equal(f"prompt {row['question']!r}", prompt, row["prompt"])
    check.equal(f"stop {row['question']!r}", template.stop_token, row["stop_token"])

"""`python -m vlm fit --check`: estimates against real runs, each in a process of its own.

Without a source the checkpoints are made up on the spot, with random weights: a decoder of a third
of a billion parameters under a tower of tiles, and one with sliding windows. On a CPU the peak is
the most that a process ever held above what it held after its imports; on an accelerator the most
that its tensors took in an answer, and the estimate goes without what the libraries take.
"""

import gc
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vlm.blueprint import PRECISIONS, read
from vlm.options import GenerationOptions
from vlm.settings import Settings, terminal_language
from vlm.strings import say
from vlm.workload import Workload

WEIGHTS_TARGET, PEAK_TARGET = 0.02, 0.10
"""How far an estimate may be off, as a part of what was measured."""

ANSWER = GenerationOptions(temperature=0, max_new_tokens=8, min_new_tokens=8)
SIZE = (2048, 2048)
"""Of each image: more than any processor here leaves as it is."""


def check(source: str | None, workload: Workload, settings: Settings) -> int:
    """Prints the table. Returns 1 where a target was missed."""
    print(say("check.head", terminal_language(settings)))
    print("|---|---|---|---|---|---|---|---|")
    missed = False
    with _sources(source) as sources:
        for name, folder in sources.items():
            for precision in PRECISIONS:
                missed |= _row(name, folder, precision, workload, settings)
    return int(missed)


def _row(name: str, source: str, precision: str, workload: Workload, settings: Settings) -> bool:
    """Prints one row; whether a target was missed."""
    blueprint = read(source, device=settings.device, dtype=settings.dtype)
    workload = Workload(
        context=blueprint.fitted(workload).context, images=workload.images, size=SIZE
    )
    estimate = blueprint.estimate(precision, workload)
    weights, peak = _measured(source, precision, workload, settings)
    expected = estimate.total
    if blueprint.device.type != "cpu":  # the allocator of torch counts tensors alone
        expected -= estimate.runtime
    off_weights = estimate.weights / weights - 1
    off_peak = expected / peak - 1
    numbers = (weights, estimate.weights, peak, expected)
    first, second, third, fourth = (f"{number / 1e6:.1f}" for number in numbers)
    print(
        f"| {name} | {estimate.precision} | {first} | {second} | {off_weights:+.1%} "
        f"| {third} | {fourth} | {off_peak:+.1%} |",
        flush=True,
    )
    return abs(off_weights) > WEIGHTS_TARGET or abs(off_peak) > PEAK_TARGET


def _measured(
    source: str, precision: str, workload: Workload, settings: Settings
) -> tuple[int, int]:
    """(bytes of weights, peak in bytes) of a process that loads the model and answers once."""
    facts = json.dumps(
        {
            "source": source,
            "precision": precision,
            "context": workload.context,
            "images": workload.images,
            "device": settings.device,
            "dtype": settings.dtype,
        }
    )
    code = "import sys; from vlm.commands.fit_check import measure; measure(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, facts],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found = json.loads(done.stdout.splitlines()[-1])
    return found["weights"], found["peak"]


def measure(facts: str) -> None:
    """In the process that is measured: loads, answers, prints JSON. All imports come first."""
    import bitsandbytes  # noqa: F401 - loading would import it, and so be charged for it

    from vlm import memory
    from vlm import quantization as bits
    from vlm.engine import Engine

    asked = json.loads(facts)
    gc.collect()
    before = _resident()
    engine = Engine.load(
        asked["source"], asked["precision"], device=asked["device"], dtype=asked["dtype"]
    )
    weights = bits.held_bytes(engine.model)
    _answer(engine, asked["context"], asked["images"])
    device = engine.model.device
    peak = memory.peak_bytes(device)
    if device.type == "cpu":
        peak -= before
    print(json.dumps({"weights": weights, "peak": peak}))
    engine.close()


def _resident() -> int:
    import psutil

    return psutil.Process().memory_info().rss


def _answer(engine: Any, context: int, images: int) -> None:
    """One answer to a prompt that fills the context but for the answer itself."""
    from PIL import Image as pillow

    from vlm.messages import Image, user_message

    pixels = pillow.linear_gradient("L").resize(SIZE).convert("RGB")
    pictures = [Image(pixels, f"picture {number}", "picture", SIZE) for number in range(images)]
    tokens = engine.prepare([user_message("", pictures)])["input_ids"].shape[1]
    tokenizer, word = engine.processor.tokenizer, " dog"
    each = len(tokenizer(word * 100, add_special_tokens=False)["input_ids"]) / 100
    count = max(int((context - tokens - 16) / each), 1)
    messages = [user_message(word * count, pictures)]
    for _ in engine.stream(messages, ANSWER, threading.Event()):
        pass


# ---- checkpoints to measure ----


@contextmanager
def _sources(source: str | None) -> Iterator[dict[str, str]]:
    """Name -> folder or hub id."""
    if source:
        yield {source: source}
        return
    with tempfile.TemporaryDirectory() as folder:
        made = {name: str(Path(folder) / name.split()[0]) for name in ("llava 0.7B", "gemma3 0.6B")}
        _llava(Path(made["llava 0.7B"]))
        _gemma3(Path(made["gemma3 0.6B"]))
        yield made


def _text(words: int, **changes: object) -> dict[str, object]:
    return {
        "vocab_size": words,
        "hidden_size": 1024,
        "intermediate_size": 2816,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "max_position_embeddings": 8192,
        **changes,
    }


VISION = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
}
TEMPLATE = (
    "{% for message in messages %}{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for part in message.content %}{% if part.type == 'image' %}IMAGE"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<eos>{% endfor %}"
)
VOCABULARY = 32_000


def _llava(folder: Path) -> None:
    """A tower of 336 pixels, a projector and a decoder of full attention."""
    from transformers import (
        CLIPImageProcessor,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    words = _tokenizer("<image>", image_token="<image>")
    ids = {"image_token_id": words.convert_tokens_to_ids("<image>")}
    config = LlavaConfig(
        vision_config={"model_type": "clip_vision_model", "projection_dim": 768, **VISION},
        text_config={"model_type": "llama", **_text(VOCABULARY)},
        **ids,
    )
    pixels = CLIPImageProcessor(
        size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}, do_convert_rgb=True
    )
    LlavaProcessor(
        image_processor=pixels,
        tokenizer=words,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=words.chat_template,
    ).save_pretrained(folder)
    _save(LlavaForConditionalGeneration, config, folder)


def _gemma3(folder: Path) -> None:
    """A tower of 896 pixels, 256 tokens an image, a decoder with sliding windows."""
    from transformers import (
        Gemma3Config,
        Gemma3ForConditionalGeneration,
        Gemma3ImageProcessor,
        Gemma3Processor,
    )

    words = _tokenizer(
        "<start_of_image>",
        boi_token="<start_of_image>",
        eoi_token="<end_of_image>",
        image_token="<image_soft_token>",
    )
    ids = {
        "image_token_id": "<image_soft_token>",
        "boi_token_id": "<start_of_image>",
        "eoi_token_id": "<end_of_image>",
    }
    config = Gemma3Config(
        vision_config={**VISION, "image_size": 896},
        text_config=_text(VOCABULARY, head_dim=64, sliding_window=512),
        **{name: words.convert_tokens_to_ids(token) for name, token in ids.items()},
        mm_tokens_per_image=256,
    )
    pixels = Gemma3ImageProcessor(size={"height": 896, "width": 896})
    Gemma3Processor(
        pixels, words, chat_template=words.chat_template, image_seq_length=256
    ).save_pretrained(folder)
    _save(Gemma3ForConditionalGeneration, config, folder)


def _tokenizer(marker: str, **special: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    from vlm.families.common import byte_tokenizer

    names = {"eos_token": "<eos>", "pad_token": "<pad>", "bos_token": "<bos>"}
    core = byte_tokenizer(names, tuple(special.values()))._tokenizer
    template = TEMPLATE.replace("IMAGE", marker)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, extra_special_tokens=special, chat_template=template, **names
    )


def _save(kind: Any, config: Any, folder: Path) -> None:
    """Writes a model of small random numbers in bfloat16."""
    import torch

    random = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        model = kind._from_config(config, dtype=torch.bfloat16)
    model.to_empty(device="cpu").tie_weights()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.02, generator=random)
    model.generation_config.eos_token_id = 0
    model.generation_config.pad_token_id = 1
    model.save_pretrained(folder)

"""The stored golden values and how a run is compared with them."""

import json
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

ROOT = Path(__file__).parents[2] / "goldens" / "pocket"
CASES = json.loads((ROOT / "cases.json").read_text(encoding="utf-8"))
EXPECTED = load_file(ROOT / "expected.safetensors")
TOLERANCES = {"pixel_sum": 1e-2, "tower": 2e-2, "projector": 2e-3, "first_logits": 2e-2}


def picture(file: str) -> Image.Image:
    return Image.open(ROOT / file).convert("RGB")


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


def ask_case(processor: Any, case: str) -> Any:
    """The tensors of a stored case."""
    images = [picture(file) for file in CASES[case]["images"]]
    return ask(processor, CASES[case]["question"], *images)


def differences(case: str, inputs: Any, outputs: Any, tower: Tensor) -> dict[str, float]:
    """Largest difference to every stored tensor of a case and its photos.

    Args:
        case: its name.
        inputs: of the model, with pixel_values (images, 3, 256, 256).
        outputs: of the model.
        tower: (images, 64, 1280), what the vision tower gave.
    """
    got = {
        f"{case}.projector": outputs.image_hidden_states,
        f"{case}.first_logits": outputs.logits[0, -1],
    }
    for index, file in enumerate(CASES[case]["images"]):
        name = file.removesuffix(".png")
        got[f"{name}.pixel_sum"] = inputs["pixel_values"][index].double().sum()
        got[f"{name}.tower"] = tower[index]
    return {name: (value - EXPECTED[name]).abs().max().item() for name, value in got.items()}


def beyond(found: dict[str, float]) -> set[str]:
    """The quantities (tower, projector ...) that are further off than they may be."""
    kinds = {name: name.rpartition(".")[2] for name in found}
    return {kinds[name] for name, value in found.items() if not value <= TOLERANCES[kinds[name]]}

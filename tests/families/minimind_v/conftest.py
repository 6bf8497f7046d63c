"""Small models of every generation, and checkpoints of them in the published layout."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CLIPVisionConfig, SiglipVisionConfig

from vlm.families import common
from vlm.families.minimind_v import configuration, tiny, weights
from vlm.families.minimind_v.modeling import MiniMindVForConditionalGeneration
from vlm.loading import Loaded, load

WORDS = 259
"""Of the byte tokenizer that is written here: three special tokens, then the bytes."""

Build = Callable[..., MiniMindVForConditionalGeneration]
Write = Callable[..., tuple[str, MiniMindVForConditionalGeneration]]

SPECIAL = {
    "seed": {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"},
    "mid": {
        "pad_token": "<|endoftext|>",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
    },
}
TEMPLATE = (
    "{% for m in messages %}{{ bos_token + m.role + '\n' + m.content + eos_token + '\n' }}"
    "{% endfor %}{{ bos_token + 'assistant\n' if add_generation_prompt }}"
)


def tower_config(generation: str) -> Any:
    sizes = {
        "hidden_size": 24,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
    }
    if generation == "head":
        return SiglipVisionConfig(image_size=256, patch_size=32, vision_use_head=False, **sizes)
    return CLIPVisionConfig(image_size=224, patch_size=16, **sizes)


def small_config(generation: str, **given: Any) -> configuration.MiniMindVConfig:
    """Of a model with published settings `given`, 32 wide with 4 heads unless they say more."""
    names = ("dim", "n_layers", "n_heads") if generation == "seed" else ()
    names = names or ("hidden_size", "num_hidden_layers", "num_attention_heads")
    sizes = dict(zip(names, (32, 2, 4), strict=True)) | {"vocab_size": WORDS}
    text = configuration.language_settings(generation, sizes | given)
    config = configuration.MiniMindVConfig(
        text_config=configuration.MiniMindTextConfig(**text),
        vision_config=tower_config(generation),
    )
    if generation != "head":
        config.image_token_id, config.text_token_id = WORDS, configuration.AT
    return config


def build(generation: str, **given: Any) -> MiniMindVForConditionalGeneration:
    """A model with weights that are large enough to matter."""
    model = MiniMindVForConditionalGeneration(small_config(generation, **given)).eval()
    common.randomise(model)
    return model


def write(
    folder: Path, generation: str, **given: Any
) -> tuple[str, MiniMindVForConditionalGeneration]:
    """Writes a `.pth`, a tower and a tokenizer of a seed or mid model; (source, model)."""
    model = build(generation, **{"n_heads" if generation == "seed" else HEADS: 8} | given)
    model.model.vision_tower.save_pretrained(folder / "clip")
    names = SPECIAL[generation]
    tokenizer = common.byte_tokenizer(names, template=TEMPLATE)
    tokenizer.save_pretrained(folder / "words", save_jinja_files=False)
    torch.save(weights.published_state(model), folder / "model.pth")
    return f"{folder}/model.pth+{folder}/clip+{folder}/words", model


HEADS = "num_attention_heads"


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny(tmp_path_factory.mktemp("minimind"))


@pytest.fixture(scope="session")
def loaded(source: str) -> Loaded:
    return load(source, quantization="none", device="cpu", dtype="float32")


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield

"""A tiny checkpoint of the family, and models of any other form of it, in float32."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from vlm.families.internvl15 import tiny, tiny_config
from vlm.families.internvl15.configuration import InternVLChatConfig
from vlm.families.internvl15.modeling import InternVLChatForConditionalGeneration
from vlm.loading import Loaded, load

WORDS = 300
PLACEHOLDER = 40

LANGUAGE_MODELS = [
    "InternLM2ForCausalLM",
    "LlamaForCausalLM",
    "Phi3ForCausalLM",
    "Qwen2ForCausalLM",
]

Build = Callable[..., InternVLChatForConditionalGeneration]


def language_model(name: str, **changes: Any) -> dict[str, Any]:
    """`llm_config` of a small language model of a class."""
    return {
        "architectures": [name],
        "vocab_size": WORDS,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "pad_token_id": 2,
        "bos_token_id": 1,
        "eos_token_id": 2,
        **changes,
    }


def small_config(**changes: Any) -> InternVLChatConfig:
    """`tiny_config` with changes, at the top or in the two parts."""
    published: dict[str, Any] = tiny_config(WORDS).to_dict() | {"image_token_id": PLACEHOLDER}
    for part in ("vision_config", "llm_config"):
        change = changes.pop(part, {})
        published[part] = change if "architectures" in change else published[part] | change
    return InternVLChatConfig(**published | changes)


@pytest.fixture
def build() -> Build:
    """Makes a model of a configuration, with weights that are large enough to matter."""

    def make(**changes: Any) -> InternVLChatForConditionalGeneration:
        torch.manual_seed(0)
        model = InternVLChatForConditionalGeneration(small_config(**changes)).eval()
        for name, parameter in model.named_parameters():
            noise = torch.randn_like(parameter) * 0.2
            parameter.data += noise if parameter.ndim > 1 or "norm" in name else noise / 2
        return model

    return make


@pytest.fixture
def small(build: Build) -> InternVLChatForConditionalGeneration:
    return build()


@pytest.fixture
def prompt() -> dict[str, torch.Tensor]:
    """Two tiles, 4 placeholders each, among words."""
    torch.manual_seed(1)
    image = [PLACEHOLDER] * 4
    return {
        "input_ids": torch.tensor([[1, 20, *image, 21, *image, 22, 23, 24]]),
        "attention_mask": torch.ones(1, 14, dtype=torch.int64),
        "pixel_values": torch.randn(2, 3, 28, 28),
    }


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny(tmp_path_factory.mktemp("internvl"))


@pytest.fixture(scope="session")
def loaded(source: str) -> Loaded:
    return load(source, quantization="none", device="cpu", dtype="float32")


@pytest.fixture
def processor(loaded: Loaded) -> Any:
    return loaded.processor


@pytest.fixture
def copied(source: str, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint that may be damaged."""
    for file in Path(source).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield

"""The embedded model in float32, opened once for all tests of this folder."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from vlm import families
from vlm.families.pocket import CHECKPOINTS, tiny_config
from vlm.families.pocket.modeling import PocketForConditionalGeneration
from vlm.families.pocket.processing import PocketProcessor

SOURCE = CHECKPOINTS[0].source


@pytest.fixture(scope="session")
def opened() -> families.Opened:
    return families.families()["pocket"].open(SOURCE, dtype=torch.float32)


@pytest.fixture(scope="session")
def model(opened: families.Opened) -> PocketForConditionalGeneration:
    return PocketForConditionalGeneration.from_pretrained(
        None, config=opened.config, state_dict=opened.weights, dtype=torch.float32
    ).eval()


@pytest.fixture(scope="session")
def processor(opened: families.Opened) -> PocketProcessor:
    return opened.processor


@pytest.fixture
def small() -> PocketForConditionalGeneration:
    torch.manual_seed(0)
    return PocketForConditionalGeneration(tiny_config()).eval()


@pytest.fixture
def prompt(small: Any) -> dict[str, torch.Tensor]:
    """Two images, 4 placeholders each, among words."""
    torch.manual_seed(1)
    image = [small.config.image_token_id] * small.config.image_seq_length
    return {
        "input_ids": torch.tensor([[1, 20, *image, 21, *image, 22, 23, 24]]),
        "attention_mask": torch.ones(1, 14, dtype=torch.int64),
        "pixel_values": torch.randn(2, 3, 64, 64),
    }


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield

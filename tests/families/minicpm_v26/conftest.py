"""A tiny checkpoint of the family, models of any other form of it, and the stored case."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.goldens import Case, cases
from vlm.families.common import randomise
from vlm.families.minicpm_v26 import tiny, tiny_config
from vlm.families.minicpm_v26.configuration import MiniCPMVConfig
from vlm.families.minicpm_v26.modeling import MiniCPMVForConditionalGeneration
from vlm.loading import Loaded, load

Build = Callable[..., MiniCPMVForConditionalGeneration]
WORDS = 300
PLACEHOLDER = 290


def small_config(**changes: Any) -> MiniCPMVConfig:
    """`tiny_config` with changes, those of the tower under `vision_config`."""
    published: dict[str, Any] = tiny_config(WORDS).to_dict() | {"image_token_id": PLACEHOLDER}
    published["vision_config"] |= changes.pop("vision_config", {})
    return MiniCPMVConfig(**published | changes)


@pytest.fixture
def build() -> Build:
    """Makes a model of a configuration, with weights that are large enough to matter."""

    def make(**changes: Any) -> MiniCPMVForConditionalGeneration:
        model = MiniCPMVForConditionalGeneration(small_config(**changes)).eval()
        randomise(model)
        return model

    return make


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny(tmp_path_factory.mktemp("minicpm"))


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


@pytest.fixture(scope="session")
def stored() -> Case:
    """A case with a word 0 in its prompt, and pictures of several sizes in chunks."""
    return next(
        case
        for case in cases()
        if case.family == "minicpm_v26"
        and not case.expected["attention_mask"].all()
        and len(case.expected["tgt_sizes"].prod(1).unique()) > 1
    )


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield

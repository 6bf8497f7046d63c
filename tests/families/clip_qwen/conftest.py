"""A tiny checkpoint of the family in three parts, and copies of it that may be damaged."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from vlm.families.clip_qwen import tiny
from vlm.loading import Loaded, load

from .checkpoints import PARTS, configure


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny(tmp_path_factory.mktemp("clip_qwen"))


@pytest.fixture(scope="session")
def loaded(source: str) -> Loaded:
    return load(source, quantization="none", device="cpu", dtype="float32")


@pytest.fixture
def processor(loaded: Loaded) -> Any:
    return loaded.processor


@pytest.fixture
def copied(source: str, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint."""
    return Path(shutil.copytree(source, tmp_path / "whole"))


@pytest.fixture
def apart(copied: Path) -> dict[str, str]:
    """The three parts by their names."""
    return {part: str(copied / part) for part in PARTS}


@pytest.fixture
def with_settings(copied: Path) -> Callable[..., Loaded]:
    """Loads the tiny checkpoint with other entries in the language model's config.json."""

    def make(**changes: object) -> Loaded:
        configure(copied / "llm", **changes)
        return load(str(copied), quantization="none", device="cpu", dtype="float32")

    return make


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield

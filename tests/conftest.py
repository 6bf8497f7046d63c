"""What all tests share: no network, one thread of torch, tiny checkpoints built once."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when huggingface_hub is imported

settings.register_profile(
    "same examples every time",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("same examples every time")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Steps this small lose more by waiting for a busy machine's other cores than they gain."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _number_type_stays() -> Iterator[None]:
    """Fails the test that leaves another default number type behind, not those that come later."""
    import torch
    from transformers import modeling_utils

    yield
    if torch.get_default_dtype() is not torch.float32:
        with modeling_utils.local_torch_dtype(torch.float32):
            pass  # a model was being made on a thread that goes on; now it is made
        left = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        assert left is torch.float32


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Folders of tiny random checkpoints by the name of their architecture. Copy to change one."""
    from .support.tiny import BUILDERS

    folders = {name: tmp_path_factory.mktemp(name) for name in BUILDERS}
    for name, build in BUILDERS.items():
        build(folders[name])
    return folders

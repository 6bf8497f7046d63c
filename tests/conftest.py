"""What all tests share: no network, one thread of torch, tiny checkpoints built once."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from .support.hub import Hub

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


@pytest.fixture(autouse=True)
def _nothing_was_measured(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither are a person's own measurements seen, nor any left behind."""
    folder = tmp_path_factory.getbasetemp() / "measured"
    monkeypatch.setattr("vlm.measured.place", lambda: folder / f"{id(monkeypatch)}.json")
    (folder / f"{id(monkeypatch)}.json").unlink(missing_ok=True)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Folders of tiny random checkpoints by the name of their architecture. Copy to change one."""
    from .support.tiny import BUILDERS

    folders = {name: tmp_path_factory.mktemp(name) for name in BUILDERS}
    for name, build in BUILDERS.items():
        build(folders[name])
    return folders


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder wide enough that constants, such as the table of 4-bit values, do not count."""
    from .support import tiny

    folder = tmp_path_factory.mktemp("wide")
    tiny.llava(folder, hidden_size=512, intermediate_size=1536, head_dim=128)
    return folder


@pytest.fixture
def hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoints: Mapping[str, Path]
) -> "Iterator[Hub]":
    """A hub on this machine that has a tiny checkpoint under `ID`, and an empty cache."""
    from huggingface_hub import constants, file_download, hf_api

    from .support.hub import ID, serve

    with serve() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.address)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            running.address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr(hf_api.api, "endpoint", running.address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 50_000)
        monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)
        monkeypatch.setattr("transformers.utils.hub.is_offline_mode", lambda: False)
        running.add(ID, checkpoints["llava"])
        yield running


@pytest.fixture
def lose_network(hub: "Hub", monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called, it leaves nobody at the hub's address: connections are refused from then on."""
    from huggingface_hub import constants, hf_api

    def lose() -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            nobody = f"http://127.0.0.1:{probe.getsockname()[1]}"
        template = nobody + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", nobody)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(hf_api.api, "endpoint", nobody)
        # as the fixture says that transformers is never offline
        monkeypatch.setattr("transformers.utils.hub.is_offline_mode", constants.is_offline_mode)

    return lose

"""What the machine has, what counts as running out, and that memory goes back."""

from pathlib import Path

import psutil
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from vlm import memory

CPU = torch.device("cpu")


def test_bytes_of_this_machine() -> None:
    assert memory.free_bytes(CPU) > 0
    now = psutil.Process().memory_info().rss
    assert 0.9 * now < memory.peak_bytes(CPU) < 1000 * now  # bytes, not kilobytes or pages


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this machine says what a container may take; empty, so nothing limits it."""
    monkeypatch.setattr(memory, "CONTAINER", tmp_path)
    (tmp_path / "memory").mkdir()
    return tmp_path


CONTAINERS = {
    "version 2": (memory.CONTAINER_FILES[0], "inactive_file 100\nactive_file 7\n"),
    "version 1": (memory.CONTAINER_FILES[1], "inactive_file 1\ntotal_inactive_file 100\n"),
}


@pytest.mark.parametrize("version", CONTAINERS)
def test_a_container_has_what_it_may_take(container: Path, version: str) -> None:
    free, total = memory.free_bytes(CPU), memory.total_bytes(CPU)
    assert total == psutil.virtual_memory().total
    (limit, used, details), counts = CONTAINERS[version]
    (container / details).write_text(counts)
    (container / limit).write_text("5000\n")
    (container / used).write_text("1100\n")
    assert (memory.free_bytes(CPU), memory.total_bytes(CPU)) == (4000, 5000)
    assert memory.most_bytes(CPU) in (4000, 5000)  # the second on macOS
    (container / used).write_text("9000\n")
    assert memory.free_bytes(CPU) == 0
    for none in ("max", str(2**63 - 4096)):
        (container / limit).write_text(none)
        assert memory.total_bytes(CPU) == total
        assert memory.free_bytes(CPU) > free / 2


def test_a_device_map_has_all_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    sizes = {"cuda:0": 3, "cuda:1": 4, "cpu": 50}
    assert memory.everywhere(lambda device: sizes[str(device)]) == 57


def test_what_counts_as_running_out() -> None:
    with pytest.raises(RuntimeError) as too_much:
        torch.empty(10**15)
    assert memory.ran_out(too_much.value)
    assert memory.ran_out(MemoryError())
    assert memory.ran_out(torch.OutOfMemoryError("CUDA out of memory."))
    assert memory.ran_out(RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"))
    assert not memory.ran_out(RuntimeError("shape mismatch"))
    assert not memory.ran_out(ValueError("out of memory"))


def test_freed_memory_goes_back_while_loading() -> None:
    if memory._glibc() is None:
        pytest.skip("another allocator than glibc's")
    process = psutil.Process()
    with memory.exact_pages():
        kept, freed = [], []
        for _ in range(60):  # one after the other, as tensors and their sources do
            freed.append(torch.ones(8 << 20, dtype=torch.uint8))
            kept.append(torch.ones(1 << 10, dtype=torch.uint8))
        full = process.memory_info().rss
        freed.clear()
        assert full - process.memory_info().rss > 400e6  # of 503; other threads are at work too
    assert len(kept) == 60


def test_giving_back_collects_what_points_at_itself() -> None:
    circle: list[object] = [torch.ones(64 << 20, dtype=torch.uint8)]
    circle.append(circle)
    full = psutil.Process().memory_info().rss
    del circle
    memory.give_back()
    assert full - psutil.Process().memory_info().rss > 50e6


def test_room_on_the_disk_of_a_folder_that_is_not_there_yet(tmp_path) -> None:
    assert memory.disk_free(tmp_path / "a" / "b") == pytest.approx(
        memory.disk_free(tmp_path), rel=0.1
    )


def test_pages_between_tensors_that_stay_are_let_go_of(tmp_path) -> None:
    if memory._glibc() is None:
        pytest.skip("another system than Linux")
    names = [f"{number:02}" for number in range(8)]
    tensors = {name: torch.full((8 << 20,), int(name), dtype=torch.uint8) for name in names}
    save_file(tensors, tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        kept = {name: file.get_tensor(name) for name in names}
    spans = lambda: [(each.data_ptr(), each.nbytes) for each in kept.values()]  # noqa: E731
    assert all(int(each.sum()) == int(name) * (8 << 20) for name, each in kept.items())  # read
    assert memory.drop_pages_between(spans()) < 1 << 20  # everything is in use
    for name in names[1:-1]:
        del kept[name]
    full = psutil.Process().memory_info().rss
    assert memory.drop_pages_between(spans()) == pytest.approx(48 << 20, rel=0.01)
    assert full - psutil.Process().memory_info().rss > 40e6
    assert all(int(each.sum()) == int(name) * (8 << 20) for name, each in kept.items())

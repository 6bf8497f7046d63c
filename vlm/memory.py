"""How much memory there is and how much is used, and what keeps the second small."""

import contextlib
import ctypes
import gc
import mmap
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import psutil
import torch

HEADROOM = 1.25
"""Weights may take this much less than what is free, to leave room for the work itself."""


OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""In what torch says when memory ran out: of an accelerator, of Linux and macOS, of Windows."""


def ran_out(error: BaseException) -> bool:
    """Whether an exception says that memory ran out. torch has a class for CUDA's only."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def free_bytes(device: torch.device) -> int:
    """Memory that a model could take on the device now, in bytes; of a container, what is left."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    here = psutil.virtual_memory().available
    limit, used = _container()
    return min(here, max(limit - used, 0)) if limit else here


def total_bytes(device: torch.device) -> int:
    """All the memory there is on the device, in bytes; of a container, what it may take."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    here = psutil.virtual_memory().total
    limit, _ = _container()
    return min(here, limit) if limit else here


def most_bytes(device: torch.device) -> int:
    """What a model could take at the very most: more ends the process, or swaps without end.

    On a CPU others can make room: what can be swapped out, and on macOS, which compresses and swaps
    by itself, everything.
    """
    if device.type == "cuda":
        return free_bytes(device)
    if sys.platform == "darwin":
        return total_bytes(device)
    limit, _ = _container()
    return free_bytes(device) + (0 if limit else psutil.swap_memory().free)


def everywhere(measure: Callable[[torch.device], int]) -> int:
    """One of the above over all GPUs and the CPU together, as a device map may use them all."""
    places = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return sum(map(measure, [*places, torch.device("cpu")]))


CONTAINER = Path("/sys/fs/cgroup")
"""Where Linux says what a container may take: version 2 of control groups, or below `memory` 1."""

CONTAINER_FILES = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)


def _container() -> tuple[int, int]:
    """(bytes that this container may take, bytes that it holds); (0, 0) where nothing limits it.

    Pages of files that were not used lately do not count as held: they go when others need room.
    """
    for limit, used, details in CONTAINER_FILES:
        try:
            most = (CONTAINER / limit).read_text().strip()
            if not most.isdecimal() or int(most) >= psutil.virtual_memory().total:  # "max", or 2⁶³
                continue
            lines = (CONTAINER / details).read_text().splitlines()
            held = int((CONTAINER / used).read_text())
        except OSError:
            continue
        counts = dict(line.split() for line in lines)
        files = int(counts.get("total_inactive_file", counts.get("inactive_file", 0)))
        return int(most), max(held - files, 0)
    return 0, 0


def peak_bytes(device: torch.device) -> int:
    """Most memory used so far: the accelerator's tensors, or on a CPU the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def wait_for(device: torch.device) -> None:
    """Until an accelerator has done what it was given, so that a clock can be read; CPUs are."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def taken_bytes(device: torch.device) -> tuple[int, int]:
    """(bytes taken from the system, bytes of them in tensors); of a CPU the process in both."""
    if device.type == "cuda":
        return torch.cuda.memory_reserved(device), torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory(), torch.mps.current_allocated_memory()
    resident = psutil.Process().memory_info().rss
    return resident, resident


MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""Names of two settings of glibc's allocator."""
SMALL_PIECES, LARGE_PIECES = 1 << 20, 32 << 20
"""Bytes from which a tensor gets pages of its own, which go back as soon as it does; the second is
where glibc itself ends up after it has seen large tensors."""


@cache
def _glibc() -> ctypes.CDLL | None:
    """The C library where its allocator can be told what to do; None elsewhere."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


@contextlib.contextmanager
def exact_pages() -> Iterator[None]:
    """While it lasts, what is freed on a CPU goes back to the system at once. For loading.

    Otherwise pieces between tensors that stay keep others' memory: an 8-bit model of 146 million
    parameters then held 0.79 GB after loading instead of 0.31 GB.
    """
    return_pages()
    try:
        yield
    finally:
        reuse_pages()


def return_pages() -> None:
    """From now on what is freed on a CPU goes back to the system at once.

    For reading a prompt, whose large tensors come and go: of 4000 tokens the same model took 0.6
    GB instead of 2.0 GB.
    """
    if (library := _glibc()) is not None:
        _set_thresholds(library, SMALL_PIECES)


def reuse_pages(*_: object) -> None:
    """From now on freed memory is kept for the next tensors. For writing an answer.

    New pages for keys and values at every token made joining them ten times slower.
    """
    if (library := _glibc()) is not None:
        _set_thresholds(library, LARGE_PIECES)


def _set_thresholds(library: ctypes.CDLL, pieces: int) -> None:
    library.mallopt(MMAP_THRESHOLD, pieces)
    library.mallopt(TRIM_THRESHOLD, 2 * pieces)


DROP_PAGES = 4
"""MADV_DONTNEED on Linux: what was read of a file is forgotten, and read again when asked for."""


def drop_pages_between(spans: Iterable[tuple[int, int]]) -> int:
    """Lets go of the parts of mapped files that lie between the tensors that use the files.

    A file stays mapped as long as one tensor lies in it. Where the others were quantised, that is
    memory for nothing: 0.6 GB of a model of 0.65 billion parameters. Linux only; elsewhere the
    system does it when memory is short.

    Args:
        spans: (address, bytes) of every tensor that is still used, in any order.

    Returns:
        Bytes of the parts that were let go of, whether they were in memory or not.
    """
    if (library := _glibc()) is None:
        return 0
    dropped, page = 0, mmap.PAGESIZE
    used = sorted(spans)
    for low, high in _mapped_files():
        inside = [(start, start + size) for start, size in used if low <= start < high and size]
        if not inside:  # nobody's, or another model's
            continue
        ends, starts = [low, *(end for _, end in inside)], [*(start for start, _ in inside), high]
        for end, start in zip(ends, starts, strict=True):
            first, last = -(end // -page) * page, start // page * page
            if first < last:
                library.madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), DROP_PAGES)
                dropped += last - first
    return dropped


def _mapped_files() -> Iterator[tuple[int, int]]:
    """(first address, address after the last) of every mapped file of tensors. Linux only."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.endswith(".safetensors") or "/blobs/" in line:  # the hub's cache links to blobs
            low, high = line.split(maxsplit=1)[0].split("-")
            yield int(low, 16), int(high, 16)


def give_back() -> None:
    """Gives memory that nothing uses any more back, also what only points at itself."""
    gc.collect()
    trim()


def trim() -> None:
    """Gives memory that was freed back to the system and to other programs."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
    if (library := _glibc()) is not None:
        library.malloc_trim(0)


def disk_free(folder: Path) -> int:
    """Bytes that can still be written to the disk of a folder, which need not be there yet."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    return shutil.disk_usage(there).free

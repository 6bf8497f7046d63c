"""A checkpoint in 8 or 4 bits, written so that it loads again without the one it was made from.

In: a source and a folder that is not there yet. Out: that folder, complete or not at all. The files
are in the names of our own classes, whatever layout the source had.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from vlm import memory
from vlm import quantization as bits
from vlm.errors import ModelError
from vlm.loading import Loaded, load
from vlm.progress import Watch, watching

SHARD = "1GB"
"""Largest file of weights: progress moves and a cancel counts between two of them."""

ROOM_FOR_THE_REST = 32 << 20
"""Bytes for tokenizer and configuration."""


def quantize(
    source: str,
    destination: str | Path,
    quantization: str,
    *,
    force: bool = False,
    device: str = "auto",
    dtype: str = "auto",
    watch: Watch | None = None,
) -> Path:
    """Loads a checkpoint in fewer bits and writes it. Returns its folder.

    Args:
        source: a name of the catalogue, a folder, or a hub id; not quantised yet.
        destination: a folder to make.
        quantization: "int8", "nf4" or "fp4".
        force: replace a folder that is there, once the new one is complete.
        device: to quantise on.
        dtype: of what is not quantised.
        watch: told how far it has come; can call it off.

    Raises:
        ModelError: the destination is there, the disk is too small, the source cannot be loaded or
            is quantised already, or it was called off.
    """
    watch = watch or Watch()
    target = Path(destination).expanduser()
    _check_target(target, force)
    loaded = load(source, quantization=quantization, device=device, dtype=dtype, watch=watch)
    if (stored := _was_stored(source, loaded)) is not None:
        raise ModelError("nothing_to_quantise", source=source, got=stored)
    needed = bits.held_bytes(loaded.model) + ROOM_FOR_THE_REST
    if needed > (free := memory.disk_free(target.absolute().parent)):
        raise ModelError(
            "disk_full",
            source=source,
            needed=needed / 1e9,
            free=free / 1e9,
            folder=target.absolute().parent,
        )
    with _written_whole(target, force) as folder:
        write(loaded, folder, watch)
    return target


def _was_stored(source: str, loaded: Loaded) -> str | None:
    """The bits that the source itself is in; None where they were made just now."""
    quantizer = getattr(loaded.model, "hf_quantizer", None)
    return loaded.quantization if quantizer is not None and quantizer.pre_quantized else None


def write(loaded: Loaded, folder: Path, watch: Watch | None = None) -> None:
    """Writes model, processor and generation configuration into an empty folder.

    Before its first answer: a CPU lays 4-bit weights out anew for its kernels, and the way back is
    not exact to the last bit.
    """
    watch = watch or Watch()
    with watching(watch):
        # Without conversions: fused layers of the original layout cannot be put together in 4 bits.
        loaded.model.save_pretrained(folder, save_original_format=False, max_shard_size=SHARD)
    watch.check()
    loaded.processor.save_pretrained(folder)


def _check_target(target: Path, force: bool) -> None:
    if target.exists() and not force:
        raise ModelError("destination_exists", folder=target)
    if target.exists() and not (target / "config.json").is_file():
        raise ModelError("destination_foreign", folder=target)


@contextlib.contextmanager
def _written_whole(target: Path, force: bool) -> Iterator[Path]:
    """A folder beside the target that takes its name once the block has ended well."""
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.unfinished")
    replaced = target.with_name(f".{target.name}.{os.getpid()}.replaced")
    unfinished.mkdir()
    try:
        yield unfinished
        if target.exists():
            _check_target(target, force)
            target.rename(replaced)
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        if replaced.exists() and not target.exists():
            replaced.rename(target)
        shutil.rmtree(replaced, ignore_errors=True)

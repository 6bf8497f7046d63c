"""Puts the files of a hub repository into the cache, with one figure over all of them.

In: a source and a `Watch`. Out: nothing; whoever opens the source finds its files in the cache. A
broken connection is taken up where it broke; only what a model needs is fetched, never code.
"""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import constants, get_session, snapshot_download
from huggingface_hub.errors import DryRunError, HfHubHTTPError
from huggingface_hub.file_download import DryRunFileInfo
from huggingface_hub.utils import tqdm as quiet_bar

from vlm import memory
from vlm.errors import ModelError
from vlm.families import common
from vlm.model_errors import chain
from vlm.progress import Watch

SMALL_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
"""Configuration, tokenizer and processor."""
WEIGHTS = common.WEIGHT_FILES
"""The first of these kinds that a repository has is the one that is fetched."""
GGUF = "*.gguf"
"""Weights that are not read here."""


def fetch(source: str, watch: Watch) -> None:
    """Fetches what the cache does not have of every hub repository that a source names.

    Nothing happens for folders, nor where the hub cannot be reached: then the cache must do, and
    whoever opens the source says what is missing.

    Raises:
        ModelError: the disk is too small, or it was called off; nothing half-fetched stays.
        HfHubHTTPError: the hub refuses, or a file has vanished.
    """
    wanted: dict[str, list[str]] = {}
    total = 0
    for part in common.parts(source):
        if Path(part).exists() or part.count("/") != 1 or constants.HF_HUB_OFFLINE:
            continue
        files = _wanted(part, _look(part, (*SMALL_FILES, *WEIGHTS, GGUF)))
        if missing := [each for each in files if each.will_download]:
            wanted[part] = [each.filename for each in files]
            total += sum(each.file_size or 0 for each in missing)
    if not wanted:
        return
    bar = _bar_for(watch, total)
    with _room_on_disk(source, total):
        for part, names in wanted.items():
            # one file at a time: a flag that is set must not wait for seven others
            snapshot_download(part, allow_patterns=names, max_workers=1, tqdm_class=bar)
    watch.note("download", total, total)


@contextmanager
def _room_on_disk(source: str, needed: int) -> Iterator[None]:
    """Around a download of so many bytes: says that they do not fit, before or when they do not.

    Raises:
        ModelError: the disk is too small, or others have filled it meanwhile.
    """
    cache = Path(constants.HF_HUB_CACHE)

    def refusal() -> ModelError:
        free = memory.disk_free(cache) / 1e9
        return ModelError("disk_full", source=source, needed=needed / 1e9, free=free, folder=cache)

    if needed > memory.disk_free(cache):
        raise refusal()
    try:
        yield
    except Exception as error:  # what fetches in pieces says it in words of its own
        said = os.strerror(errno.ENOSPC) in str(error)
        if not said and getattr(error, "errno", None) != errno.ENOSPC:
            raise
        raise refusal() from error


def _look(repository: str, patterns: tuple[str, ...]) -> list[DryRunFileInfo]:
    """What a repository has of these files; nothing where the hub cannot be reached.

    Raises:
        DryRunError: the hub did answer, and refuses.
    """
    try:
        return snapshot_download(
            repository, allow_patterns=list(patterns), dry_run=True, tqdm_class=_Silent
        )
    except DryRunError as error:
        causes = list(chain(error))
        if any(isinstance(each, HfHubHTTPError) for each in causes):
            raise
        return []


def _wanted(repository: str, files: list[DryRunFileInfo]) -> list[DryRunFileInfo]:
    """Without weights of other kinds, and without what lies in folders of the repository.

    Raises:
        ModelError: its weights are GGUF alone.
    """
    top = [each for each in files if "/" not in each.filename]
    kinds = [kind.removeprefix("*") for kind in (*WEIGHTS, GGUF)]
    there = [kind for kind in kinds if any(each.filename.endswith(kind) for each in top)]
    if there[:1] == kinds[-1:]:
        raise ModelError("gguf_not_taken", source=repository)
    unused = tuple(kind for kind in kinds if kind not in there[:1])
    return [each for each in top if not each.filename.endswith(unused)]


@contextmanager
def asking_nobody_in_vain(source: str) -> Iterator[None]:
    """Around work on a source: where its hub cannot be reached, nobody tries any further.

    Its client would try for 20 seconds for every file that the cache lacks, and most checkpoints
    lack some of those that transformers looks for: a model that is here would take minutes.
    """
    of_hub = any(map(common.is_hub_id, common.parts(source)))
    if constants.HF_HUB_OFFLINE or not of_hub or _reachable():
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = False


def _reachable() -> bool:
    """Whether anybody answers at the hub's address, whatever it says."""
    try:
        get_session().head(constants.ENDPOINT, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except httpx2.TransportError:
        return False
    return True


class _Silent(quiet_bar):
    """A bar that nobody sees."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{**settings, "disable": True})


def _bar_for(watch: Watch, total: int) -> type[_Silent]:
    """A class of bars that adds up the bytes that are written and tells the watch."""
    lock = threading.Lock()
    done = 0

    class Bar(_Silent):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            # hub's bars for what comes over the wire count the same bytes once more
            name = settings.get("name") or ""
            self._counts = settings.get("unit") == "B" and not name.endswith(".transfer")
            super().__init__(*arguments, **settings)

        def update(self, n: float | None = 1) -> None:
            nonlocal done
            if not self._counts:
                return
            with lock:
                done += int(n or 0)
                watch.note("download", min(done, total), total)

    return Bar

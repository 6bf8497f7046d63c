"""What was measured on this machine of models in fewer bits, kept for the list of models.

In: a checkpoint and shares of tokens that stay the same (`python -m vlm compare-precision`). Out:
the same, later and in other processes. One JSON file beside the hub's cache, since it is about the
models there: {source: {precision: share}}.
"""

import contextlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import constants

log = logging.getLogger(__name__)


def place() -> Path:
    """The file, which need not be there."""
    return Path(constants.HF_HUB_CACHE).parent / "diptych" / "agreement.json"


def agreement(source: str) -> Mapping[str, float]:
    """ "int8", "nf4" or "fp4" -> share of tokens that are as likely first as in 16 bits.

    Args:
        source: a folder or hub id; nothing is known of one that was not measured here.
    """
    shares = _read().get(_key(source), {})
    if not isinstance(shares, dict):
        return {}
    return {name: float(share) for name, share in shares.items() if isinstance(share, float | int)}


def note(source: str, precision: str, share: float) -> None:
    """Keeps what was measured; where nothing can be written it is not kept, and the log says so."""
    file, found = place(), _read()
    found[_key(source)] = {**agreement(source), precision: share}
    unfinished = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(found, indent=1, sort_keys=True), encoding="utf-8")
        unfinished.replace(file)
    except OSError as error:
        log.warning("%s: %s", file, error.strerror)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()


def _key(source: str) -> str:
    path = Path(source)
    return str(path.resolve()) if path.exists() else source


def _read() -> dict[str, Any]:
    """All of it; nothing where there is none, or where somebody has damaged it."""
    try:
        found = json.loads(place().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

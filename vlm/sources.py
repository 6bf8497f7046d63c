"""What a person calls a model: a name of the catalogue, a folder, a hub id, or parts joined by "+".

In: what was typed. Out: where it lies, or a sentence where nothing that could be loaded is there.
"""

from pathlib import Path

import huggingface_hub.errors as hub_errors
from huggingface_hub import (
    constants,
    get_hf_file_metadata,
    hf_hub_url,
    list_repo_files,
    try_to_load_from_cache,
)

from vlm import families
from vlm.errors import ModelError
from vlm.families.common import WEIGHT_FILES


def look_up(source: str) -> tuple[str, str]:
    """(name for people, folder or hub id) of what a person calls a model.

    Raises:
        ModelError: nothing was named.
    """
    if not source.strip():
        raise ModelError("no_model_named")
    known = families.look_up(source)
    if known is not None:
        return known.title, known.source
    source = _expanded(source)
    return Path(families.common.parts(source)[0]).name, source


def _expanded(source: str) -> str:
    """A source with the home folder written out, also in each of several joined by "+"."""
    whole = Path(source).expanduser()
    if whole.exists():
        return str(whole)
    return "+".join(str(Path(part).expanduser()) for part in families.common.parts(source))


def check_source(source: str) -> None:
    """Says what is wrong with a folder before transformers takes it for a hub id.

    Raises:
        ModelError: no such folder or repository, or nothing in it that could be loaded.
    """
    path = Path(source)
    if not path.exists():
        _check_parts(source)
        return
    if path.suffix == ".gguf":
        raise ModelError("gguf_not_taken", source=source)
    if not path.is_dir():
        raise ModelError("not_a_folder", source=source)
    if any(path.glob("*.gguf")) and not any(any(path.glob(kind)) for kind in WEIGHT_FILES):
        raise ModelError("gguf_not_taken", source=source)
    found = sorted(each.name for each in path.iterdir())
    if "config.json" not in found:
        raise ModelError("no_config", source=source, found=", ".join(found[:8]) or "-")
    if not any(any(path.glob(pattern)) for pattern in WEIGHT_FILES):
        raise ModelError("no_weights", source=source, found=", ".join(found[:8]))
    if (absent := families.common.absent_shard(path)) is not None:
        raise ModelError("file_missing", file=absent[1], index=absent[0])


def _check_parts(source: str) -> None:
    """Says which part of a source is not there. Raises ModelError."""
    parts = families.common.parts(source)
    for part in parts:
        if not Path(part).exists():
            _check_hub(part)
    if len(parts) > 1:  # all are there, but no family takes them together
        raise _no_such(source)


def _check_hub(source: str) -> None:
    """Fails at once where the hub's client would try an unreachable network for half a minute."""
    looks_like_path = source.startswith((".", "/", "~")) or "\\" in source
    try:
        if looks_like_path or source.count("/") != 1:
            raise hub_errors.HFValidationError
        cached = try_to_load_from_cache(source, "config.json")
    except hub_errors.HFValidationError as error:
        raise _no_such(source) from error
    if isinstance(cached, str):
        return
    try:
        get_hf_file_metadata(hf_hub_url(source, "config.json"))
    except hub_errors.RemoteEntryNotFoundError as error:
        found = sorted(list_repo_files(source))
        if any(name.endswith(".gguf") for name in found):
            raise ModelError("gguf_not_taken", source=source) from error
        raise ModelError("no_config", source=source, found=", ".join(found[:8])) from error
    except hub_errors.HfHubHTTPError:
        raise  # the hub did answer
    except Exception as error:
        raise ModelError("hub_unreachable", source=source) from error


def _no_such(source: str) -> ModelError:
    known = ", ".join(each.name for each in families.catalogue() if "/" not in each.name)
    return ModelError("no_such_checkpoint", source=source, known=known)


def page_of(part: str) -> str | None:
    """The address of a hub repository's page; None for what is no name of one."""
    return f"{constants.ENDPOINT}/{part}" if families.common.is_hub_id(part) else None

"""The three parts of a checkpoint and which is which, by what lies in them. No torch.

In: a source: LLM+CLIP+ADAPTER in any order, or one folder that holds them as `llm`, `clip` and
`adapter`. Out: a folder for each. Parts may be hub ids; only the files named here are fetched.
"""

from collections.abc import Mapping
from pathlib import Path

from huggingface_hub.errors import HFValidationError

from vlm.errors import ModelError
from vlm.families import common

SAVED = "clip_qwen"
"""`model_type` of a checkpoint that was saved as one folder."""

PARTS = ("llm", "clip", "adapter")
ADAPTER_CONFIG, PROJECTOR = "adapter_config.json", "other_params.bin"
ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
"""Names of the file with the adapter; the first one there is used."""

TOKENIZER = ("qwen.tiktoken", "tokenizer.json", "tokenizer_config.json")
FILES: Mapping[str, tuple[str, ...]] = {
    "llm": ("config.json", "generation_config.json", *TOKENIZER),
    "clip": ("config.json",),
    "adapter": (ADAPTER_CONFIG, *ADAPTERS, PROJECTOR),
}
"""What is fetched of a part that is a hub repository, besides `WEIGHTS` of the first two."""

WEIGHTS = (("*.safetensors", "*.safetensors.index.json"), ("*.bin", "*.bin.index.json"))
"""The first kind that is there is fetched."""


def recognises(source: str) -> bool:
    """Whether a folder, a hub id or several joined by "+" are of this family.

    A part alone is one too, so that `open` can say what is missing.
    """
    if common.model_type(source) == SAVED:
        return True
    return any(role(part) in ("llm", "adapter") for part in inner(source))


def inner(source: str) -> tuple[str, ...]:
    """The parts of a source: those that it joins, or those that lie in the one folder."""
    parts = common.parts(source)
    if len(parts) > 1 or not Path(source).is_dir():
        return parts
    found = [str(Path(source) / name) for name in PARTS if (Path(source) / name).is_dir()]
    return tuple(found) or parts


def role(part: str) -> str | None:
    """Which of `PARTS` lies in a folder or in the cached files of a hub repository."""
    config = common.read_json(part)
    if config.get("model_type") == "qwen" and "visual" not in config:  # that is Qwen-VL
        return "llm"
    if config.get("model_type") == "clip":
        return "clip"
    if common.read_json(part, ADAPTER_CONFIG) or _holds(part, PROJECTOR):
        return "adapter"
    return None


def _holds(part: str, file: str) -> bool:
    try:
        return bool(part) and (Path(part) / file).is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def find_parts(source: str, weights: bool = True) -> dict[str, Path]:
    """A folder for each of `PARTS`.

    Args:
        source: see above.
        weights: whether those of hub repositories are fetched too.

    Raises:
        ModelError: a part is missing, there twice, or none of the three.
    """
    found: dict[str, str] = {}
    for part in inner(source):
        try:
            kind = role(str(_folder(part, "config.json", ADAPTER_CONFIG)))
        except HFValidationError:  # no name that a repository can have
            kind = None
        if kind is None:
            raise ModelError("part_not_expected", source=source, part=part)
        if kind in found:
            raise ModelError("part_twice", source=source, first=found[kind], second=part)
        found[kind] = part
    if missing := [name for name in PARTS if name not in found]:
        raise ModelError(
            "parts_missing", source=source, found=", ".join(found), missing=", ".join(missing)
        )
    # fetched once all is there
    return {name: _whole(found[name], name, weights) for name in PARTS}


def _folder(part: str, *patterns: str) -> Path:
    if Path(part).is_dir():
        return Path(part)
    if part.count("/") != 1:  # not OWNER/NAME
        raise HFValidationError(part)
    return fetch(part, *patterns)


def _whole(part: str, kind: str, weights: bool) -> Path:
    """The folder of a part with everything that is needed of it."""
    if Path(part).is_dir():
        return Path(part)
    files = FILES[kind]
    if not weights:
        files = tuple(name for name in files if name not in (*ADAPTERS, PROJECTOR))
    folder = fetch(part, *files)
    if kind == "adapter" or not weights:
        return folder
    for patterns in WEIGHTS:
        folder = fetch(part, *patterns)
        if any(folder.glob(patterns[0])):
            break
    return folder


def fetch(part: str, *patterns: str) -> Path:
    """The folder with those files of a hub repository that fit; no code is among them."""
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(part, allow_patterns=list(patterns)))


def adapter_file(folder: Path) -> Path:
    """The file with the adapter.

    Raises:
        ModelError: it, its configuration or the projector is not there.
    """
    model = next((folder / name for name in ADAPTERS if (folder / name).is_file()), None)
    needed = {ADAPTERS[-1]: model is not None}
    needed |= {name: (folder / name).is_file() for name in (ADAPTER_CONFIG, PROJECTOR)}
    if missing := [name for name, there in needed.items() if not there]:
        raise ModelError("part_incomplete", folder=folder, missing=", ".join(missing))
    assert model is not None
    return model

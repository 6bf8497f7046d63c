"""Where the parts of a checkpoint lie: language model with projector, vision tower, tokenizer.

A source is `LLM+TOWER[+TOKENIZER]`, each a path or a hub id and the first a `.pth` or an export,
or a folder that holds them under the published names. Neither torch nor transformers.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlm.errors import ModelError
from vlm.families import common

MODEL_TYPE = "minimind-v"
TOWER_TYPES = ("clip", "clip_vision_model", "siglip", "siglip_vision_model")
NAFLEX_TYPES = ("siglip2", "siglip2_vision_model")
"""`model_type` of the folders that count as towers; the second kind only to be refused by name."""

TOWERS = ("vision_model/clip-vit-base-patch16", "siglip2-base-p32-256-ve")
TOWER_PLACES = (*TOWERS, *(f"model/{place}" for place in TOWERS))
TOKENIZER_PLACES = ("tokenizer", "hf_export", "model/minimind_tokenizer", "model", ".")
WEIGHT_PLACES = (".", "out")
"""Below a folder of ours, or a clone of the published repository."""

SETTINGS = "upstream_args.json"
"""May lie beside a `.pth`: the arguments that it was made with, as {"VLMConfig": {...}}."""

SMALL = ("*.json", "*.txt", "*.jinja")
WEIGHTS = (("*.safetensors",), ("*.bin",))


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Where to read what.

    Attributes:
        language: the `.pth` or the folder of an export.
        tower: folder of the vision tower; None where there is none besides the language model.
        words: folder of the tokenizer; None likewise.
        settings: published settings, as far as a file says any.
    """

    language: Path
    tower: Path | None = None
    words: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def recognises(source: str) -> bool:
    """Whether a source is one of this family, by what lies there."""
    first = common.parts(source)[0]
    if not first:
        return False
    if common.model_type(first) == MODEL_TYPE:
        return True
    try:
        path = Path(first)
        if path.suffix == ".pth":
            return path.is_file()
        if not path.is_dir() or (path / common.CONFIG).exists():
            return False
        files = _checkpoints(path)
        return any("vlm" in file.name for file in files) or bool(
            files and _tower_below(path) is not None
        )
    except (OSError, ValueError):  # a name that no file can have
        return False


def locate(source: str, tokenizer: str | None = None) -> Parts:
    """Finds the parts of a source; those on the hub are fetched, but no code.

    Args:
        source: see above.
        tokenizer: another folder or hub id to take the tokenizer from.

    Raises:
        ModelError: a folder holds several checkpoints, or a named part holds nothing of use.
    """
    first, *others = common.parts(source)
    language = _language(first)
    around = [language, language.parent] if language.is_dir() else [language.parent]
    if around[-1].name == "out":
        around.append(around[-1].parent)
    tower = words = None
    for other in others:
        kind = common.model_type(other)
        if kind in TOWER_TYPES + NAFLEX_TYPES:
            tower = tower or _fetch(other, weights=True)
        elif _has_tokenizer(folder := _fetch(other)):
            words = words or folder
        else:
            raise ModelError("part_unknown", part=other, source=source)
    if tower is None:
        tower = next(filter(None, map(_tower_below, around)), None)
    if tokenizer is not None:
        words = _fetch(tokenizer)
    elif words is None:
        places = (folder / place for folder in around for place in TOKENIZER_PLACES)
        words = next(filter(_has_tokenizer, places), None)
    return Parts(language=language, tower=tower, words=words, settings=_settings(language))


def _language(first: str) -> Path:
    """The `.pth` or the export that the first part of a source means."""
    path = Path(first)
    if path.is_file():
        return path
    if common.model_type(first) == MODEL_TYPE:
        return _fetch(first, weights=True)
    files = _checkpoints(path)
    if len(files) != 1:
        raise ModelError(
            "several_checkpoints", source=first, found=", ".join(file.name for file in files) or "-"
        )
    return files[0]


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(file for place in WEIGHT_PLACES for file in (folder / place).glob("*.pth"))


def _tower_below(folder: Path) -> Path | None:
    places = (folder / place for place in TOWER_PLACES)
    known = TOWER_TYPES + NAFLEX_TYPES
    return next((each for each in places if common.model_type(str(each)) in known), None)


def _has_tokenizer(folder: Path) -> bool:
    return (folder / "tokenizer.json").is_file()


def _settings(language: Path) -> dict[str, Any]:
    """What is written about a language model: in its folder, or beside it."""
    if language.is_dir():
        return common.read_json(str(language))
    folder = str(language.parent)
    given = common.read_json(folder, SETTINGS)
    said: dict[str, Any] = {}
    for part in ("VLMConfig", "effective"):
        if isinstance(fields := given.get(part), dict):
            said |= {name: value for name, value in fields.items() if value is not None}
    if not said and common.model_type(folder) == MODEL_TYPE:
        said = common.read_json(folder)
    return said


def _fetch(part: str, weights: bool = False) -> Path:
    """The folder of a part; of a hub repository its small files, and weights of one kind."""
    if Path(part).is_dir() or not common.is_hub_id(part):
        return Path(part)
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download(part, allow_patterns=list(SMALL)))
    for patterns in WEIGHTS if weights else ():
        if any(any(folder.glob(pattern)) for pattern in patterns):
            break
        folder = Path(snapshot_download(part, allow_patterns=[*SMALL, *patterns]))
    return folder

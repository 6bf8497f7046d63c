"""What families share: what lies at a source, the loss, counts, tokenizers for tests. No torch.

A source is a folder, a hub id OWNER/NAME, or several of these joined by "+". Only `fetch_config`
touches the network, once, so that every family can be asked about a source afterwards.
"""

import contextlib
import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from vlm.inspection import Figure

CONFIG = "config.json"

WEIGHT_FILES = ("*.safetensors", "*.bin", "*.pth")
"""Of several kinds in one folder the first is the one that is read."""


def parts(source: str) -> tuple[str, ...]:
    """The folders or hub ids that a source joins; a folder whose name has a "+" stays one."""
    if Path(source).exists():
        return (source,)
    return tuple(part.strip() for part in source.split("+"))


def fetched_folder(source: str, *files: tuple[str, ...]) -> Path:
    """The folder of a checkpoint; of a hub repository only these files are fetched, no code."""
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    patterns = [pattern for each in files for pattern in each]
    return Path(snapshot_download(source, allow_patterns=patterns))


def read_json(source: str, file: str = CONFIG) -> dict[str, Any]:
    """A JSON object of a folder or of a hub repository's cached files; empty where there is none.

    A file that is damaged counts as none: who is asked whether a source is theirs says no, and
    the loader says why.
    """
    try:
        path = Path(source) / file
        if not path.is_file():
            cached = _cached(source, file)
            if cached is None:
                return {}
            path = cached
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no such file, no JSON, or a name no file can have
        return {}
    return read if isinstance(read, dict) else {}


def model_type(source: str) -> str:
    """What config.json calls its model; empty where it does not say."""
    name = read_json(source).get("model_type")
    return name if isinstance(name, str) else ""


def fetch_config(source: str) -> None:
    """Puts config.json of each hub repository of a source into the cache, if it can be had.

    One request for each; where that fails (no network, no such repository, a licence to accept)
    nothing happens, and whoever loads the checkpoint says why.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    for part in parts(source):
        if not is_hub_id(part) or _cached(part, CONFIG) is not None:
            continue
        try:
            get_hf_file_metadata(hf_hub_url(part, CONFIG), timeout=10)
            hf_hub_download(part, CONFIG)
        except EntryNotFoundError:
            continue  # the hub did answer: a part that is no model, such as an adapter
        except Exception:  # the hub's client raises what its connection raises
            return


def is_hub_id(source: str) -> bool:
    """Whether a name has the form OWNER/NAME and is no folder."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        if source.count("/") != 1 or source.startswith((".", "/", "~")) or Path(source).exists():
            return False
        validate_repo_id(source)
    except (HFValidationError, ValueError, OSError):
        return False
    return True


def _cached(source: str, file: str) -> Path | None:
    """Where the hub's cache holds a file of a repository."""
    from huggingface_hub import try_to_load_from_cache

    if not is_hub_id(source):
        return None
    found = try_to_load_from_cache(source, file)
    return Path(found) if isinstance(found, str) else None


def kept_folder(part: str) -> Path | None:
    """Where a part lies on this machine with all its weights: a path, or in the hub's cache."""
    if not is_hub_id(part):
        return Path(part) if Path(part).exists() else None
    config = _cached(part, CONFIG)
    if config is None or absent_shard(config.parent) is not None:
        return None
    there = any(any(config.parent.glob(kind)) for kind in WEIGHT_FILES)
    return config.parent if there else None


def is_described_here(source: str) -> bool:
    """Whether what is read of a model without its weights lies on this machine, in every part.

    Its configuration, that of its processor, and its tokenizer.
    """
    for part in parts(source):
        config = Path(part) / CONFIG if Path(part).exists() else _cached(part, CONFIG)
        if config is None:
            return False
        if not all(any(config.parent.glob(kind)) for kind in ("*processor_config.json", "token*")):
            return False
    return True


def absent_shard(folder: Path) -> tuple[str, str] | None:
    """(index, file) of the first file that an index of weights names and that is not there.

    Only the kind of weights that is read counts: many repositories have an index of each.
    """
    for kind in WEIGHT_FILES:
        indices = sorted(folder.glob(f"{kind}.index.json"))
        for index in indices:
            shards = json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values()
            absent = sorted(name for name in set(shards) if not (folder / name).exists())
            if absent:
                return index.name, absent[0]
        if indices or any(folder.glob(kind)):
            return None
    return None


# ---- training ----


class ImagesDoNotCount:
    """Before a model class: its loss leaves out the positions of images, as if labelled -100.

    What stands there is a placeholder that no model says; the loss at the other positions is the
    usual one, each token told by those before it.
    """

    @property
    def loss_function(self) -> Callable[..., Any]:
        """The model's own, called with labels (batch, tokens) and logits."""
        own = super().loss_function  # type: ignore[misc]
        placeholder = self.config.image_token_id  # type: ignore[attr-defined]

        def loss(*, logits: Any, labels: Any, **settings: Any) -> Any:
            return own(
                logits=logits, labels=labels.masked_fill(labels == placeholder, -100), **settings
            )

        return loss


# ---- placeholders ----


class CountsPlaceholders:
    """Before a native model class: a wrong count of placeholders is refused in a sentence."""

    def get_placeholder_mask(
        self, input_ids: "Tensor | None", inputs_embeds: "Tensor", image_features: "Tensor"
    ) -> "Tensor":
        """Where features go: (batch, tokens, 1).

        Raises:
            ValueError: the number of the placeholder is not known.
            RequestError: there are not as many placeholders as features.
        """
        placeholder = self.config.image_token_id  # type: ignore[attr-defined]
        if placeholder is None:
            raise ValueError("config.image_token_id is None; set it to the tokenizer's number")
        expected = image_features.shape[:-1].numel()
        if input_ids is not None:
            found = int((input_ids == placeholder).sum())
            if found != expected:
                raise RequestError("placeholder_count", found=found, expected=expected)
        return super().get_placeholder_mask(  # type: ignore[misc]
            input_ids, inputs_embeds, image_features
        )


class CountsImages:
    """Before a processor class: texts with more or fewer places for images than there are images
    are refused in a sentence."""

    def validate_inputs(self, images: Any = None, text: Any = None, **settings: Any) -> None:
        """As natively. Raises RequestError."""
        check_image_count(self.image_token, images, text)  # type: ignore[attr-defined]
        super().validate_inputs(images, text, **settings)  # type: ignore[misc]


def check_image_count(token: str, images: Any, text: Any) -> None:
    """Raises RequestError unless texts have `token` once for each image.

    Args:
        token: what stands for an image.
        images: of all texts, nested or not; None: no image.
        text: one or several; None: pixels alone are asked for.
    """
    from transformers.image_utils import make_flat_list_of_images

    texts = [text] if isinstance(text, str) else text or []
    if text is None or not all(isinstance(each, str) for each in texts):
        return
    flat: Any = [] if images is None else make_flat_list_of_images(images)
    found = sum(each.count(token) for each in texts)
    if found != len(flat):
        raise RequestError("placeholder_count", found=found, expected=len(flat))


# ---- what a picture explains ----


def stored_positions(table: "Tensor", side: int, before: int = 0) -> "list[Figure]":
    """A tower's table of learned positions as its grid; without weights, what is used of it.

    Args:
        table: (before + places, width), of a square of places.
        side: rows, and columns, of the patches that it is used for.
        before: rows that stand for no patch, such as that of the class token.
    """
    from vlm.inspection import Figure

    stored = math.isqrt(table.shape[0] - before)
    facts = {"stored": stored, "side": side}
    if not table.is_meta:
        grid = table[before:].detach().float().unflatten(0, (stored, stored))
        return [Figure("positions", grid.cpu().numpy(), facts)]  # (rows, columns, width)
    import numpy

    line = (2 * numpy.arange(side) + 1) * stored // (2 * side)  # (side,): where a middle lies
    return [Figure("table", line[:, None] * stored + line, facts)]


# ---- where no published tokenizer is at hand ----


@contextlib.contextmanager
def folder_of(tokenizer: "PreTrainedTokenizerFast") -> Iterator[Path]:
    """A folder with a tokenizer in it, for as long as it takes to make a processor."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder, save_jinja_files=False)
        yield Path(folder)


# ---- for tiny checkpoints ----

PADDING_ROWS = 1200
"""Words kept free in a tiny vocabulary for tokens that a processor adds to its tokenizer."""


def randomise(model: "PreTrainedModel") -> None:
    """Gives every weight of a tiny model a size that matters; the same ones each time.

    As transformers begins them, every output would be nearly the same.
    """
    import torch

    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.2)


def byte_tokenizer(
    special: Mapping[str, str],
    more: Sequence[str] = (),
    template: str | None = None,
    words: int = 0,
) -> "PreTrainedTokenizerFast":
    """A tokenizer of single bytes, made on the spot, where no published one is at hand.

    Args:
        special: tokens with a role, numbered from 0: {"eos_token": "<eos>"}.
        more: further special tokens.
        template: Jinja text that writes a conversation.
        words: fills the vocabulary up with tokens that no text has, until there are so many.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*special.values(), *alphabet]
    tokens += [f"<unused {number}>" for number in range(len(tokens), words - len(more))]
    core = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([*special.values(), *more])
    return PreTrainedTokenizerFast(tokenizer_object=core, chat_template=template, **special)

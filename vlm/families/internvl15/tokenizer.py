"""The tokenizer of a checkpoint, of whatever kind, without running its code.

In: a folder. Out: a fast tokenizer that pads on the left. InternLM2 publishes a sentencepiece
model and a class of its own; the model is read here.
"""

import json
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, processors
from tokenizers.models import BPE
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import generate_merges

from vlm.errors import ModelError

OWN_CLASSES = ("InternLM2Tokenizer", "InternLM2TokenizerFast")
SPACE = "▁"


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """Reads the tokenizer in a folder.

    Raises:
        ModelError: there is none, or its sentencepiece model is damaged.
    """
    folder = Path(folder)
    settings = _settings(folder / "tokenizer_config.json")
    own = settings.get("tokenizer_class") in OWN_CLASSES or "auto_map" in settings
    if own and (folder / "tokenizer.json").exists():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    elif own and (folder / "tokenizer.model").exists():
        tokenizer = from_sentencepiece(folder, settings)
    elif not any((folder / name).exists() for name in ("tokenizer.json", "tokenizer_config.json")):
        raise ModelError("no_tokenizer", source=folder)
    else:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    tokenizer.padding_side = "left"
    return tokenizer


def from_sentencepiece(folder: Path, settings: dict[str, Any]) -> PreTrainedTokenizerFast:
    """A fast tokenizer that says the same as InternLM2's own class.

    Args:
        folder: with `tokenizer.model`.
        settings: of `tokenizer_config.json`; may name added tokens and whether `<s>` goes first.

    Raises:
        ModelError: `tokenizer.model` cannot be read.
    """
    file = folder / "tokenizer.model"
    pieces = SentencePieceProcessor()
    try:
        pieces.Load(str(file))
    except (OSError, RuntimeError) as error:
        raise ModelError("file_damaged", file=file, detail=error) from error
    core = _core(pieces)
    bos, eos, unknown = (
        _text(settings.get(name), default)
        for name, default in (("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>"))
    )
    core.add_special_tokens([unknown, bos, eos])  # known already: they keep their numbers
    for token in _added(folder, settings):
        core.add_tokens([token]) if not token.special else core.add_special_tokens([token])
    if settings.get("add_bos_token", True):
        core.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A",
            pair=f"{bos} $A {bos} $B",
            special_tokens=[(bos, core.token_to_id(bos))],
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=bos,
        eos_token=eos,
        unk_token=unknown,
        pad_token=_text(settings.get("pad_token"), eos),
        clean_up_tokenization_spaces=False,
    )


def _core(pieces: SentencePieceProcessor) -> Tokenizer:
    """Byte-pair encoding with the same pieces, and bytes for what has none."""
    count = pieces.GetPieceSize()
    vocabulary = {pieces.IdToPiece(number): number for number in range(count)}
    scores = {pieces.IdToPiece(number): pieces.GetScore(number) for number in range(count)}
    core = Tokenizer(
        BPE(
            vocabulary,
            generate_merges(vocabulary, scores),
            unk_token=pieces.IdToPiece(pieces.unk_id()),
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    prefixed = pieces.EncodeAsPieces("a")[0].startswith(SPACE)
    steps: list[Any] = [normalizers.Replace(" ", SPACE)]
    back: list[Any] = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if prefixed:
        steps.insert(0, normalizers.Prepend(SPACE))
        back.append(decoders.Strip(content=" ", left=1))
    core.normalizer = normalizers.Sequence(steps)
    core.decoder = decoders.Sequence(back)
    return core


def _added(folder: Path, settings: dict[str, Any]) -> list[AddedToken]:
    """Tokens after the vocabulary of the model, in the order of their numbers."""
    listed = settings.get("added_tokens_decoder") or {}
    tokens = {int(number): AddedToken(**entry) for number, entry in listed.items()}
    for text, number in _settings(folder / "added_tokens.json").items():
        tokens.setdefault(number, AddedToken(text, special=True, normalized=False))
    return [tokens[number] for number in sorted(tokens)]


def _text(token: Any, default: str) -> str:
    """A token that may be written as a text or as an object."""
    if isinstance(token, dict):
        return token["content"]
    return token or default


def _settings(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

"""The tokenizer of Qwen v1 without running its code.

In: a folder with `qwen.tiktoken`, or with `tokenizer.json`. Out: a fast tokenizer that pads on the
left and says the same as tiktoken with the same ranks.
"""

import base64
import binascii
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from vlm.errors import ModelError
from vlm.families.clip_qwen.templates import END, END_OF_TEXT, PLACEHOLDER, START

RANKS, WHOLE = "qwen.tiktoken", "tokenizer.json"
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How text is cut before pairs of bytes are merged: Qwen's own."""

SPECIAL = (END_OF_TEXT, START, END, *(f"<|extra_{number}|>" for number in range(205)))
"""Numbered after the ranks, in this order: 151643 to 151850 with the published ones."""


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """Reads the tokenizer in a folder.

    Raises:
        ModelError: there is none, it is damaged, or it does not know a token of every prompt.
    """
    folder = Path(folder)
    if (folder / RANKS).is_file():
        tokenizer = from_ranks(folder / RANKS)
    elif (folder / WHOLE).is_file():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    else:
        raise ModelError("no_ranks", source=folder)
    vocabulary = tokenizer.get_vocab()
    for token in (START, END, END_OF_TEXT, PLACEHOLDER):
        if token not in vocabulary:
            raise ModelError("token_unknown", tokenizer=folder, token=token)
    tokenizer.eos_token = tokenizer.pad_token = END_OF_TEXT
    tokenizer.padding_side = "left"
    return tokenizer


def from_ranks(file: Path) -> PreTrainedTokenizerFast:
    """A fast tokenizer of a file of ranks, as tiktoken has them.

    Raises:
        ModelError: the file cannot be read, leaves out a byte or a number, or holds a token that
            no two others make.
    """
    ranks = read_ranks(file)
    letters = _letters()
    written = {token: "".join(letters[byte] for byte in token) for token in ranks}
    core = Tokenizer(
        BPE(
            {written[token]: rank for token, rank in ranks.items()},
            [(written[left], written[right]) for left, right in _merges(ranks, file)],
            ignore_merges=True,  # a whole word that has a number keeps it, as in tiktoken
        )
    )
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        name_or_path=str(file.parent),
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def read_ranks(file: Path) -> dict[bytes, int]:
    """Bytes of a token -> its rank, in order of ranks.

    Raises:
        ModelError: the file cannot be read, or leaves out a byte or a number.
    """
    try:
        rows = [line.split() for line in file.read_bytes().splitlines() if line]
        ranks = {base64.b64decode(token, validate=True): int(rank) for token, rank in rows}
    except (OSError, ValueError, binascii.Error) as error:
        raise ModelError("file_damaged", file=file, detail=error) from error
    whole = sorted(ranks.values()) == list(range(len(rows)))
    if not whole or not all(bytes([byte]) in ranks for byte in range(256)):
        detail = f"{len(ranks)} tokens in {len(rows)} lines do not number every byte from 0"
        raise ModelError("file_damaged", file=file, detail=detail)
    return dict(sorted(ranks.items(), key=lambda each: each[1]))


def _merges(ranks: dict[bytes, int], file: Path) -> list[tuple[bytes, bytes]]:
    """Every pair of tokens that makes a third one, in the order of what they make.

    tiktoken merges any such pair; the one pair that a token came from in training is not enough,
    as its neighbours may have taken a part of it before.
    """
    found: list[tuple[bytes, bytes]] = []
    for token in ranks:
        if len(token) == 1:
            continue
        cuts = [(token[:at], token[at:]) for at in range(1, len(token))]
        pairs = [pair for pair in cuts if pair[0] in ranks and pair[1] in ranks]
        if not pairs:
            detail = f"nothing makes the token {token!r}"
            raise ModelError("file_damaged", file=file, detail=detail)
        found += sorted(pairs, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
    return found


def _letters() -> dict[int, str]:
    """The letter that stands for each byte in a vocabulary of byte-level BPE."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    moved = {byte: chr(256 + place) for place, byte in enumerate(others)}
    return {byte: chr(byte) for byte in printable} | moved

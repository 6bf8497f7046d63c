"""A file of ranks gives the same numbers as tiktoken does with it."""

import base64
import itertools
import random
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from vlm.errors import ModelError
from vlm.families.clip_qwen.tokenizer import (
    PATTERN,
    RANKS,
    SPECIAL,
    load_tokenizer,
    read_ranks,
)

TEXT = """The cat sat on the mat, and that was that; isn't it? It's 42 or 1024 things.
图片里有什么？这幅图像中有一只猫和一只狗，用中文回答。你好，您好！描述图片。图片 图片 图片
aaaa aaaaaa abab ababab the the them then there other another   spaces\t\ttabs\n\n\nlines
=== ---- .... ::: (((a))) [[b]] {{c}} http://a.b/c?d=e 🙂🙂🙃 e\u0301e\u0301 ñandú über naïve
"""
MERGES = 250


def trained(text: str) -> list[bytes]:
    """Every byte, and pairs that are frequent in a text, by byte-pair encoding."""
    words = [[bytes([byte]) for byte in f" {word}".encode()] for word in text.split()]
    tokens = [bytes([byte]) for byte in range(256)]
    for _ in range(MERGES):
        pairs = Counter(pair for word in words for pair in itertools.pairwise(word))
        if not pairs:
            break
        (left, right), _ = max(pairs.items(), key=lambda each: (each[1], each[0]))
        tokens.append(left + right)
        words = [_joined(word, left, right) for word in words]
    return list(dict.fromkeys(tokens))


def _joined(word: list[bytes], left: bytes, right: bytes) -> list[bytes]:
    found: list[bytes] = []
    for part in word:
        if found and found[-1] == left and part == right:
            found[-1] = left + right
        else:
            found.append(part)
    return found


def write(folder: Path, tokens: list[bytes]) -> Path:
    rows = [f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(tokens)]
    (folder / RANKS).write_text("\n".join(rows) + "\n", encoding="ascii")
    return folder / RANKS


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("ranks"), trained(TEXT))


@pytest.fixture(scope="module")
def ours(file: Path) -> Any:
    return load_tokenizer(file.parent)


@pytest.fixture(scope="module")
def theirs(file: Path) -> tiktoken.Encoding:
    ranks = read_ranks(file)
    special = {text: len(ranks) + number for number, text in enumerate(SPECIAL)}
    return tiktoken.Encoding(
        "ranks", pat_str=PRETOKENIZE_REGEX, mergeable_ranks=ranks, special_tokens=special
    )


ALPHABETS = (
    "abcdehtnx",
    " \n\r\t\u00a0\u3000",
    "0123456789²½Ⅳ٣",
    ".,;:!?'\"-_()[]<>|/=",
    "图片里有什么这幅像中一只猫和狗",
    "🙂🙃👩‍👧🇨🇳",
    "éñüſİßK\u0301\u0308\u200d\u0085\u2028",
)
PIECES = (
    "'s",
    "'LL",
    "don't",
    "the",
    " the",
    "ab",
    "\n\n",
    "   ",
    *SPECIAL[:5],
    "<|extra_",
    "图片",
)


def random_texts(count: int) -> list[str]:
    chance = random.Random(0)
    return [
        "".join(
            chance.choice(PIECES)
            if chance.random() < 0.3
            else chance.choice(chance.choice(ALPHABETS))
            for _ in range(chance.randint(1, 40))
        )
        for _ in range(count)
    ]


def test_the_same_numbers_as_tiktoken(ours: Any, theirs: tiktoken.Encoding) -> None:
    merged = 0
    for text in [TEXT, "", *random_texts(2000)]:
        composed = unicodedata.normalize("NFC", text)
        if any(mark in composed + text for mark in ("\u226f", ">\u0338")):
            continue  # composed with the end of a special token, which upstream then overlooks
        expected = theirs.encode(composed, allowed_special="all")
        assert ours(text)["input_ids"] == expected, text
        assert ours.decode(expected) == theirs.decode(expected), text
        merged += sum(256 <= number < 256 + MERGES for number in expected)
    assert merged > 1000


def test_pairs_are_merged_whatever_their_neighbours_took(tmp_path: Path) -> None:
    """ "abc" comes from "ab" and "c"; after "xa" took the a, "bc" must still be found."""
    letters = [bytes([byte]) for byte in range(256)]
    file = write(tmp_path, [*letters, b"xa", b"ab", b"abc", b"bc", b"aab", b"aa"])
    ours, ranks = load_tokenizer(tmp_path), read_ranks(file)
    theirs = tiktoken.Encoding("r", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
    for number in range(3**7):
        text = "".join("xabc"[number // 3**place % 3 + (place % 2)] for place in range(7))
        assert ours(text)["input_ids"] == theirs.encode(text), text


def test_text_is_cut_as_the_later_qwen_models_do() -> None:
    """With the published ranks, too, the stored ids of prompts came out; digits stand alone."""
    assert PATTERN == PRETOKENIZE_REGEX


def test_special_tokens_follow_the_ranks(ours: Any, file: Path) -> None:
    first = len(read_ranks(file))
    assert ours.convert_tokens_to_ids(list(SPECIAL)) == list(range(first, first + 208))
    assert SPECIAL[:4] == ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|extra_0|>")
    assert SPECIAL[-1] == "<|extra_204|>"
    assert len(ours) == first + 208
    assert ours.eos_token == ours.pad_token == "<|endoftext|>"
    assert ours.bos_token is None
    assert ours.padding_side == "left"


def test_nothing_is_put_before_a_text_and_special_tokens_are_read(ours: Any) -> None:
    ids = ours("a<|extra_0|>b")["input_ids"]
    assert ids == [97, ours.convert_tokens_to_ids("<|extra_0|>"), 98]
    assert ours.decode(ids) == "a<|extra_0|>b"


def test_saved_it_is_read_again(ours: Any, tmp_path: Path) -> None:
    ours.save_pretrained(tmp_path)
    assert not (tmp_path / RANKS).exists()
    again = load_tokenizer(tmp_path)
    for text in [TEXT, *random_texts(50)]:
        assert again(text)["input_ids"] == ours(text)["input_ids"]
    assert (again.eos_token, again.padding_side) == ("<|endoftext|>", "left")


# ---- files that cannot be used ----


@pytest.mark.parametrize(
    "text",
    ["", "YQ==", "YQ== x", "???? 1", "YQ== 0", "\n".join(f"YQ== {n}" for n in range(300))],
)
def test_a_damaged_file(tmp_path: Path, text: str) -> None:
    (tmp_path / RANKS).write_text(text)
    with pytest.raises(ModelError, match=rf"{RANKS} cannot be read"):
        load_tokenizer(tmp_path)


def test_a_number_that_is_left_out(file: Path, tmp_path: Path) -> None:
    rows = file.read_text().splitlines()
    (tmp_path / RANKS).write_text("\n".join(rows[:300] + rows[301:]))
    with pytest.raises(ModelError, match="do not number every byte"):
        load_tokenizer(tmp_path)


def test_a_token_that_nothing_makes(tmp_path: Path) -> None:
    write(tmp_path, [*(bytes([byte]) for byte in range(256)), b"abcd"])
    with pytest.raises(ModelError, match="nothing makes the token b'abcd'"):
        load_tokenizer(tmp_path)


def test_no_tokenizer_at_all(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"qwen\.tiktoken or tokenizer\.json is expected"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_of_another_model(tmp_path: Path) -> None:
    from vlm.families import common

    common.byte_tokenizer({"eos_token": "<|endoftext|>"}).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"does not know <\|im_start\|>"):
        load_tokenizer(tmp_path)

"""The sentencepiece model that InternLM2 publishes, read without its code."""

import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from vlm.errors import ModelError
from vlm.families.internvl15.tokenizer import load_tokenizer

SPECIAL = ["<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>"]
TEXTS = [
    "the cat sat on the mat",
    "  two  spaces and a\nline break\t",
    "书生多模态大模型，英文名叫InternVL, 是一个助手。",
    "never seen: ☃ é 🐈",
    "a",
    "",
]


@pytest.fixture(scope="module", params=[False, True], ids=["as published", "with a prefix"])
def folder(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-pair model with bytes for what it lacks, as InternLM2's is."""
    folder = tmp_path_factory.mktemp("words")
    text = folder / "text.txt"
    lines = [
        "the cat sat on the mat and the dog sat on the cat",
        "two spaces and a line break in the middle",
        "书生多模态大模型，英文名叫 InternVL, 是一个有用无害的人工智能助手。",
    ]
    text.write_text("\n".join(lines * 20), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.Train(
        input=str(text),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=420,
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        add_dummy_prefix=request.param,
        remove_extra_whitespaces=False,
        split_digits=True,
        num_threads=1,
        minloglevel=2,
    )
    settings = {
        "tokenizer_class": "InternLM2Tokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_internlm2.InternLM2Tokenizer", None]},
        "added_tokens_decoder": {
            str(420 + number): {"content": token, "special": True, "normalized": False}
            for number, token in enumerate(SPECIAL)
        },
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


@pytest.fixture
def pieces(folder: Path) -> Any:
    model = sentencepiece.SentencePieceProcessor()
    model.Load(str(folder / "tokenizer.model"))
    return model


@pytest.mark.parametrize("text", TEXTS)
def test_says_the_same_as_sentencepiece(folder: Path, pieces: Any, text: str) -> None:
    words = load_tokenizer(folder)
    wanted = pieces.EncodeAsIds(text)
    assert words(text)["input_ids"] == [1, *wanted]
    assert words(text, add_special_tokens=False)["input_ids"] == wanted
    assert words.decode(wanted) == pieces.DecodeIds(wanted)


def test_special_tokens(folder: Path) -> None:
    words = load_tokenizer(folder)
    assert words.convert_tokens_to_ids(SPECIAL) == list(range(420, 425))
    assert words(f"a{SPECIAL[4]}{SPECIAL[4]}", add_special_tokens=False)["input_ids"][-2:] == [
        424,
        424,
    ]
    assert (words.bos_token_id, words.eos_token_id, words.pad_token) == (1, 2, "</s>")
    assert words.padding_side == "left"
    assert words.decode([420, 424, 1], skip_special_tokens=True) == ""


def test_names_of_added_tokens_in_a_file_of_their_own(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes((folder / "tokenizer.model").read_bytes())
    settings = {"tokenizer_class": "InternLM2Tokenizer"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    added = {token: 420 + number for number, token in enumerate(SPECIAL)}
    (tmp_path / "added_tokens.json").write_text(json.dumps(added), encoding="utf-8")
    assert load_tokenizer(tmp_path).convert_tokens_to_ids(SPECIAL) == list(added.values())


def test_survives_saving_and_loading(folder: Path, tmp_path: Path) -> None:
    words = load_tokenizer(folder)
    words.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path)
    for text in TEXTS:
        assert again(text)["input_ids"] == words(text)["input_ids"]


def test_damaged_model(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"no model")
    settings = {"tokenizer_class": "InternLM2Tokenizer"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(ModelError, match=r"tokenizer\.model cannot be read"):
        load_tokenizer(tmp_path)

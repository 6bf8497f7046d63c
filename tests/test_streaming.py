"""Tokens become text at once and for good; stop texts cut it, wherever the pieces end."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerFast

from vlm.backend import Event, TextDelta
from vlm.streaming import Halt, IncrementalText, StopTexts, TokenStream

from .support import tiny

ASSETS = Path(__file__).parents[1] / "assets"
TEXTS = {
    "spaces": "  Two  blanks, a\ttab\n\n and a trailing one ",
    "chinese": "你好，世界。図書館、한국어",
    "emoji": "so 😀🎉 it 🇩🇪 goes 1️⃣",
    "joined emoji": "a 👩‍👩‍👧‍👦 and 🏳️‍🌈 and 👍🏽",
    "combining": "e\u0301 a\u0308\u0323 नमस्ते",
    "code": "def f(x):\n    return {'a': [x**2 for x in range(10)]}\n",
    "punctuation": "Well , is n't it ? ' quoted ' .",
    "one": "a",
}
STEP_GUARD = settings(max_examples=60, deadline=None)


def _sentencepiece_like() -> PreTrainedTokenizerFast:
    """As Llama 1's: a space is "▁", a decoder that drops the first one, bytes as fallback."""
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += ["▁", *"abcdefghijklmnopqrstuvwxyz.,!"]
    core = Tokenizer(
        models.BPE({piece: i for i, piece in enumerate(pieces)}, [], byte_fallback=True)
    )
    core.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    core.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<unk>")


TOKENIZERS = {
    "embedded": AutoTokenizer.from_pretrained(ASSETS / "pocket"),
    "bytes": tiny.tokenizer("<image>", image_token="<image>"),
    "sentencepiece": _sentencepiece_like(),
}
KINDS = pytest.mark.parametrize("kind", TOKENIZERS)


def decode(kind: str, ids: list[int]) -> str:
    return TOKENIZERS[kind].decode(
        ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )


def encode(kind: str, text: str) -> list[int]:
    return TOKENIZERS[kind].encode(text, add_special_tokens=False)


def deltas(kind: str, ids: list[int]) -> list[str]:
    """What comes after each token, and last what `finish` adds."""
    text = IncrementalText(TOKENIZERS[kind])
    return [*(text.push([token]) for token in ids), text.finish()]


@KINDS
@pytest.mark.parametrize("name", TEXTS)
def test_pieces_make_the_text(kind: str, name: str) -> None:
    pieces = deltas(kind, encode(kind, TEXTS[name]))
    assert "".join(pieces) == TEXTS[name]
    assert not any("\ufffd" in piece for piece in pieces)
    assert pieces[-1] == ""  # nothing had to wait for the end


@KINDS
@given(text=st.text(max_size=30))
@STEP_GUARD
def test_any_text(kind: str, text: str) -> None:
    ids = encode(kind, text)
    whole = decode(kind, ids)
    assert "".join(deltas(kind, ids)) == whole.rstrip("\ufffd")


@pytest.mark.parametrize("kind", ["embedded", "bytes"])
@given(data=st.data())
@STEP_GUARD
def test_any_tokens(kind: str, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, len(TOKENIZERS[kind]) - 1), max_size=30))
    assert "".join(deltas(kind, ids)) == decode(kind, ids).rstrip("\ufffd")


@KINDS
@pytest.mark.parametrize("name", ["spaces", "code", "punctuation"])
def test_no_token_is_held_back(kind: str, name: str) -> None:
    ids = encode(kind, TEXTS[name])
    said = ""
    for count, piece in enumerate(deltas(kind, ids)[:-1], start=1):
        said += piece
        so_far = decode(kind, ids[:count])
        assert said == so_far or so_far.endswith("\ufffd")  # a byte of a longer character


@pytest.mark.parametrize("kind", ["bytes", "sentencepiece"])
def test_a_character_of_several_tokens_comes_whole(kind: str) -> None:
    ids = encode(kind, "a😀")
    assert [piece for piece in deltas(kind, ids) if piece] == ["a", "😀"]


@pytest.mark.parametrize("kind", ["bytes", "sentencepiece"])
def test_an_unfinished_character_is_dropped(kind: str) -> None:
    ids = encode(kind, "ok😀")
    for missing in (1, 2, 3):
        assert "".join(deltas(kind, ids[:-missing])) == "ok"


def test_broken_bytes_do_not_stop_the_text() -> None:
    words = TOKENIZERS["bytes"]
    first_of_four = encode("bytes", "😀")[0]
    ids = [first_of_four, *words.encode("b c")]
    assert "".join(deltas("bytes", ids)) == "\ufffdb c"


@pytest.mark.parametrize("kind", ["embedded", "bytes"])
def test_special_tokens_are_left_out(kind: str) -> None:
    end = TOKENIZERS[kind].eos_token_id
    ids = [end, *encode(kind, " one"), end, end, *encode(kind, " two"), end]
    assert "".join(deltas(kind, ids)) == " one two"


# ---- marks of places that are special tokens ----

PLACE_MARKS = (
    *("<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>"),
    *("<|point_start|>", "<|point_end|>", "<ref>", "</ref>", "<box>", "</box>", "<loc0001>"),
    "<seg001>",
)
OTHER_MARKS = ("<|im_end|>", "<|vision_start|>", "<IMG_CONTEXT>", "<unused7>")


def _marked(kind: str) -> PreTrainedTokenizerFast | ByT5Tokenizer:
    """A tokenizer in which all of these are special, as in Qwen2-VL's and InternVL's."""
    special = [*OTHER_MARKS, *PLACE_MARKS]
    if kind == "slow":
        return ByT5Tokenizer(extra_ids=0, additional_special_tokens=special)
    made = tiny.tokenizer("<image>") if kind == "bytes" else _sentencepiece_like()
    made.add_special_tokens({"additional_special_tokens": special})
    return made


MARKED = {kind: _marked(kind) for kind in ("bytes", "sentencepiece", "slow")}
ANSWER = (
    "<|object_ref_start|>a cat<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|> "
    "and <ref>dog</ref><box>[[1,2,3,4]]</box>, <loc0001><seg001> x"
)


def said(words: PreTrainedTokenizerFast | ByT5Tokenizer, ids: list[int]) -> str:
    text = IncrementalText(words)
    return "".join([*(text.push([token]) for token in ids), text.finish()])


@pytest.mark.parametrize("kind", MARKED)
def test_marks_of_places_stay_and_all_other_special_tokens_go(kind: str) -> None:
    words = MARKED[kind]
    number = words.convert_tokens_to_ids
    assert all(number(mark) in words.all_special_ids for mark in (*PLACE_MARKS, *OTHER_MARKS))
    ids = words.encode(ANSWER, add_special_tokens=False)
    assert number("<|box_start|>") in ids  # one token, not its letters
    answer = words.decode(ids, clean_up_tokenization_spaces=False)
    if kind != "sentencepiece":  # it puts a space after every added token
        assert answer == ANSWER
    others = [number(mark) for mark in OTHER_MARKS]
    ids = [others[0], *(part for token in ids for part in (token, others[1])), *others]
    assert said(words, ids) == answer


def test_spaces_around_marks_are_those_of_the_answer() -> None:
    words = MARKED["sentencepiece"]
    ids = words.encode("a", add_special_tokens=False)
    ids += [words.convert_tokens_to_ids("<box>")]
    ids += [words.convert_tokens_to_ids("▁"), words.convert_tokens_to_ids("b")]
    assert said(words, ids) == "a<box> b"


def test_a_stop_text_may_be_a_mark_and_ends_the_answer_there() -> None:
    words, events = MARKED["bytes"], []
    stream = TokenStream(words, ("</box>",), events.append)
    for token in words.encode("<box>[[1]]</box> more", add_special_tokens=False):
        stream.add([token])
    stream.end()
    assert "".join(event.text for event in events) == "<box>[[1]]"
    assert stream.stopped


@given(data=st.data())
@STEP_GUARD
def test_any_tokens_with_marks_among_them(data: st.DataObject) -> None:
    words = MARKED["bytes"]
    ids = data.draw(st.lists(st.integers(0, len(words) - 1), max_size=30))
    left_out = {words.eos_token_id, words.bos_token_id, words.pad_token_id}
    left_out |= set(words.all_special_ids)
    left_out -= set(words.convert_tokens_to_ids(list(PLACE_MARKS)))
    kept = [number for number in ids if number not in left_out]
    assert said(words, ids) == words.decode(kept).rstrip("\ufffd")


# ---- stop texts ----


def cut(pieces: list[str], stops: list[str]) -> tuple[list[str], bool]:
    """What comes out after each piece and at the end, and whether a stop text was found."""
    text = StopTexts(stops)
    return [*(text.push(piece) for piece in pieces), text.finish()], text.found


@pytest.mark.parametrize(
    ("pieces", "stops", "expected"),
    [
        (["a", "b"], [], ["a", "b", ""]),
        (["ab.cd"], ["."], ["ab", ""]),
        (["ab\nUs", "er", ": x"], ["\nUser:"], ["ab", "", "", ""]),
        (["ab\nUs", "ing"], ["\nUser:"], ["ab", "\nUsing", ""]),
        (["ab\nUs"], ["\nUser:"], ["ab", "\nUs"]),
        (["aa", "ab", "c"], ["aab"], ["", "a", "", ""]),  # it begins one later than it seemed
        (["xab", "abc"], ["abc"], ["x", "ab", ""]),
        (["one two"], ["two", "one"], ["", ""]),  # the first to occur, not the first in the list
        (["abcd"], ["bcd", "abc"], ["", ""]),
        (["a", ""], [""], ["a", "", ""]),  # an empty text stops nothing
    ],
)
def test_stop_texts(pieces: list[str], stops: list[str], expected: list[str]) -> None:
    assert cut(pieces, stops)[0] == expected


def test_nothing_comes_after_a_stop() -> None:
    assert cut(["a.", "b", "."], ["."]) == (["a", "", "", ""], True)


@given(
    pieces=st.lists(st.text("ab.", max_size=4), max_size=8),
    stops=st.lists(st.text("ab.", min_size=1, max_size=4), max_size=3),
)
@settings(max_examples=300, deadline=None)
def test_stop_texts_against_the_obvious_way(pieces: list[str], stops: list[str]) -> None:
    """The text ends before the stop that is complete first, by letters or by pieces."""
    expected = text = "".join(pieces)
    so_far = ""
    for piece in pieces:
        so_far += piece
        ends = [so_far.find(stop) for stop in stops if stop in so_far]
        if ends:
            expected = so_far[: min(ends)]
            break
    said, found = cut(pieces, stops)
    assert "".join(said) == expected
    assert found == (expected != text)


# ---- the streamer and the stopping rule that `generate` gets ----


def test_token_stream_leaves_out_the_prompt_and_counts() -> None:
    events: list[Event] = []
    stream = TokenStream(TOKENIZERS["bytes"], (), events.append)
    prompt, answer = encode("bytes", "prompt"), encode("bytes", "hé")
    stream.put(torch.tensor([prompt]))
    assert (stream.count, stream.first_at) == (0, None)
    for token in answer:
        stream.put(torch.tensor([token]))
    stream.end()
    assert events == [TextDelta("h"), TextDelta("é")]
    assert (stream.count, stream.last_id) == (3, answer[-1])
    assert stream.first_at is not None and stream.last_at is not None
    assert stream.first_at <= stream.last_at


def test_token_stream_releases_what_it_held() -> None:
    events: list[Event] = []
    stream = TokenStream(TOKENIZERS["bytes"], ("ab!",), events.append)
    stream.add(encode("bytes", "xab"))
    assert events == [TextDelta("x")]
    stream.end()
    assert events == [TextDelta("x"), TextDelta("ab")]
    assert not stream.stopped


def test_token_stream_takes_no_tokens_at_all() -> None:
    events: list[Event] = []
    stream = TokenStream(TOKENIZERS["bytes"], (), events.append)
    stream.add([])
    stream.end()
    assert (events, stream.count, stream.last_id) == ([], 0, None)


def test_halt_ends_every_row() -> None:
    for stops in (False, True):
        ended = Halt(lambda stops=stops: stops)(torch.zeros(3, 5).long(), torch.zeros(3, 7))
        assert ended.tolist() == [stops] * 3

"""What differs between two answers."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm.word_difference import Run, word_difference


def marked(first: str, second: str) -> str:
    """[removed] {added}, the rest as it is."""
    marks = {"same": "%s", "removed": "[%s]", "added": "{%s}"}
    return "".join(marks[run.kind] % run.text for run in word_difference(first, second))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("A cat.", "A cat.", "A cat."),
        ("A cat sits.", "A dog sits.", "A [cat]{dog} sits."),
        ("A cat", "A black cat", "A {black }cat"),
        ("the red cat sits", "a blue dog sits", "[the red cat]{a blue dog} sits"),
        ("It isn't here", "It is here", "It [isn't]{is} here"),
        ("A cat.", "A cat!", "A cat[.]{!}"),
        ("", "new", "{new}"),
        ("old", "", "[old]"),
        ("一只黑猫坐着。", "一只白猫坐着。", "一只[黑]{白}猫坐着。"),
        ("猫がいる", "犬がいる", "[猫]{犬}がいる"),
        ("一张 GPU 图", "一张 TPU 图", "一张 [GPU]{TPU} 图"),
        ("один кот", "один пёс", "один [кот]{пёс}"),
    ],
)
def test_words_and_characters(first, second, expected):
    assert marked(first, second) == expected


def test_equal_and_empty_texts():
    assert word_difference("", "") == ()
    assert word_difference("A cat.", "A cat.") == (Run("same", "A cat."),)


TEXTS = st.text(st.sampled_from("ab c.\n'猫犬、か９\u3000é😀"), max_size=40)


@given(TEXTS, TEXTS)
def test_runs_give_both_texts_back(first, second):
    runs = word_difference(first, second)
    assert "".join(run.text for run in runs if run.kind != "added") == first
    assert "".join(run.text for run in runs if run.kind != "removed") == second
    assert all(run.text for run in runs)
    kinds = [run.kind for run in runs]
    assert all(one != other for one, other in itertools.pairwise(kinds))
    assert ("added", "removed") not in itertools.pairwise(kinds)


def test_long_answers_that_repeat_themselves():
    first, second = "a " * 6000 + "cat", "b " + "a " * 6000 + "dog"
    runs = word_difference(first, second)
    assert "".join(run.text for run in runs if run.kind != "added") == first

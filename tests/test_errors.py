"""A `VLMError` carries a key and facts; the words come from the table, in the reader's language."""

import subprocess
import sys

import pytest

from vlm.errors import ImageError, ModelError, RequestError, SettingError, VLMError
from vlm.strings import error_text


def test_error_is_a_sentence_with_its_facts():
    error = RequestError("too_many_images", got=9, limit=8)
    assert (error.key, error.facts) == ("too_many_images", {"got": 9, "limit": 8})
    assert str(error).startswith("9 images in one message; at most 8 are taken.")
    assert error_text(error, "zh").startswith("一条消息中有 9 张图片，最多 8 张。")


def test_facts_are_filled_in_once():
    """A name or a question may hold braces; they are no places for facts."""
    error = ImageError("image_empty", name="{limit} {0}.png")
    assert "{limit} {0}.png is empty" in str(error)


@pytest.mark.parametrize("kind", [ImageError, ModelError, RequestError, SettingError])
def test_one_base_for_all_that_people_see(kind):
    assert issubclass(kind, VLMError)
    assert not issubclass(kind, ValueError | OSError)


def test_without_words_an_error_still_says_its_key_and_facts():
    code = (
        "from vlm import errors; errors.VLMError._lookup = None; print(errors.VLMError('k', n=1))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "k: {'n': 1}\n"

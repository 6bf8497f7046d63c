"""Messages are plain values; images are equal by what they show."""

import dataclasses

import pytest

from tests.support.fakes import photo
from vlm.messages import Message, Text, images_of, user_message

CAT, DOG = photo(seed=1), photo(seed=2)


def test_images_are_equal_by_content():
    again = dataclasses.replace(photo(seed=1), name="another name.jpg")
    assert (again, hash(again)) == (CAT, hash(CAT))
    assert CAT != DOG
    assert CAT.sha256 != CAT
    assert len({CAT, DOG, again}) == 2


def test_user_message_has_its_images_first():
    message = user_message("What?", [CAT, DOG])
    assert message == Message("user", (CAT, DOG, Text("What?")))
    assert message.images == (CAT, DOG)
    assert message.text == "What?"
    assert user_message("", [CAT]).parts == (CAT,)
    assert user_message("What?").parts == (Text("What?"),)


def test_text_of_several_parts():
    message = Message("user", (Text("Left:"), CAT, Text("Right:"), DOG))
    assert message.text == "Left:\nRight:"


def test_images_in_the_order_the_model_meets_them():
    answer = Message("assistant", (Text("A cat."),))
    conversation = [user_message("What?", [DOG, CAT]), answer, user_message("And?", [DOG])]
    assert images_of(conversation) == [DOG, CAT, DOG]
    assert images_of([]) == []


def test_values_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Text("a").text = "b"
    with pytest.raises(dataclasses.FrozenInstanceError):
        CAT.name = "b"

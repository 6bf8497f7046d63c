"""Messages in the JSON of OpenAI's chat API; pictures travel inside and are never fetched."""

import base64
import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakes import photo, photo_bytes
from vlm.errors import ImageError, RequestError, VLMError
from vlm.images import DEFAULT_LIMITS, ImageLimits
from vlm.messages import Message, Text
from vlm.wire import messages_from_json


def data_address(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def image_part(url: object) -> dict[str, object]:
    return {"type": "image_url", "image_url": {"url": url}}


def read(items: object) -> list[Message]:
    return messages_from_json(items, DEFAULT_LIMITS)


def refused(items: object) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read(items)
    assert caught.value.key == "history_form"
    return caught.value


PHOTO = image_part(data_address(photo_bytes()))


def test_conversation():
    items = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [PHOTO, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": [{"type": "text", "text": "And?", "cache_control": {}}]},
    ]
    assert read(json.loads(json.dumps(items))) == [
        Message("system", (Text("Be brief."),)),
        Message("user", (photo(), Text("What?"))),
        Message("assistant", (Text("A cat."),)),
        Message("user", (Text("And?"),)),
    ]


def test_nothing_is_a_conversation_too():
    assert read([]) == []
    assert read(()) == []


def test_parts_keep_their_order():
    text = {"type": "text", "text": "Left:"}
    (message,) = read([{"role": "user", "content": [text, PHOTO, text, PHOTO]}])
    assert message.parts == (Text("Left:"), photo(), Text("Left:"), photo())


@pytest.mark.parametrize(
    "items",
    [
        None,
        "What?",
        b"What?",
        7,
        {"role": "user", "content": "What?"},
        ["What?"],
        [None],
        [{"content": "What?"}],
        [{"role": "user"}],
        [{"role": "tool", "content": "What?"}],
        [{"role": ["user"], "content": "What?"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": {"type": "text", "text": "What?"}}],
        [{"role": "user", "content": ["What?"]}],
        [{"role": "user", "content": [{"type": "text"}]}],
        [{"role": "user", "content": [{"type": "text", "text": None}]}],
        [{"role": "user", "content": [{"type": "text", "text": 7}]}],
        [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}],
        [{"role": "user", "content": [{"type": "image_url"}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png"}]}],
        [{"role": "user", "content": [image_part(None)]}],
    ],
    ids=repr,
)
def test_other_forms_are_refused(items):
    refused(items)


def test_refusal_shows_the_place_and_not_a_whole_picture():
    part = {"type": "picture", "data": "x" * 100_000}
    error = refused([{"role": "user", "content": [part]}])
    assert "'type': 'picture'" in str(error)
    assert len(str(error)) < 400


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/cat.png",
        "http://127.0.0.1/cat.png",
        "file:///etc/passwd",
        "/etc/passwd",
        "assets/examples/cat.jpg",
        "",
        "data:image/png,abc",
        "data:text/html;base64,PGI+",
        "data:image/png;base64",
        "data:image/png;base64,***",
        "data:image/png;base64,图片",
        "data:image/png;base64,abc",
    ],
)
def test_only_pictures_inside_the_message_are_taken(address, monkeypatch):
    """Whatever stands there, nothing is fetched and no file is opened."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("looked up a host"))
    monkeypatch.setattr("vlm.images._read_file", lambda *_: pytest.fail("opened a file"))
    with pytest.raises(VLMError) as caught:
        read([{"role": "user", "content": [image_part(address)]}])
    assert caught.value.key in ("history_form", "image_empty")


@pytest.mark.parametrize("data", [b"", b"no picture at all", photo_bytes()[:60]])
def test_bad_pictures_are_refused_as_everywhere(data):
    with pytest.raises(ImageError):
        read([{"role": "user", "content": [image_part(data_address(data))]}])


def test_limits_hold():
    item = {"role": "user", "content": [PHOTO]}
    with pytest.raises(ImageError) as caught:
        messages_from_json([item], ImageLimits(side=95))
    assert caught.value.key == "image_too_big"


@pytest.mark.parametrize("kind", ["image/jpeg", "image/webp", "image/anything"])
def test_declared_kind_is_not_believed(kind):
    part = image_part(data_address(photo_bytes(), kind))
    assert read([{"role": "user", "content": [part]}])[0].images == (photo(),)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["text", "user"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "image_url", "url"]), inner
        )
    ),
    max_leaves=12,
)


@given(JSON | st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": JSON})))
def test_any_json_is_read_or_refused_with_a_sentence(items):
    try:
        messages = read(items)
    except VLMError as error:
        assert str(error)
    else:
        assert all(isinstance(message, Message) for message in messages)

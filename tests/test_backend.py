"""The table of backends, and what capabilities rule out."""

import pytest

from tests.support.fakes import ScriptedBackend, photo
from vlm import backend
from vlm.backend import Capabilities, check_request
from vlm.errors import RequestError, SettingError
from vlm.messages import Message, Text, system_messages, user_message
from vlm.settings import Settings

# ---- the table ----


def test_settings_name_the_backend(monkeypatch):
    monkeypatch.setitem(backend.BACKENDS, "scripted", "tests.support.fakes:ScriptedBackend")
    assert isinstance(backend.open_backend(Settings(backend="scripted")), ScriptedBackend)


def test_unknown_backend():
    with pytest.raises(SettingError, match="no backend 'remote'; known are: local"):
        backend.open_backend(Settings(backend="remote"))


# ---- what capabilities rule out ----


def test_a_model_that_needs_an_image_refuses_text_alone():
    able = Capabilities(name="A model", needs_image=True)
    asked = user_message("What?")
    with pytest.raises(RequestError) as caught:
        check_request([*system_messages("Be brief."), asked], able)
    assert (caught.value.key, caught.value.facts) == ("without_image", {"name": "A model"})
    shown = user_message("What?", [photo()])
    check_request([shown, Message("assistant", (Text("A photo."),)), asked], able)
    check_request(system_messages("Be brief."), able)  # nothing is asked yet


def test_too_many_images_in_one_message():
    able = Capabilities(name="x", images_per_turn=2)
    messages = [user_message("And?", [photo(seed=1), photo(seed=2)]) for _ in range(3)]
    check_request(messages, able)  # six in all, but two at a time
    check_request([user_message("", [photo()] * 30)], Capabilities(name="x"))
    with pytest.raises(RequestError) as caught:
        check_request([*messages, user_message("", [photo()] * 3)], able)
    assert (caught.value.key, caught.value.facts) == ("too_many_images", {"got": 3, "limit": 2})


def test_unknown_role():
    able = Capabilities(name="x", roles=("user", "assistant"))
    with pytest.raises(RequestError, match="takes no 'system' messages, only user, assistant"):
        check_request([Message("system", (Text("Be brief."),))], able)

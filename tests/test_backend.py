"""A backend opened in the background, the table of backends, and what capabilities rule out."""

import contextlib
import threading

import pytest

from tests.support.fakes import ScriptedBackend, photo
from vlm import backend
from vlm.backend import Capabilities, DeferredBackend, Finished, Progress, TextDelta, check_request
from vlm.errors import ModelError, RequestError, SettingError
from vlm.messages import Message, Text, user_message
from vlm.settings import GenerationOptions, Settings

QUESTION = [user_message("What?")]
NO_SUCH = ModelError("not_a_folder", source="x")


class Opening:
    """Opens a backend when the test says so, or fails; counts how often it was asked."""

    def __init__(self, *results):
        self.results = list(results)
        self.go = threading.Event()
        self.times = 0

    def __call__(self):
        assert self.go.wait(30)
        result = self.results[self.times]
        self.times += 1
        if isinstance(result, BaseException):
            raise result
        return result


def ask(deferred, cancel=None):
    return deferred.stream(QUESTION, GenerationOptions(), cancel or threading.Event())


def settle(deferred):
    """Waits until opening is over, however it ended."""
    with contextlib.suppress(ModelError):
        deferred.opened()


# ---- opened in the background ----


def test_states_of_one_that_opens():
    opening = Opening(ScriptedBackend())
    deferred = DeferredBackend(opening)
    assert (deferred.state, deferred.error) == ("idle", None)
    deferred.start()
    deferred.start()
    assert (deferred.state, deferred.error) == ("loading", None)
    opening.go.set()
    assert deferred.opened() is opening.results[0]
    deferred.start()
    assert (deferred.state, deferred.error, opening.times) == ("ready", None, 1)
    assert deferred.capabilities().name == "Scripted"


def test_early_request_waits_and_says_so():
    opening = Opening(ScriptedBackend(["A cat."]))
    events = ask(DeferredBackend(opening))
    assert next(events) == Progress("loading")
    opening.go.set()
    assert next(events) == TextDelta("A cat.")


def test_later_request_has_nothing_to_say_about_loading():
    deferred = DeferredBackend(ScriptedBackend)
    deferred.opened()
    assert next(ask(deferred)) == TextDelta("Yes.")


def test_request_can_be_cancelled_while_the_model_loads():
    opening, cancel = Opening(ScriptedBackend()), threading.Event()
    deferred = DeferredBackend(opening)
    events = ask(deferred, cancel)
    assert next(events) == Progress("loading")
    cancel.set()
    assert list(events) == [Finished("cancelled")]
    assert deferred.state == "loading"
    opening.go.set()
    deferred.opened()
    assert opening.results[0].asked == []


def test_failure_is_raised_by_every_request_until_started_again():
    opening = Opening(NO_SUCH, ScriptedBackend(["A cat."]))
    opening.go.set()
    deferred = DeferredBackend(opening)
    for request in (lambda: list(ask(deferred)), deferred.opened, deferred.capabilities):
        with pytest.raises(ModelError) as caught:
            request()
        assert caught.value is NO_SUCH
    assert (deferred.state, deferred.error, opening.times) == ("failed", NO_SUCH, 1)
    deferred.start()
    settle(deferred)
    assert (deferred.state, deferred.error, opening.times) == ("ready", None, 2)
    assert TextDelta("A cat.") in list(ask(deferred))


def test_request_that_waits_gets_the_failure():
    opening = Opening(NO_SUCH)
    events = ask(DeferredBackend(opening))
    next(events)
    opening.go.set()
    with pytest.raises(ModelError):
        next(events)


def test_close():
    DeferredBackend(Opening()).close()  # never opened
    opening = Opening(NO_SUCH, ScriptedBackend())
    opening.go.set()
    deferred = DeferredBackend(opening)
    settle(deferred)
    deferred.close()
    deferred.start()
    deferred.close()  # waits for the opening
    assert opening.results[1].closed


# ---- the table ----


def test_settings_name_the_backend(monkeypatch):
    monkeypatch.setitem(backend.BACKENDS, "scripted", "tests.support.fakes:ScriptedBackend")
    assert isinstance(backend.open_backend(Settings(backend="scripted")), ScriptedBackend)


def test_unknown_backend():
    with pytest.raises(SettingError, match="no backend 'remote'; known are: local"):
        backend.open_backend(Settings(backend="remote"))


# ---- what capabilities rule out ----


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

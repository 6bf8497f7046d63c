"""A conversation keeps what was answered, loses nothing by a failure, belongs to one person."""

import gc
import threading

import pytest

from tests.support.fakes import BREAKS_OFF, ScriptedBackend, photo
from vlm.backend import Capabilities, Finished, Progress, TextDelta, Usage
from vlm.chat import ChatSession
from vlm.errors import ModelError, RequestError
from vlm.messages import Message, Text, user_message
from vlm.settings import GenerationOptions


def answer(text: str) -> Message:
    return Message("assistant", (Text(text),))


def say(session: ChatSession, text: str, *images, **rest) -> str:
    """Sends, waits for the end and returns the answer."""
    events = list(session.send(text, images, **rest))
    assert [event for event in events if isinstance(event, Finished)] == events[-1:]
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def refused(session: ChatSession, *request, **rest) -> RequestError:
    with pytest.raises(RequestError) as caught:
        list(session.send(*request, **rest))
    return caught.value


# ---- turns ----


def test_turns_are_kept_and_said_to_the_model():
    cat, end = photo(seed=1), Finished("stop", Usage(completion_tokens=3))
    backend = ScriptedBackend([Progress("thinking"), "A ", "cat.", end], ["Grey."])
    session = ChatSession(backend)
    assert say(session, "What?", cat) == "A cat."
    assert say(session, "Which colour?") == "Grey."
    first = [user_message("What?", [cat]), answer("A cat."), user_message("Which colour?")]
    assert [asked.messages for asked in backend.asked] == [first[:1], first]
    assert session.messages == [*first, answer("Grey.")]
    assert [turn.answer for turn in session.turns] == ["A cat.", "Grey."]
    assert session.turns[0].finished is end


def test_events_come_as_the_backend_yields_them():
    gate = threading.Event()
    events = ChatSession(ScriptedBackend([Progress("thinking"), "A ", gate, "cat."])).send("What?")
    assert next(events) == Progress("thinking")
    assert next(events) == TextDelta("A ")
    gate.set()
    assert next(events) == TextDelta("cat.")


def test_system_prompt_is_said_before_everything():
    backend = ScriptedBackend()
    session = ChatSession(backend, system_prompt="Be brief.")
    say(session, "What?")
    say(session, "And?")
    system = Message("system", (Text("Be brief."),))
    assert [asked.messages[0] for asked in backend.asked] == [system, system]
    assert len(backend.asked[1].messages) == 4


def test_conversation_begun_elsewhere_goes_on():
    history = [user_message("What?", [photo()]), answer("A cat.")]
    backend = ScriptedBackend(["Grey."])
    session = ChatSession.resume(backend, history)
    say(session, "Which colour?")
    assert backend.asked[0].messages == [*history, user_message("Which colour?")]
    assert session.messages == [*history, user_message("Which colour?"), answer("Grey.")]
    assert len(session.turns) == 1
    assert len(history) == 2


def test_an_answer_without_a_word_is_an_answer():
    session = ChatSession(ScriptedBackend([]))
    assert say(session, "What?") == ""
    assert session.messages == [user_message("What?"), answer("")]


def test_clear():
    session = ChatSession.resume(ScriptedBackend(), [user_message("What?"), answer("A cat.")])
    say(session, "And?")
    session.clear()
    assert (session.messages, session.turns) == ([], ())


# ---- failures lose nothing ----


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ([ModelError("busy")], ModelError),
        (["A ", RequestError("out_of_memory")], RequestError),
        (["A ", ZeroDivisionError()], ZeroDivisionError),
        (["A ", BREAKS_OFF], RequestError),
        ([BREAKS_OFF], RequestError),
    ],
)
def test_a_failed_turn_leaves_everything_as_it_was(script, error):
    backend = ScriptedBackend(["A cat."], script, ["Grey."])
    session = ChatSession(backend)
    say(session, "What?")
    before = session.messages
    with pytest.raises(error):
        list(session.send("Which colour?", [photo()]))
    assert session.messages == before
    say(session, "Which colour?", photo())
    assert [turn.answer for turn in session.turns] == ["A cat.", "Grey."]
    assert backend.asked[2].messages == backend.asked[1].messages


def test_an_answer_without_an_end_is_told():
    assert refused(ChatSession(ScriptedBackend(["A ", BREAKS_OFF])), "?").key == "answer_broke_off"


@pytest.mark.parametrize("text", ["", " ", "\n\t ", "\u3000"])
def test_empty_message_is_refused(text):
    backend = ScriptedBackend()
    session = ChatSession(backend)
    assert refused(session, text).key == "empty_message"
    assert (backend.asked, session.messages) == ([], [])
    say(session, text, photo())  # with an image it means something


def test_too_many_images_are_refused():
    backend = ScriptedBackend(["A cat."])
    session = ChatSession(backend, max_images=8)
    say(session, "What?")
    error = refused(session, "And these?", [photo()] * 30)
    assert (error.key, error.facts) == ("too_many_images", {"got": 30, "limit": 8})
    assert (len(backend.asked), len(session.turns)) == (1, 1)
    say(session, "And these?", *[photo()] * 8)


def test_what_the_backend_cannot_take_is_refused_and_nothing_kept():
    backend = ScriptedBackend(able=Capabilities(name="x", images_per_turn=1))
    session = ChatSession(backend)
    assert refused(session, "What?", [photo(), photo(seed=1)]).facts == {"got": 2, "limit": 1}
    assert session.messages == []


# ---- stopping ----


def test_what_was_said_before_stop_is_kept():
    gate, cancel = threading.Event(), threading.Event()
    session = ChatSession(ScriptedBackend(["A ", gate, "cat."], ["Grey."]))
    events = session.send("What?", cancel=cancel)
    assert next(events) == TextDelta("A ")
    cancel.set()
    (end,) = events
    assert (end.reason, session.turns[0].answer) == ("cancelled", "A ")
    assert session.turns[0].finished is end
    assert say(session, "Go on.") == "Grey."


def test_stopped_before_the_first_word_nothing_is_kept():
    cancel = threading.Event()
    session = ChatSession(ScriptedBackend([Progress("thinking"), threading.Event(), "A cat."]))
    events = session.send("What?", cancel=cancel)
    next(events)
    cancel.set()
    assert [event.reason for event in events] == ["cancelled"]
    assert session.messages == []


def test_listener_who_leaves_stops_the_backend_and_the_part_is_kept():
    backend, cancel = ScriptedBackend(["A ", "cat."]), threading.Event()
    session = ChatSession(backend)
    events = session.send("What?", cancel=cancel)
    next(events)
    events.close()
    gc.collect()
    assert cancel.is_set()
    assert backend.asked[0].left
    turn = session.turns[0]
    assert (turn.answer, turn.finished.reason) == ("A ", "cancelled")
    assert say(session, "Go on.") == "A cat."


@pytest.mark.parametrize("read", [0, 1])
def test_listener_who_leaves_before_the_first_word_leaves_nothing(read):
    session = ChatSession(ScriptedBackend([Progress("thinking"), "A cat."]))
    events = session.send("What?")
    assert [next(events) for _ in range(read)] == [Progress("thinking")] * read
    events.close()
    assert session.messages == []
    assert say(session, "What?") == "A cat."


def test_listener_who_leaves_after_the_end_changes_nothing():
    session = ChatSession(ScriptedBackend(["A cat."]))
    events = session.send("What?")
    assert isinstance([next(events), next(events)][-1], Finished)
    events.close()
    assert [turn.finished.reason for turn in session.turns] == ["stop"]


def test_one_answer_at_a_time():
    backend = ScriptedBackend(["A ", "cat."])
    session = ChatSession(backend)
    running = session.send("What?")
    next(running)
    assert refused(session, "And?").key == "busy"
    with pytest.raises(RequestError, match="still being written"):
        session.clear()
    list(running)
    assert [turn.answer for turn in session.turns] == ["A cat."]
    assert len(backend.asked) == 1
    session.clear()


# ---- options ----


def test_seed_is_drawn_noted_and_passed_on():
    backend = ScriptedBackend()
    session = ChatSession(backend)
    for _ in range(3):
        say(session, "What?", options=GenerationOptions(temperature=0.5))
    seeds = [turn.options.seed for turn in session.turns]
    assert len(set(seeds)) == 3
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert [asked.options for asked in backend.asked] == [turn.options for turn in session.turns]
    assert {turn.options.temperature for turn in session.turns} == {0.5}


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_a_given_seed_is_passed_on(seed):
    backend = ScriptedBackend()
    session = ChatSession(backend)
    options = GenerationOptions(seed=seed, stop=(".",), max_new_tokens=5)
    say(session, "What?", options=options)
    assert backend.asked[0].options == session.turns[0].options == options


# ---- whose conversation ----


def test_two_sessions_share_nothing():
    gate = threading.Event()
    backend = ScriptedBackend(["A ", gate, "cat."], ["A dog."])
    one, two = ChatSession(backend, system_prompt="Be brief."), ChatSession(backend)
    running = one.send("What?", [photo(seed=1)])
    next(running)
    assert say(two, "And this?", photo(seed=2)) == "A dog."
    gate.set()
    list(running)
    assert [turn.answer for turn in one.turns] == ["A cat."]
    assert two.messages == [user_message("And this?", [photo(seed=2)]), answer("A dog.")]
    assert backend.asked[1].messages == two.messages[:1]
    assert backend.asked[0].cancel is not backend.asked[1].cancel


def test_lists_that_are_handed_out_are_copies():
    session = ChatSession(ScriptedBackend())
    say(session, "What?")
    session.messages.clear()
    assert len(session.messages) == 2
    assert isinstance(session.turns, tuple)

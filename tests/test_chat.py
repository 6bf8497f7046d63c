"""A conversation keeps what was answered, loses nothing by a failure, belongs to one person."""

import gc
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.support.fakes import BREAKS_OFF, ScriptedBackend, Step, photo
from vlm.backend import Capabilities, Event, Finished, Progress, TextDelta, Timings, Usage
from vlm.chat import ANSWER_ROOM, ChatSession
from vlm.errors import ModelError, RequestError
from vlm.messages import Message, Text, user_message
from vlm.options import GenerationOptions


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


# ---- versions ----


def shown(session: ChatSession) -> list[str]:
    return [f"{turn.question.text} {turn.answer}" for turn in session.turns]


def key_of(call: Callable[[], object]) -> str:
    """Which refusal a call ends with; an answer it begins is read to its end."""
    with pytest.raises(RequestError) as caught:
        result = call()
        if isinstance(result, Iterator):
            list(result)
    return caught.value.key


def three_turns() -> tuple[ChatSession, ScriptedBackend]:
    """a A, b B, c C; later answers are D, E, F."""
    backend = ScriptedBackend(*[[letter] for letter in "ABCDEF"])
    session = ChatSession(backend)
    for text in "abc":
        say(session, text)
    return session, backend


def test_a_middle_turn_is_asked_again_and_the_later_turns_stay_in_the_other_version():
    session, backend = three_turns()
    list(session.retry(1))
    assert backend.asked[3].messages == [*session.messages[:2], user_message("b")]
    assert shown(session) == ["a A", "b D"]
    assert (session.versions(0), session.versions(1)) == ((1, 1), (2, 2))
    say(session, "d")
    session.choose(1, 1)
    assert shown(session) == ["a A", "b B", "c C"]
    session.choose(1, 2)
    assert shown(session) == ["a A", "b D", "d E"]


def test_the_last_turn_is_asked_again():
    session, _ = three_turns()
    options = GenerationOptions(temperature=0.5, seed=9)
    list(session.retry(options=options))
    assert shown(session) == ["a A", "b B", "c D"]
    assert session.turns[2].options == options


def test_a_question_is_edited():
    session, backend = three_turns()
    say(session, "b2", photo(), at=1)
    assert backend.asked[3].messages == [*session.messages[:2], user_message("b2", [photo()])]
    assert shown(session) == ["a A", "b2 D"]
    session.choose(1, 1)
    assert shown(session) == ["a A", "b B", "c C"]


def test_versions_that_are_not_there():
    session, _ = three_turns()
    calls = {
        "no_such_turn": [
            *(lambda: session.choose(1, 0), lambda: session.choose(1, 2)),
            *(lambda: session.choose(4, 1), lambda: session.choose(-1, 1)),
            *(lambda: session.retry(3), lambda: session.retry(-1)),
            *(lambda: session.send("x", at=4), lambda: session.send("x", at=-1)),
        ],
        "no_turns": [ChatSession(ScriptedBackend()).undo, ChatSession(ScriptedBackend()).retry],
    }
    for key, refusing in calls.items():
        assert [key_of(call) for call in refusing] == [key] * len(refusing)
    assert shown(session) == ["a A", "b B", "c C"]


@pytest.mark.parametrize("again", [{"text": "b", "at": 1}, {"text": "d"}])
def test_a_failed_version_leaves_everything_as_it_was(again):
    backend = ScriptedBackend(["A"], ["B"], ["x", ModelError("busy")])
    session = ChatSession(backend)
    say(session, "a"), say(session, "b")
    session.drop_oldest(2)
    for failing in (session.send(**again), session.retry(0), session.retry(1)):
        with pytest.raises(ModelError):
            list(failing)
    assert shown(session) == ["a A", "b B"]
    assert (session.versions(0), session.versions(1)) == ((1, 1), (1, 1))
    assert session.dropped == 2
    assert not session.busy


def test_undo_returns_the_question_with_its_images():
    session, _ = three_turns()
    say(session, "d", photo(seed=1), photo(seed=2))
    list(session.retry())
    assert session.undo() == user_message("d", [photo(seed=1), photo(seed=2)])
    assert shown(session) == ["a A", "b B", "c C"]
    assert session.undo() == user_message("c")


def test_undo_after_an_edit_shows_the_version_before_it():
    session, _ = three_turns()
    say(session, "c2", at=2)
    assert session.undo() == user_message("c2")
    assert shown(session) == ["a A", "b B", "c C"]
    assert session.versions(2) == (1, 1)


# ---- going on ----


def unfinished(*more: list[Step], **how: str) -> tuple[ChatSession, ScriptedBackend]:
    """One turn, "A c", cut off at the length limit."""
    numbers = Timings(first_token=0.5, decode=1.0, peak_bytes=7)
    end = Finished("length", Usage(prompt_tokens=20, image_tokens=16, completion_tokens=2), numbers)
    backend = ScriptedBackend(["A c", end], *more)
    session = ChatSession(backend, **how)
    say(session, "What?", photo(), options=GenerationOptions(temperature=0.5, seed=3))
    return session, backend


def test_an_answer_that_was_cut_off_goes_on():
    numbers = Timings(first_token=9.0, decode=2.0, peak_bytes=5)
    end = Finished("stop", Usage(prompt_tokens=99, completion_tokens=4), numbers)
    session, backend = unfinished(["at.", end])
    assert session.turns[0].tokens == 22
    events = list(session.go_on())
    assert events == [TextDelta("at."), end]
    assert backend.asked[1].messages == [user_message("What?", [photo()]), answer("A c")]
    assert backend.asked[1].options == backend.asked[0].options
    (turn,) = session.turns
    assert turn.answer == "A cat."
    assert turn.finished == Finished(
        "stop", Usage(20, 16, 0, 6), Timings(first_token=0.5, decode=3.0, peak_bytes=7)
    )
    assert (turn.tokens, session.versions(0)) == (26, (1, 1))
    assert key_of(session.go_on) == "nothing_to_continue"


def test_an_answer_goes_on_after_stop_and_is_stopped_again():
    gate, cancel = threading.Event(), threading.Event()
    session, backend = unfinished(["a", gate, "x"], ["t.", Finished("length")], ["!"])
    events = session.go_on(cancel)
    next(events)
    cancel.set()
    list(events)
    assert (session.turns[0].answer, session.turns[0].finished.reason) == ("A ca", "cancelled")
    running = session.go_on()
    next(running)
    running.close()
    assert (session.turns[0].answer, session.turns[0].finished.reason) == ("A cat.", "cancelled")
    list(session.go_on())
    assert session.messages[1] == answer("A cat.!")
    assert backend.asked[-1].messages[-1] == answer("A cat.")


@pytest.mark.parametrize("script", [[ModelError("busy")], ["at", ModelError("busy")]])
def test_going_on_that_fails_leaves_the_answer_as_it_was(script):
    session, _ = unfinished(script)
    before = session.turns
    with pytest.raises(ModelError):
        list(session.go_on())
    assert session.turns == before
    assert not session.busy


def test_stopped_before_a_further_word_the_answer_is_as_it_was():
    session, _ = unfinished([threading.Event(), "at."])
    before, cancel = session.turns, threading.Event()
    cancel.set()
    list(session.go_on(cancel))
    assert session.turns == before


def test_nothing_to_go_on_with():
    session = ChatSession(ScriptedBackend())
    assert key_of(session.go_on) == "nothing_to_continue"
    say(session, "What?")
    assert key_of(session.go_on) == "nothing_to_continue"
    session = ChatSession(ScriptedBackend([Finished("length")]))
    say(session, "What?")
    assert key_of(session.go_on) == "nothing_to_continue"


def test_the_other_version_of_an_unfinished_answer_is_not_touched():
    session, _ = unfinished(["A dog", Finished("length")], ["."])
    list(session.retry())
    list(session.go_on())
    assert shown(session) == ["What? A dog."]
    session.choose(0, 1)
    assert shown(session) == ["What? A c"]


# ---- thoughts and the system prompt ----


def test_thoughts_are_no_part_of_the_history_but_are_gone_on_with():
    thinking = "<think>Fur, so</think>\n\nA c"
    backend = ScriptedBackend([thinking, Finished("length")], ["at."], ["Grey."])
    session = ChatSession(backend)
    say(session, "What?")
    list(session.go_on())
    assert backend.asked[1].messages[-1] == answer(thinking)
    say(session, "Which colour?")
    assert backend.asked[2].messages[1] == answer("A cat.")
    assert session.turns[0].answer == f"{thinking}at."


def test_the_system_prompt_may_change_between_turns():
    session, backend = unfinished(["at."], ["Grey."], system_prompt="Be brief.")
    session.system_prompt = "Be kind."
    list(session.go_on())
    assert backend.asked[1].messages[0].text == "Be brief."  # as the answer was begun
    say(session, "Which colour?")
    assert backend.asked[2].messages[0].text == "Be kind."
    assert [turn.system_prompt for turn in session.turns] == ["Be brief.", "Be kind."]
    session.system_prompt = ""
    list(session.retry())
    assert [message.role for message in backend.asked[3].messages] == ["user", "assistant", "user"]


# ---- the model's context ----


def counted(prompt: int, words: int) -> list[Step]:
    return ["x", Finished("stop", Usage(prompt_tokens=prompt, completion_tokens=words))]


def test_tokens_of_turns_add_up_to_the_context():
    session = ChatSession(ScriptedBackend(counted(100, 10), counted(130, 20), counted(45, 5)))
    say(session, "a")
    assert session.used_tokens == 110
    say(session, "b")
    assert [turn.tokens for turn in session.turns] == [110, 40]
    assert session.used_tokens == 150
    session.drop_oldest(1)
    assert session.used_tokens == 40
    say(session, "c")  # its prompt has the second turn and itself
    assert [turn.tokens for turn in session.turns] == [110, 40, 10]
    assert session.used_tokens == 50


def test_tokens_are_never_less_than_none():
    session = ChatSession(ScriptedBackend(counted(100, 10), counted(50, 5)))
    say(session, "a"), say(session, "b")
    assert [turn.tokens for turn in session.turns] == [110, 0]


def test_dropped_turns_are_shown_but_not_sent():
    session, backend = three_turns()
    session.drop_oldest(2)
    say(session, "d")
    assert backend.asked[3].messages == [user_message("c"), answer("C"), user_message("d")]
    assert shown(session) == ["a A", "b B", "c C", "d D"]
    session.drop_oldest(1)
    assert session.dropped == 2  # what was dropped stays dropped
    session.drop_oldest(99)
    assert session.dropped == 4
    assert session.messages == []


def test_dropping_ends_where_the_conversation_branches_off():
    session, backend = three_turns()
    session.drop_oldest(3)
    session.choose(2, 1)
    assert session.dropped == 2
    list(session.retry(1))
    assert backend.asked[3].messages == [user_message("b")]
    assert session.dropped == 1
    session.undo()
    assert session.dropped == 1
    session.clear()
    assert session.dropped == 0


def test_a_system_prompt_is_sent_when_everything_is_dropped():
    session = ChatSession(ScriptedBackend(), system_prompt="Be brief.")
    say(session, "a")
    session.drop_oldest(1)
    assert [message.text for message in session.messages] == ["Be brief."]


@pytest.mark.parametrize(
    ("tokens", "limit", "count"),
    [
        (1000 - ANSWER_ROOM, 1000, 0),  # it fits just so
        (1001 - ANSWER_ROOM, 1000, 1),
        (1110 - ANSWER_ROOM, 1000, 1),
        (1111 - ANSWER_ROOM, 1000, 2),
        (1150 - ANSWER_ROOM, 1000, 2),
        (1151 - ANSWER_ROOM, 1000, 2),  # nothing is left to drop
        (75, 100, 0),  # a small model keeps a quarter for the answer
        (76, 100, 1),
    ],
)
def test_how_many_turns_to_drop(tokens, limit, count):
    session = ChatSession(ScriptedBackend(counted(100, 10), counted(130, 20)))
    say(session, "a"), say(session, "b")
    assert [turn.tokens for turn in session.turns] == [110, 40]
    assert session.too_many_for(tokens, limit) == count


def test_what_is_dropped_already_counts_no_more():
    session = ChatSession(ScriptedBackend(counted(100, 10), counted(130, 20), counted(200, 0)))
    for text in "abc":
        say(session, text)
    session.drop_oldest(1)
    assert session.too_many_for(1000, 2000) == 1
    assert session.too_many_for(1001 - ANSWER_ROOM, 1000) == 2
    assert session.too_many_for(1041 - ANSWER_ROOM, 1000) == 3


# ---- one answer at a time ----

WHILE_BUSY: dict[str, Callable[[ChatSession], object]] = {
    "send": lambda session: session.send("x"),
    "send at": lambda session: session.send("x", at=0),
    "retry": lambda session: session.retry(),
    "retry first": lambda session: session.retry(0),
    "go_on": lambda session: session.go_on(),
    "choose": lambda session: session.choose(0, 1),
    "undo": lambda session: session.undo(),
    "drop_oldest": lambda session: session.drop_oldest(1),
    "clear": lambda session: session.clear(),
}


@pytest.mark.parametrize("other_thread", [False, True])
@pytest.mark.parametrize("method", WHILE_BUSY)
@pytest.mark.parametrize("running", ["send", "go_on"])
def test_while_an_answer_runs_nothing_else_is_done(method, other_thread, running):
    session, backend = unfinished(["a", "t."])
    events = session.send("And?") if running == "send" else session.go_on()
    next(events)
    keys: list[str] = []
    threads = [threading.Thread(target=lambda: keys.append(key_of(call)))]

    def call() -> object:
        return WHILE_BUSY[method](session)

    if other_thread:
        threads[0].start()
        threads[0].join()
    else:
        keys.append(key_of(call))
    assert keys == ["busy"]
    assert session.busy
    list(events)
    assert not session.busy
    assert len(backend.asked) == 2
    assert session.dropped == 0
    assert shown(session) == (["What? A c", "And? at."] if running == "send" else ["What? A cat."])


def test_the_turn_to_add_to_is_the_last_one_when_the_answer_begins():
    session, _ = three_turns()
    later = session.send("d")  # nothing is asked before the first event is wanted
    say(session, "between")
    list(later)
    assert shown(session) == ["a A", "b B", "c C", "between D", "d E"]


# ---- everything at once, against a plain model of it ----


@dataclass
class Node:
    """A turn of the model: its words, and the versions of what follows."""

    question: str = ""
    answer: str = ""
    complete: bool = True
    following: list["Node"] = field(default_factory=list)
    chosen: int = 0


class SessionMachine(RuleBasedStateMachine):
    """Whatever is done in whatever order, the session shows and sends what the model says."""

    ENDS = st.sampled_from(["stop", "length", "cancelled", "left", "fails"])

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[list[Step]] = [[] for _ in range(60)]
        self.backend = ScriptedBackend(*self.scripts)
        self.session = ChatSession(self.backend)
        self.start = Node()
        self.dropped = 0

    def path(self) -> list[Node]:
        nodes = [self.start]
        while nodes[-1].following:
            nodes.append(nodes[-1].following[nodes[-1].chosen])
        return nodes

    def run(self, end: str, ask: Callable[[threading.Event], Iterator[Event]]) -> str:
        """Answers by a fresh word and ends as told; returns the answer."""
        word = f"<{len(self.backend.asked)}>"
        finals: dict[str, Step] = {"length": Finished("length"), "fails": ModelError("busy")}
        script = [word, finals.get(end, Finished("stop"))]
        self.scripts[len(self.backend.asked)][:] = script
        cancel = threading.Event()
        events = ask(cancel)
        next(events)
        if end == "left":
            events.close()
        elif end == "fails":
            with pytest.raises(ModelError):
                list(events)
        else:
            if end == "cancelled":
                cancel.set()
            list(events)
        return word

    def asked(self, at: int, question: str, end: str, word: str) -> None:
        """The model of a question that was answered."""
        before = self.path()[1 : at + 1][min(self.dropped, at) :]
        sent = [text for node in before for text in (node.question, node.answer)]
        assert [each.text for each in self.backend.asked[-1].messages] == [*sent, question]
        if end != "fails":
            fork = self.path()[at]
            fork.chosen = len(fork.following)
            fork.following.append(Node(question, word, end == "stop"))
            self.dropped = min(self.dropped, at)

    @rule(end=ENDS, number=st.integers(0, 3), data=st.data())
    def send(self, end: str, number: int, data: st.DataObject) -> None:
        last = len(self.path()) - 1
        at = data.draw(st.none() | st.integers(0, last))
        word = self.run(end, lambda cancel: self.session.send(f"q{number}", cancel=cancel, at=at))
        self.asked(last if at is None else at, f"q{number}", end, word)

    @precondition(lambda self: self.start.following)
    @rule(end=ENDS, data=st.data())
    def retry(self, end: str, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.path()) - 2))
        word = self.run(end, lambda cancel: self.session.retry(index, cancel=cancel))
        self.asked(index, self.path()[index + 1].question, end, word)

    @rule(end=ENDS)
    def go_on(self, end: str) -> None:
        last = self.path()[-1]
        if last.complete:
            assert key_of(self.session.go_on) == "nothing_to_continue"
            return
        begun = last.answer
        word = self.run(end, self.session.go_on)
        assert self.backend.asked[-1].messages[-1].text == begun
        if end != "fails":
            last.answer, last.complete = begun + word, end == "stop"

    @precondition(lambda self: self.start.following)
    @rule(data=st.data())
    def choose(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.path()) - 2))
        fork = self.path()[index]
        version = data.draw(st.integers(1, len(fork.following)))
        self.session.choose(index, version)
        fork.chosen = version - 1
        self.dropped = min(self.dropped, index)

    @precondition(lambda self: self.start.following)
    @rule()
    def undo(self) -> None:
        *before, fork, last = self.path()
        assert self.session.undo().text == last.question
        fork.following = [
            node for node in fork.following if node.following or node.question != last.question
        ]
        fork.chosen = max(len(fork.following) - 1, 0)
        self.dropped = min(self.dropped, len(before))

    @rule(count=st.integers(0, 4))
    def drop(self, count: int) -> None:
        self.session.drop_oldest(count)
        self.dropped = max(self.dropped, min(count, len(self.path()) - 1))

    @invariant()
    def shows_and_sends_what_the_model_says(self) -> None:
        path = self.path()
        assert shown(self.session) == [f"{node.question} {node.answer}" for node in path[1:]]
        assert [self.session.versions(index) for index in range(len(path) - 1)] == [
            (node.chosen + 1, len(node.following)) for node in path[:-1]
        ]
        assert self.session.dropped == self.dropped
        sent = [text for node in path[1:][self.dropped :] for text in (node.question, node.answer)]
        assert [message.text for message in self.session.messages] == sent
        assert not self.session.busy


SessionMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=25)
TestSessionMachine = SessionMachine.TestCase


def test_undo_keeps_versions_that_were_gone_on_with():
    session = ChatSession(ScriptedBackend(["one"], ["two"], ["three"]))
    list(session.send("First?"))
    list(session.send("Second?"))
    list(session.retry(0))
    assert [turn.answer for turn in session.turns] == ["three"]
    assert session.undo().text == "First?"
    assert [turn.answer for turn in session.turns] == ["one", "two"]


def test_what_a_turn_was_asked_with_can_be_told_later():
    backend = ScriptedBackend(["One."], ["<think>Hm.</think>Two."], ["Three."])
    session = ChatSession(backend, system_prompt="Be brief.")
    for text in ("First?", "Second?", "Third?"):
        list(session.send(text))
    session.system_prompt = "Be long."
    assert [session.asked(n) for n in range(3)] == [asked.messages for asked in backend.asked]
    session.drop_oldest(1)
    assert [message.text for message in session.asked(2)] == [
        "Be brief.",
        "Second?",
        "Two.",
        "Third?",
    ]
    with pytest.raises(RequestError):
        session.asked(3)

"""The same question about many images: order, stopping and going on, failures, figures."""

import threading

import pytest

from tests.support.fakes import BREAKS_OFF, ScriptedBackend, photo
from vlm.backend import Capabilities, Finished, Progress, Timings, Usage
from vlm.errors import ImageError, ModelError, RequestError
from vlm.multiples import FIGURES, Asked, Card, Multiples, arranged, figure
from vlm.options import GenerationOptions

ASKED = Asked("What is this?", GenerationOptions(seed=3))


def open_it(path):
    """A picture named by its path; a path with "bad" in it is none."""
    if "bad" in path:
        raise ImageError("image_empty", name=path)
    return photo(seed=sum(map(ord, path)))


def filled(*paths, most=64):
    multiples = Multiples(most)
    list(multiples.add(paths, open_it, lambda path: path))
    return multiples


def states(multiples):
    return [card.state for card in multiples.cards]


def run(multiples, backend, asked=ASKED):
    return list(multiples.ask(backend, asked, open_it))


# ---- images ----


def test_every_image_gets_a_card_with_a_small_copy():
    multiples = filled("a", "bad", "b")
    a, bad, b = multiples.cards
    assert [a.number, bad.number, b.number] == [1, 2, 3]
    assert a.size == (96, 64)
    assert a.thumbnail.startswith("data:image/webp;base64,")
    assert (bad.state, bad.thumbnail, bad.error.key) == ("failed", "", "image_empty")
    assert a.thumbnail != b.thumbnail


def test_too_many_are_refused_whole():
    multiples = filled("a", "b", most=3)
    with pytest.raises(RequestError) as refused:
        list(multiples.add(["c", "d"], open_it, str))
    assert refused.value.facts == {"got": 4, "limit": 3}
    assert len(multiples.cards) == 2


def test_numbers_are_not_used_twice():
    multiples = filled("a", "b")
    multiples.remove(2)
    list(multiples.add(["c"], open_it, str))
    assert [card.number for card in multiples.cards] == [1, 3]


# ---- asking ----


def test_each_is_asked_by_itself_in_order():
    backend = ScriptedBackend(["A ", "cat."], ["A dog."])
    multiples = filled("a", "bad", "b")
    run(multiples, backend, Asked("What?", GenerationOptions(seed=3), "Be brief."))
    assert states(multiples) == ["done", "failed", "done"]
    assert [card.answer for card in multiples.cards] == ["A cat.", "", "A dog."]
    assert [len(asked.messages[-1].images) for asked in backend.asked] == [1, 1]
    assert [asked.messages[0].text for asked in backend.asked] == ["Be brief.", "Be brief."]
    assert backend.asked[1].messages[-1].images == (open_it("b"),)
    assert multiples.cards[0].model == "Scripted · fp32 · CPU"


def test_a_card_is_told_of_with_every_piece():
    multiples = filled("a")
    backend = ScriptedBackend([Progress("thinking"), "A ", "cat."])
    seen = [
        (card.state, card.progress and card.progress.stage, card.answer)
        for card in multiples.ask(backend, ASKED, open_it)
    ]
    assert seen == [
        ("running", None, ""),
        ("running", "thinking", ""),
        ("running", None, "A "),
        ("running", None, "A cat."),
        ("done", None, "A cat."),
        ("done", None, "A cat."),
    ]


def test_a_seed_is_drawn_once_for_all():
    backend = ScriptedBackend(["Yes."])
    multiples = filled("a", "b")
    run(multiples, backend, Asked("What?", GenerationOptions()))
    first, second = (asked.options.seed for asked in backend.asked)
    assert first == second == multiples.asked.options.seed is not None


@pytest.mark.parametrize(
    ("paths", "question", "key"),
    [
        (["a"], "  ", "multiples_no_question"),
        ([], "What?", "multiples_no_image"),
        (["bad"], "What?", "multiples_no_image"),
    ],
)
def test_what_cannot_be_asked(paths, question, key):
    multiples = filled(*paths)
    with pytest.raises(RequestError) as refused:
        run(multiples, ScriptedBackend(), Asked(question, GenerationOptions()))
    assert refused.value.key == key
    assert not multiples.busy


def test_stopped_and_gone_on_with():
    backend = ScriptedBackend(["One."], ["Two ", threading.Event()], ["Two."], ["Three."])
    multiples = filled("a", "b", "c")
    for card in multiples.ask(backend, ASKED, open_it):
        if card.answer == "Two ":
            multiples.cancel.set()
    assert states(multiples) == ["done", "stopped", "waiting"]
    assert [card.answer for card in multiples.cards] == ["One.", "Two ", ""]
    assert multiples.cards[1].finished.reason == "cancelled"
    assert [card.number for card in multiples.left] == [2, 3]
    list(multiples.go_on(backend, open_it))
    assert states(multiples) == ["done"] * 3
    assert [card.answer for card in multiples.cards] == ["One.", "Two.", "Three."]
    assert len(backend.asked) == 4
    with pytest.raises(RequestError, match="Nothing is left"):
        list(multiples.go_on(backend, open_it))


def test_stopped_before_the_first_word_waits_again():
    multiples = filled("a")
    backend = ScriptedBackend([threading.Event(), "One."])
    for _ in multiples.ask(backend, ASKED, open_it):
        multiples.cancel.set()
    assert states(multiples) == ["waiting"]
    assert multiples.cards[0].finished is None


@pytest.mark.parametrize(("words", "state"), [([], "waiting"), (["Half "], "stopped")])
def test_a_backend_that_breaks_off_is_asked_once_each(words, state):
    """It was stopped by nobody here: the run ends, and the cards can be gone on with."""
    closed = [*words, Finished("cancelled")]
    backend = ScriptedBackend(closed, closed, ["One."], ["Two."])
    multiples = filled("a", "b")
    run(multiples, backend)
    assert states(multiples) == [state, state]
    assert len(backend.asked) == 2
    list(multiples.go_on(backend, open_it))
    assert [card.answer for card in multiples.cards] == ["One.", "Two."]


def test_a_failure_stays_on_its_card_and_the_rest_goes_on():
    full = RequestError("context_full", got=9, limit=5)
    backend = ScriptedBackend(["Half ", full], [BREAKS_OFF], [ZeroDivisionError()], ["Four."])
    multiples = filled("a", "b", "c", "d")
    run(multiples, backend)
    assert states(multiples) == ["failed", "failed", "failed", "done"]
    keys = [card.error.key for card in multiples.cards[:3]]
    assert keys == ["context_full", "multiples_broke_off", "multiples_unexpected"]
    assert multiples.cards[0].answer == ""
    list(multiples.go_on(ScriptedBackend(["Now."]), open_it))
    assert [card.answer for card in multiples.cards] == ["Now.", "Now.", "Now.", "Four."]


def test_without_a_model_nothing_is_lost():
    backend = ScriptedBackend(["One."], [ModelError("loading_cancelled")])
    multiples = filled("a", "b", "c")
    with pytest.raises(ModelError):
        run(multiples, backend)
    assert states(multiples) == ["done", "waiting", "waiting"]
    assert not multiples.busy


def test_one_run_at_a_time_and_a_listener_that_leaves_stops_it():
    backend = ScriptedBackend(["One ", threading.Event()])
    multiples = filled("a", "b")
    running = multiples.ask(backend, ASKED, open_it)
    next(running)
    next(running)
    assert multiples.busy
    for more in (multiples.ask(backend, ASKED, open_it), multiples.go_on(backend, open_it)):
        with pytest.raises(RequestError):
            next(more)
    with pytest.raises(RequestError):
        multiples.clear()
    multiples.remove(1)  # it is being answered
    assert len(multiples.cards) == 2
    running.close()
    assert multiples.cancel.is_set()
    assert backend.asked[0].left
    assert states(multiples) == ["stopped", "waiting"]
    assert not multiples.busy


def test_what_is_added_meanwhile_is_asked_too():
    backend = ScriptedBackend(["Yes."])
    multiples = filled("a")
    for card in multiples.ask(backend, ASKED, open_it):
        if card.answer and len(multiples.cards) == 1:
            list(multiples.add(["b"], open_it, str))
    assert states(multiples) == ["done", "done"]


def test_asked_anew_forgets_the_answers_before():
    multiples = filled("a", "bad")
    run(multiples, ScriptedBackend(["One."]))
    run(multiples, ScriptedBackend(["Two."]))
    assert [card.answer for card in multiples.cards] == ["Two.", ""]
    assert multiples.cards[1].error is not None


# ---- figures ----


def answered(number, name, text, tokens, seconds, size=(10, 10)):
    finished = Finished(
        "stop",
        Usage(prompt_tokens=20 + number, image_tokens=16, completion_tokens=tokens),
        Timings(first_token=0.5, decode=seconds - 0.5),
    )
    return Card(number, name, name, "data:x", size, "done", None, text, finished)


CARDS = [
    answered(1, "b10.png", "long answer", 21, 1.5, (20, 20)),
    answered(2, "b9.png", "short", 6, 3.0),
    Card(3, "A1.png", "A1.png", "data:x", (5, 5)),
    answered(4, "c.png", "middle!", 11, 1.5, (20, 20)),
]


@pytest.mark.parametrize(
    ("by", "largest_first", "numbers"),
    [
        ("number", False, [1, 2, 3, 4]),
        ("number", True, [4, 3, 2, 1]),
        ("name", False, [3, 2, 1, 4]),
        ("length", False, [2, 4, 1, 3]),
        ("length", True, [1, 4, 2, 3]),
        ("pixels", True, [1, 4, 2, 3]),
        ("seconds", False, [1, 4, 2, 3]),
        ("seconds", True, [2, 1, 4, 3]),
        ("tokens_out", True, [1, 4, 2, 3]),
        ("tokens_in", False, [1, 2, 4, 3]),
        ("speed", True, [1, 4, 2, 3]),
        ("first_token", True, [1, 2, 4, 3]),
        ("image_tokens", True, [1, 2, 4, 3]),
    ],
)
def test_sorted_by_any_figure(by, largest_first, numbers):
    assert [card.number for card in arranged(CARDS, by, largest_first)] == numbers


def test_figures_of_a_card():
    values = {name: figure(CARDS[0], name) for name in FIGURES if name != "name"}
    assert values == {
        "number": 1,
        "length": 11,
        "pixels": 400,
        "seconds": 1.5,
        "first_token": 0.5,
        "speed": 20.0,
        "tokens_in": 21,
        "image_tokens": 16,
        "tokens_out": 21,
    }
    with pytest.raises(KeyError):
        figure(CARDS[0], "no such")


def test_forgetting_stops_and_drops_everything():
    multiples = filled("a")
    multiples.forget()
    assert multiples.cancel.is_set()
    assert multiples.cards == []


def test_the_model_is_told_with_every_answer():
    first, second = (
        ScriptedBackend(["Yes."], able=Capabilities(name=name)) for name in ("One", "Two")
    )
    multiples = filled("a")
    run(multiples, first)
    list(multiples.add(["b"], open_it, str))
    list(multiples.go_on(second, open_it))
    assert [card.model for card in multiples.cards] == ["One", "Two"]

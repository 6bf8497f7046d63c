"""Two sides asked the same: swaps, stops in every phase, failures, what comes back, votes."""

import threading
import time
from dataclasses import replace
from functools import partial

import pytest

from tests.support.fakes import BREAKS_OFF, ScriptedBackend, photo
from vlm.backend import Capabilities, Progress, open_backend, prepare_backend
from vlm.errors import ModelError, RequestError
from vlm.messages import user_message
from vlm.model_slot import ModelSlot
from vlm.options import GenerationOptions
from vlm.settings import Settings
from vlm.versus import Side, Tally, compare, loaded_kind
from vlm.versus_runner import Runner

A = Settings(model="alpha", quantization="auto")
IMAGES = [photo(seed=1), photo(seed=2)]


class Opening:
    """Opens a scripted backend by name; notes what was opened, and waits where it is told to.

    Attributes:
        asked: (model, quantization) of each, oldest first.
        scripts: model -> the script of its answers.
        failures: model -> what is raised.
        gates: model -> loading it waits for this.
        backends: model -> the last one that was opened.
        knobs: model -> what its processor lets one choose.
    """

    def __init__(self):
        self.asked = []
        self.scripts = {}
        self.failures = {}
        self.gates = {}
        self.backends = {}
        self.knobs = {}

    def __call__(self, settings, report, cancel):
        self.asked.append((settings.model, settings.quantization))
        report("weights", 1, 4)
        gate = self.gates.get(settings.model)
        while gate is not None and not gate.wait(0.01):
            if cancel.is_set():
                raise ModelError("loading_cancelled")
        if settings.model in self.failures:
            raise self.failures[settings.model]
        kind = "bf16" if settings.quantization in ("auto", "none") else settings.quantization
        able = Capabilities(
            name=settings.model.title(),
            details=(kind, "CPU"),
            memory={"tower": 2, "text": 3},
            image_knobs=self.knobs.get(settings.model, ()),
        )
        script = self.scripts.setdefault(settings.model, [f"I am {settings.model}."])
        backend = ScriptedBackend(script, able=able)
        self.backends[settings.model] = backend
        return backend


@pytest.fixture
def opening():
    return Opening()


@pytest.fixture
def slot(opening):
    slot = ModelSlot(opening, A)
    slot.opened()
    yield slot
    slot.close()


def run(slot, *sides, **options):
    comparison = compare(sides, IMAGES, "What?", blind=options.pop("blind", False))
    runner = Runner(slot, may_exchange=options.pop("may_exchange", True), **options)
    for _ in runner.run(comparison):
        pass
    return comparison


def states(comparison):
    return [frame.state for frame in comparison.frames]


def settle(slot):
    """Waits until no loading is under way any more."""
    deadline = time.monotonic() + 20
    while slot.loading is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


# ---- which model a side needs ----


@pytest.mark.parametrize(
    ("side", "model", "quantization"),
    [
        (Side(), "alpha", "auto"),
        (Side(model="alpha"), "alpha", "auto"),
        (Side(quantization="auto"), "alpha", "auto"),
        (Side(model="alpha", quantization="none"), "alpha", "auto"),  # what "auto" came to
        (Side(quantization="nf4"), "alpha", "nf4"),
        (Side(model="beta"), "beta", "auto"),
        (Side(model="beta", quantization="none"), "beta", "none"),
    ],
)
def test_the_model_of_a_side(side, model, quantization):
    able = Capabilities(name="Alpha", details=("bf16", "CPU"))
    wanted = side.wanted(replace(A, tokenizer="t"), able)
    assert (wanted.model, wanted.quantization) == (model, quantization)
    assert wanted.tokenizer == ("t" if model == "alpha" else "")


def test_what_is_loaded():
    assert loaded_kind(None) == ""
    assert loaded_kind(Capabilities(name="x")) == ""
    assert loaded_kind(Capabilities(name="x", details=("fp32", "CPU"))) == "none"
    assert loaded_kind(Capabilities(name="x", details=("nf4", "CUDA"))) == "nf4"


# ---- asking ----


def test_two_settings_of_one_model_need_no_exchange(slot, opening):
    warm = Side(options=GenerationOptions(temperature=0.7), system_prompt="Be brief.")
    comparison = run(slot, Side(), warm)
    assert states(comparison) == ["done", "done"]
    assert opening.asked == [("alpha", "auto")]
    first, second = opening.backends["alpha"].asked
    assert (first.options.temperature, second.options.temperature) == (None, 0.7)
    assert first.options.seed == second.options.seed == comparison.frames[0].seed
    assert [message.role for message in second.messages] == ["system", "user"]
    assert second.messages[0].text == "Be brief."
    assert first.messages == [user_message("What?", IMAGES)]
    assert (comparison.restored, comparison.kept) == ("", "")


def test_the_same_precision_by_another_name_needs_no_exchange(slot, opening):
    run(slot, Side(model="alpha", quantization="none"), Side(quantization="auto"))
    assert opening.asked == [("alpha", "auto")]


def test_another_model_is_loaded_and_the_one_before_comes_back(slot, opening):
    comparison = run(slot, Side(), Side(model="beta"))
    assert [frame.answer for frame in comparison.frames] == ["I am alpha.", "I am beta."]
    assert [frame.able.name for frame in comparison.frames] == ["Alpha", "Beta"]
    assert [frame.model_bytes for frame in comparison.frames] == [5, 5]
    assert opening.asked == [("alpha", "auto"), ("beta", "auto"), ("alpha", "auto")]
    assert comparison.frames[0].seconds == 0 < comparison.frames[1].seconds
    assert slot.settings == A
    assert (comparison.restored, comparison.kept) == ("Alpha", "")


def test_the_side_that_is_loaded_goes_first(slot, opening):
    comparison = run(slot, Side(model="beta"), Side())
    assert [frame.answer for frame in comparison.frames] == ["I am beta.", "I am alpha."]
    assert [name for name, _ in opening.asked] == ["alpha", "beta", "alpha"]
    assert comparison.restored == "Alpha"  # after both, not in between for the second side


def test_the_other_model_stays_where_that_is_wanted(slot, opening):
    comparison = run(slot, Side(), Side(model="beta"), bring_back=False)
    assert slot.settings.model == "beta"
    assert (comparison.restored, comparison.kept) == ("", "Beta")
    assert len(opening.asked) == 2


def test_two_other_models(slot, opening):
    run(slot, Side(model="beta"), Side(model="gamma"))
    assert [name for name, _ in opening.asked] == ["alpha", "beta", "gamma", "alpha"]


def test_what_happens_meanwhile_is_told(slot, opening):
    opening.scripts["beta"] = [Progress("reading", 1, 2), "Beta."]
    comparison = compare((Side(), Side(model="beta")), IMAGES, "What?")
    seen = []
    for _ in Runner(slot, may_exchange=True).run(comparison):
        b = comparison.frames[1]
        seen.append((b.state, b.loading is not None, b.progress is not None))
        assert not comparison.over
    for each in [
        ("waiting", False, False),
        ("loading", True, False),
        ("answering", False, True),
        ("done", False, False),
    ]:
        assert each in seen, each
    assert comparison.over


# ---- what fails ----


def test_a_model_that_does_not_load_leaves_the_other_answer(slot, opening):
    opening.failures["beta"] = ModelError("hub_gated", source="beta")
    comparison = run(slot, Side(), Side(model="beta"))
    assert states(comparison) == ["done", "failed"]
    assert comparison.frames[0].answer == "I am alpha."
    assert comparison.frames[1].error.key == "hub_gated"
    assert slot.settings == A
    assert slot.state == "ready"


def test_a_bug_while_loading_is_told_too(slot, opening):
    opening.failures["beta"] = ZeroDivisionError()
    comparison = run(slot, Side(), Side(model="beta"))
    assert comparison.frames[1].error.key == "cannot_load"


def test_a_side_that_fails_does_not_keep_the_other_from_answering(slot, opening):
    opening.failures["beta"] = ModelError("hub_gated", source="beta")
    comparison = run(slot, Side(model="beta"), Side(model="gamma"))
    assert states(comparison) == ["failed", "done"]
    assert slot.settings == A


@pytest.mark.parametrize("step", [BREAKS_OFF, RequestError("context_full", got=9, limit=5)])
def test_an_answer_that_fails_leaves_nothing_half(slot, opening, step):
    opening.scripts["beta"] = ["Half ", step]
    comparison = run(slot, Side(), Side(model="beta"))
    assert states(comparison) == ["done", "failed"]
    assert comparison.frames[1].answer == ""
    assert slot.settings == A


def test_where_visitors_share_the_model_only_settings_differ(slot, opening):
    with pytest.raises(RequestError) as refused:
        run(slot, Side(), Side(model="beta"), may_exchange=False)
    assert refused.value.key == "hosted_model"
    with pytest.raises(RequestError):
        run(slot, Side(), Side(quantization="nf4"), may_exchange=False)
    warm = Side(options=GenerationOptions(temperature=1.0))
    assert states(run(slot, Side(), warm, may_exchange=False)) == ["done", "done"]
    assert opening.asked == [("alpha", "auto")]


def test_without_prompt_or_image():
    with pytest.raises(RequestError) as refused:
        compare((Side(), Side()), IMAGES, "  ")
    assert refused.value.key == "versus_no_prompt"
    with pytest.raises(RequestError) as refused:
        compare((Side(), Side()), [], "What?")
    assert refused.value.key == "versus_no_image"


# ---- others at the same place ----


def test_no_other_model_answers_in_the_place_of_a_side(slot, opening):
    """Somebody exchanges the model between two sides."""
    comparison = compare((Side(), Side(quantization="auto")), IMAGES, "What?")
    running = Runner(slot, may_exchange=True).run(comparison)
    for _ in running:
        if comparison.frames[0].state == "done":
            break
    slot.exchange(replace(A, model="delta")).over.wait(20)
    for _ in running:
        pass
    # What side B needs is not there any more: it is loaded again, or the side says so.
    assert "delta" not in comparison.frames[1].answer
    assert comparison.frames[1].state in ("done", "failed")


def test_the_place_refuses_to_answer_for_another_model(slot):
    other = replace(A, model="delta")
    asked = slot.stream([user_message("What?")], GenerationOptions(), threading.Event(), only=other)
    with pytest.raises(RequestError) as refused:
        list(asked)
    assert refused.value.key == "model_changed"
    own = slot.stream([user_message("What?")], GenerationOptions(), threading.Event(), only=A)
    assert list(own)


def test_a_choice_that_somebody_made_meanwhile_stays(slot, opening):
    comparison = compare((Side(), Side(model="beta")), IMAGES, "What?")
    for _ in Runner(slot, may_exchange=True).run(comparison):
        if comparison.frames[1].state == "done" and slot._users == 0 and slot.loading is None:
            slot.exchange(replace(A, model="delta")).over.wait(20)
    assert slot.settings.model == "delta"
    assert comparison.restored == ""


def test_a_loading_under_way_is_not_disturbed(slot, opening):
    opening.gates["delta"] = gate = threading.Event()
    loading = slot.exchange(replace(A, model="delta"))
    comparison = compare((Side(model="beta"), Side(model="gamma")), IMAGES, "What?")
    running = Runner(slot, may_exchange=True).run
    # The place waits for that model first; then the sides take their turns.
    threading.Timer(0.2, gate.set).start()
    for _ in running(comparison):
        pass
    assert loading.error is None
    assert not loading.cancel.is_set()


def test_questions_of_others_wait_for_an_exchange(slot, opening):
    opening.gates["beta"] = gate = threading.Event()
    comparison = compare((Side(), Side(model="beta")), IMAGES, "What?")
    answers = []

    def ask():
        events = slot.stream([user_message("Hello?")], GenerationOptions(), threading.Event())
        answers.append([getattr(event, "text", "") for event in events])

    other = threading.Thread(target=ask)
    for _ in Runner(slot, may_exchange=True).run(comparison):
        if comparison.frames[1].state == "loading" and slot.state == "loading":
            if not other.ident:
                other.start()
            gate.set()
    other.join(20)
    assert states(comparison) == ["done", "done"]
    assert len(answers) == 1
    assert "".join(answers[0]).startswith("I am ")


# ---- stopping ----


def stopped_when(slot, comparison, when, **options):
    runner = Runner(slot, may_exchange=True, **options)
    for _ in runner.run(comparison):
        if when():
            comparison.stop()
    return comparison


def test_stopped_while_the_first_side_answers(slot, opening):
    opening.scripts["alpha"][:] = ["I am ", threading.Event(), "alpha."]
    comparison = compare((Side(), Side(model="beta")), IMAGES, "What?")
    stopped_when(slot, comparison, lambda: comparison.frames[0].answer)
    assert states(comparison) == ["stopped", "waiting"]
    assert comparison.frames[0].answer == "I am "
    assert opening.asked == [("alpha", "auto")]
    assert comparison.over


def test_stopped_while_the_other_model_is_loaded(slot, opening):
    opening.gates["beta"] = threading.Event()
    comparison = compare((Side(), Side(model="beta")), IMAGES, "What?")
    stopped_when(slot, comparison, lambda: comparison.frames[1].state == "loading")
    assert states(comparison) == ["done", "stopped"]
    settle(slot)
    assert slot.settings == A
    assert slot.state == "ready"


def test_stopped_while_the_second_side_answers(slot, opening):
    opening.scripts["beta"] = ["I am ", threading.Event()]
    comparison = compare((Side(), Side(model="beta")), IMAGES, "What?")

    def answering():
        opening.gates.setdefault("alpha", back := threading.Event())
        threading.Timer(0.6, back.set).start()  # the way back takes several looks
        return comparison.frames[1].state == "answering" and comparison.frames[1].answer

    stopped_when(slot, comparison, answering)
    assert states(comparison) == ["done", "stopped"]
    assert comparison.frames[1].answer == "I am "
    assert slot.settings == A  # a stop of the answer does not stop the way back
    assert comparison.restored == "Alpha"


def test_stopped_while_the_model_before_comes_back(slot, opening):
    comparison = compare((Side(), Side(model="beta")), IMAGES, "What?")

    def restoring():
        opening.gates["alpha"] = threading.Event()
        return comparison.restoring is not None

    stopped_when(slot, comparison, restoring)
    assert states(comparison) == ["done", "done"]
    assert slot.settings.model == "beta"
    assert slot.state == "ready"
    assert (comparison.restored, comparison.kept) == ("", "Beta")


@pytest.mark.parametrize("phase", ["loading", "answering"])
def test_a_listener_that_leaves_gets_the_model_back(slot, opening, phase):
    opening.scripts["beta"] = ["I am ", threading.Event()]
    if phase == "loading":
        opening.gates["beta"] = threading.Event()
    comparison = compare((Side(), Side(model="beta")), IMAGES, "What?")
    running = Runner(slot, may_exchange=True).run(comparison)
    for _ in running:
        if comparison.frames[1].state == phase:
            break
    running.close()
    deadline = time.monotonic() + 20
    while slot.settings != A or slot.state != "ready":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert comparison.cancel.is_set()
    assert comparison.over


# ---- blind, with votes ----


def blind(slot, *sides, draw=0.9):
    comparison = compare(sides, IMAGES, "What?", blind=True, draw=lambda: draw)
    for _ in Runner(slot, may_exchange=True).run(comparison):
        assert comparison.hidden
    return comparison


def test_the_order_of_a_blind_comparison_is_drawn_by_lot():
    sides = (Side(system_prompt="a"), Side(system_prompt="b"))
    orders = {
        draw: compare(sides, IMAGES, "?", blind=True, draw=partial(float, draw)).frames
        for draw in (0.1, 0.9)
    }
    orders = {draw: [f.side.system_prompt for f in frames] for draw, frames in orders.items()}
    assert orders == {0.1: ["b", "a"], 0.9: ["a", "b"]}
    swapped = compare(sides, IMAGES, "?", blind=True, draw=lambda: 0.1)
    assert swapped.a.side.system_prompt == "a"
    seen = compare(sides, IMAGES, "?", draw=lambda: 0.1)
    assert seen.frames[0].side.system_prompt == "a"  # never where names are shown


def test_the_model_that_is_loaded_goes_first_in_a_blind_comparison_too(slot, opening):
    blind(slot, Side(model="beta"), Side(), draw=0.1)
    assert [name for name, _ in opening.asked] == ["alpha", "beta", "alpha"]


def test_a_vote_reveals_and_counts(slot):
    tally, comparison = Tally(), blind(slot, Side(), Side(model="beta"), draw=0.1)
    first, second = comparison.frames
    assert (first.able.name, second.able.name) == ("Beta", "Alpha")
    tally.vote(comparison, "first")
    assert not comparison.hidden
    assert vars(tally.counts[first.key]) == {"better": 1, "worse": 0, "ties": 0, "both_bad": 0}
    assert vars(tally.counts[second.key]) == {"better": 0, "worse": 1, "ties": 0, "both_bad": 0}
    with pytest.raises(RequestError, match="nothing to vote on"):
        tally.vote(comparison, "second")
    assert tally.counts[first.key].votes == 1


def test_votes_of_the_same_model_and_settings_add_up(slot):
    tally = Tally()
    for vote in ("second", "tie", "both_bad", "second"):
        tally.vote(blind(slot, Side(), Side(options=GenerationOptions(temperature=1.0))), vote)
    warm = next(key for key in tally.counts if "temperature" in key[2])
    assert len(tally.counts) == 2
    assert vars(tally.counts[warm]) == {"better": 2, "worse": 0, "ties": 1, "both_bad": 1}


def test_a_tie_of_two_equal_sides_counts_once(slot):
    tally = Tally()
    tally.vote(blind(slot, Side(), Side()), "tie")
    (count,) = tally.counts.values()
    assert count.ties == 1


def test_what_cannot_be_voted_on(slot, opening):
    tally = Tally()
    seen = run(slot, Side(), Side())
    opening.failures["beta"] = ModelError("hub_gated", source="beta")
    failed = run(slot, Side(), Side(model="beta"), blind=True)
    assert not failed.hidden  # there is no vote to wait for
    fresh = compare((Side(), Side()), IMAGES, "What?", blind=True)
    good = blind(slot, Side(), Side())
    for comparison, vote in [(seen, "tie"), (failed, "tie"), (fresh, "tie"), (good, "best")]:
        with pytest.raises(RequestError):
            tally.vote(comparison, vote)
    assert tally.counts == {}


# ---- the real engine ----


def test_two_precisions_of_the_embedded_model():
    """A real exchange: 16 bits, 4 bits, and 16 bits again."""
    settings = Settings(quantization="none")
    slot = ModelSlot(open_backend, settings, prepare_backend)
    short = GenerationOptions(temperature=0, max_new_tokens=8)
    sides = (Side(options=short), Side(quantization="nf4", options=short))
    comparison = compare(sides, IMAGES[:1], "Describe the image.")
    for _ in Runner(slot, may_exchange=True).run(comparison):
        pass
    full, four = comparison.frames
    assert states(comparison) == ["done", "done"]
    assert (full.able.details[0], four.able.details[0]) == ("bf16", "nf4")
    assert full.answer and four.answer
    assert four.model_bytes < 0.6 * full.model_bytes
    assert full.finished.usage.cached_tokens == four.finished.usage.cached_tokens == 0
    assert slot.settings == settings
    again = compare((sides[0], sides[0]), IMAGES[:1], "Describe the image.")
    for _ in Runner(slot, may_exchange=True).run(again):
        pass
    assert [frame.answer for frame in again.frames] == [full.answer, full.answer]
    # Nothing is left over from the first side that would make the second look quicker.
    assert [frame.finished.usage.cached_tokens for frame in again.frames] == [0, 0]
    slot.close()

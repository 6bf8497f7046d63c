"""Where memory ran out: what fits is one press away, and what is here stays until then."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.fakes import ScriptedBackend, photo_bytes
from tests.ui.conftest import Opening, Served, Tab
from tests.ui.test_chat_turns import PRESS_UNSEEN, converse, ended
from vlm import families
from vlm.blueprint import RUNTIME, Workload, read
from vlm.errors import ModelError, RequestError
from vlm.estimate import COMFORT

pytestmark = pytest.mark.browser

PNG = {"name": "red.png", "mimeType": "image/png", "buffer": photo_bytes(seed=1)}
PATIENCE = 60_000
"""Milliseconds for the list of models, which reads the embedded one to say whether it fits."""
HELD = 1_000_000
"""Bytes that the model takes, as it says."""
RAN_OUT = RequestError(
    "out_of_memory_answer", free=0.2, tokens=900, room=512, images=1, width=96, height=64
)


def too_big(precision: str) -> ModelError:
    return ModelError(
        "out_of_memory_weights", source="x", needed=9.0, free=3.0, precision=precision
    )


@pytest.fixture
def source(checkpoints: Mapping[str, Path]) -> str:
    """A model with a limit of pixels."""
    return str(checkpoints["qwen2_5_vl"])


@pytest.fixture
def leave(
    source: str, opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> Callable[[float], None]:
    """`leave(missing)`: so many bytes are too few for the answer in 16 bits."""
    blueprint = read(source, device="cpu")
    opening.able = replace(
        opening.able,
        context_length=400,
        kv_cache_bits=(16, 8),
        image_knobs=(blueprint.knobs["pixels"],),
        memory={"language_model": HELD},
    )
    opening.scripts[source, "none"] = ["Never ", RAN_OUT], ["Yes."]
    workload = Workload(context=900 + 512, images=1, size=(96, 64))
    needed = blueprint.estimate("none", workload).total

    def start(missing: float) -> None:
        free = int((needed - missing) / COMFORT) - HELD - RUNTIME["cpu"]
        monkeypatch.setattr("vlm.memory.free_bytes", lambda device: free)

    return start


def ran_out(served: Served, open_tab: Callable[..., Tab]) -> Tab:
    """A page with an image whose question made memory run out."""
    tab = open_tab(served.address)
    tab.attach(PNG)
    tab.ask("What?")
    expect(tab.notice).to_contain_text("900 tokens with 1 image")
    return tab


def way(tab: Tab, words: str):
    return tab.notice.get_by_role("button", name=words)


def asked(backend: ScriptedBackend) -> tuple[str, list[str | None]]:
    """(words, names of images) of the last question that a model got."""
    message = backend.asked[-1].messages[-1]
    return message.text, [image.name for image in message.images]


# ---- smaller answers of the same model ----

SMALLER = {
    "fewer pixels": (1000, "at most 3,072 pixels an image", "image_detail", {"pixels": 3072}),
    "states in 8 bits": (1000, "with the context in 8 bit", "kv_cache_bits", 8),
    "a shorter answer": (1000, "answer of at most 256 tokens", "max_new_tokens", 256),
    "much shorter": (500_000, "answer of at most 128 tokens", "max_new_tokens", 128),
}


@pytest.mark.parametrize("name", SMALLER)
def test_what_fits_is_one_press_away(serve_models, open_tab, opening, source, leave, name):
    missing, words, option, value = SMALLER[name]
    leave(missing)
    tab = ran_out(serve_models(model=source), open_tab)
    expect(tab.notice).to_contain_text("0.2 GB are free")
    button = way(tab, words)
    expect(button).to_have_attribute("title", re.compile(r"Takes about \d+ MB of \d+ MB"))
    expect(tab.notice.get_by_role("button", name=re.compile("^Send again\\. "))).to_have_count(0)
    expect(tab.box).to_have_value("What?")
    button.click()
    tab.wait_for_answer()
    expect(tab.answers).to_have_text(["Yes."])
    expect(tab.notice).to_have_count(0)
    expect(tab.find(".chips button")).to_have_count(1)  # to be seen, and undone
    (backend,) = opening.opened  # nothing was loaded for it
    first, second = (getattr(each.options, option) for each in backend.asked)
    assert (first or None, second) == (None, value)
    assert asked(backend) == ("What?", ["red.png"])


def test_everything_at_once_where_no_single_change_is_enough(
    serve_models, open_tab, opening, source, leave
):
    leave(850_000)
    tab = ran_out(serve_models(model=source), open_tab)
    way(tab, "as small as it goes, in 16 bit").click()
    tab.wait_for_answer()
    options = opening.opened[0].asked[-1].options
    assert (options.max_new_tokens, options.kv_cache_bits) == (32, 8)
    assert options.image_detail["pixels"] < 3072


def test_a_press_may_leave_out_turns(serve_models, open_tab, opening, source, leave):
    leave(1000)
    opening.scripts[source, "none"] = ["One.", ended(prompt=300)], ["Never ", RAN_OUT], ["Two."]
    tab = open_tab(serve_models(model=source).address)
    converse(tab, "First?")
    tab.ask("Second?")
    way(tab, "Leave out turn 1 and send again").click()
    expect(tab.answers).to_have_text(["One.", "Two."])
    (backend,) = opening.opened
    assert [message.text for message in backend.asked[-1].messages] == ["Second?"]


def test_where_it_should_have_fitted_it_can_be_sent_again(
    serve_models, open_tab, opening, source, leave
):
    leave(-10_000_000)
    tab = ran_out(serve_models(model=source), open_tab)
    tab.notice.get_by_role("button", name=re.compile("^Send again. Takes")).click()
    tab.wait_for_answer()
    assert opening.opened[0].asked[-1].options.max_new_tokens is None


def test_where_nothing_fits_the_card_says_so(serve_models, open_tab, source, leave):
    leave(1e12)
    tab = ran_out(serve_models(model=source, hosted=True), open_tab)
    expect(tab.notice).to_contain_text("Nothing smaller fits")


# ---- another model, or fewer bits ----


def test_fewer_bits_are_loaded_by_one_press_and_the_model_stays_until_then(
    serve_models, open_tab, opening, source, leave
):
    leave(1000)
    opening.scripts[source, "nf4"] = (["In four bits."],)
    served = serve_models(model=source)
    tab = ran_out(served, open_tab)
    button = way(tab, "Load it in 4 bit and send again")
    expect(button).to_be_visible()
    other = open_tab(served.address)
    converse(other, "Who is here?")  # while the card stands, nothing has been loaded
    expect(other.answers).to_have_text(["Yes."])
    assert opening.asked == [(source, "none")]
    opening.go.clear()
    button.click()
    expect(tab.find("#notice .loading")).to_contain_text("3 of 12 tensors")
    opening.go.set()
    tab.wait_for_answer()
    expect(tab.answers).to_have_text(["In four bits."])
    expect(tab.notice).to_have_count(0)
    expect(tab.find("#model-status")).to_contain_text("nf4")
    assert opening.asked == [(source, "none"), (source, "nf4")]
    first, second = opening.opened
    assert first.closed and asked(second) == ("What?", ["red.png"])


def test_fewer_bits_that_do_not_come_leave_the_model_and_the_question(
    serve_models, open_tab, opening, source, leave
):
    leave(1000)
    opening.failures[source, "nf4"] = too_big("nf4")
    tab = ran_out(serve_models(model=source), open_tab)
    opening.scripts[source, "none"] = (["Here again."],)
    way(tab, "Load it in 4 bit and send again").click()
    expect(tab.notice).to_contain_text("in nf4 its weights alone need 9.0 GB")
    expect(tab.notice).to_contain_text("is still loaded", timeout=PATIENCE)
    expect(tab.notice.get_by_role("button", name="bit")).to_have_count(0)  # no fewer are left
    expect(tab.box).to_have_value("What?")
    way(tab, "Send again").click()
    tab.wait_for_answer()
    expect(tab.answers).to_have_text(["Here again."])
    assert opening.asked == [(source, "none"), (source, "nf4"), (source, "none")]
    assert asked(opening.opened[-1]) == ("What?", ["red.png"])


def test_a_smaller_model_is_loaded_by_one_press(
    serve_models, open_tab, opening, source, leave, monkeypatch
):
    leave(50_000)  # which 4 bits do not save
    own, model = families.catalogue(), families.look_up("google/paligemma-3b-mix-224")
    sizes = {"smaller": 0.1, "smallest": 0.05, "too large": 0.9}
    more = [
        replace(model, name=f"somebody/{name}", title=name.title(), source="a/b", parameters=size)
        for name, size in sizes.items()
    ]
    monkeypatch.setattr(families, "catalogue", lambda: (*own, *more))
    tab = ran_out(serve_models(model=source), open_tab)
    expect(tab.notice.get_by_role("button", name="Load")).to_have_count(1, timeout=PATIENCE)
    assert opening.asked == [(source, "none")]
    way(tab, "Load Smaller and send again").click()
    tab.wait_for_answer()
    expect(tab.answers).to_have_text(["I am somebody/smaller."])
    expect(tab.find("#model-status")).to_contain_text("somebody/smaller")
    assert opening.asked[-1] == ("somebody/smaller", "none")
    assert asked(opening.opened[-1]) == ("What?", ["red.png"])


# ---- a model that does not fit to begin with ----


def test_a_page_whose_model_does_not_fit_loads_it_in_fewer_bits(
    serve_models, opening, browser: Browser
):
    opening.failures["somebody/large", "auto"] = too_big("bf16")
    opening.scripts["somebody/large", "nf4"] = (["Here in four bits."],)
    served = serve_models(model="somebody/large", quantization="auto")
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    page.goto(served.address, wait_until="domcontentloaded")
    page.locator(".status.failed").wait_for()
    page.locator("#message textarea").fill("Hello?")
    page.locator("#message textarea").press("Enter")
    card = page.locator("#notice .card")
    expect(card).to_contain_text("in bf16 its weights alone need 9.0 GB")
    expect(card.get_by_role("button", name="Load it in 8 bit and send again")).to_be_visible()
    expect(card.get_by_role("button", name="Load the model again")).to_be_visible()
    card.get_by_role("button", name="Load it in 4 bit and send again").click()
    expect(page.locator("#chat [data-testid=bot] .md")).to_have_text("Here in four bits.")
    expect(page.locator(".status.ready")).to_contain_text("somebody/large")
    context.close()
    assert opening.asked == [("somebody/large", "auto"), ("somebody/large", "nf4")]


def test_on_a_shared_server_no_page_can_have_a_model_loaded(serve_models, open_tab, opening):
    tab = open_tab(serve_models(hosted=True).address)
    facts = {"act": "fit", "again": "send", "model": "somebody/else", "quantization": "nf4"}
    tab.page.evaluate(PRESS_UNSEEN, facts)
    expect(tab.notice).to_contain_text("visitors cannot change the model")
    assert opening.asked == [("pocket", "none")]

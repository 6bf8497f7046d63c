"""Models and settings side by side in a real browser: swaps, stops, blind votes, failures."""

import threading

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.support.fakes import photo_bytes
from tests.test_versus import Opening
from tests.ui.conftest import Tab
from vlm.backend import ImageKnob
from vlm.errors import ModelError
from vlm.model_slot import ModelSlot
from vlm.settings import Settings
from vlm.ui import frame

pytestmark = pytest.mark.browser

PNG = {"name": "red.png", "mimeType": "image/png", "buffer": photo_bytes(seed=1)}
OTHER = {"name": "blue.png", "mimeType": "image/png", "buffer": photo_bytes(seed=2)}
TEXT = {"name": "notes.png", "mimeType": "image/png", "buffer": b"a shopping list"}
BETA = "somebody/beta"


def go(tab: Tab, names=("Compare", "Models and settings")) -> None:
    for name in names:
        tab.page.get_by_role("tab", name=name, exact=True).click()
    tab.find("#versus-run").wait_for()


@pytest.fixture
def opening() -> Opening:
    return Opening()


@pytest.fixture
def versus(opening, serve_models, open_tab):
    """`versus(**settings)` opens the section with one image and a question."""

    def start(options=None, images=(PNG,), **settings) -> Tab:
        settings = {"model": "alpha", "quantization": "auto", **settings}
        tab = open_tab(serve_models(**settings).address, **(options or {}))
        go(tab)
        if images:
            add(tab, *images)
        tab.find("#versus-prompt textarea").fill("What is this?")
        return tab

    yield start
    for gate in opening.gates.values():
        gate.set()


def add(tab: Tab, *files) -> None:
    before = tab.find("#versus-images figure").count()
    tab.find("#versus-files input[type=file]").set_input_files(list(files))
    tab.find("#versus-images figure").nth(before + len(files) - 1).wait_for()


def choose(tab: Tab, side: str, model: str) -> None:
    picker = tab.find(f"#versus-model-{side} input")
    picker.fill(model)
    picker.press("Enter")


def precision(tab: Tab, side: str, name: str) -> None:
    tab.find(f"#versus-precision-{side} input").click()
    tab.page.get_by_role("option", name=name, exact=True).click()


def field(tab: Tab, side: str, name: str):
    if not tab.find(f"#versus-{side}-system-prompt").is_visible():
        tab.find(f"#versus-settings-{side} button").first.click()
    return tab.find(f"#versus-{side}-{name} textarea, #versus-{side}-{name} input").first


def side(tab: Tab, number: int):
    return tab.find("#versus-frames .side").nth(number)


def status(tab: Tab):
    return tab.find("#versus-status")


def run(tab: Tab) -> None:
    tab.find("#versus-run").click()


def run_to_the_end(tab: Tab, words="Both sides have answered") -> None:
    run(tab)
    expect(status(tab)).to_contain_text(words)
    tab.find("#versus-run").wait_for()


def notice(tab: Tab):
    return tab.find("#versus-notice .card")


# ---- settings of one model ----


def test_two_settings_of_the_model_that_is_loaded(versus, opening):
    opening.scripts["alpha"] = ["A ", "cat."]
    tab = versus(images=(PNG, OTHER))
    field(tab, "b", "temperature").fill("0.8")
    field(tab, "b", "max-tokens").fill("12")
    field(tab, "b", "seed").fill("5")
    field(tab, "b", "system-prompt").fill("Be brief.")
    run_to_the_end(tab)
    assert [name for name, _ in opening.asked] == ["alpha"]
    first, second = opening.backends["alpha"].asked
    assert first.options.temperature is None
    options = second.options
    assert (options.temperature, options.max_new_tokens, options.seed) == (0.8, 12, 5)
    assert second.messages[0].text == "Be brief."
    assert [image.name for image in first.messages[-1].images] == ["red.png", "blue.png"]
    expect(side(tab, 0)).to_contain_text("A · Alpha · bf16 · CPU")
    expect(side(tab, 0)).to_contain_text("all settings the model's own")
    expect(side(tab, 1)).to_contain_text("Temperature 0.8")
    expect(side(tab, 1)).to_contain_text("Be brief.")
    for number in range(2):
        for figure in ("tokens in", "first token 0.50 s", "1.50 s", "weights"):
            expect(side(tab, number).locator(".stats")).to_contain_text(figure)
    expect(side(tab, 1).locator(".stats")).to_contain_text("seed 5")
    expect(tab.find("#versus-frames")).to_contain_text("the same, word for word")
    expect(status(tab)).not_to_contain_text("loaded again")


def test_wrong_numbers_are_told(versus, opening):
    tab = versus()
    field(tab, "a", "temperature").fill("hot")
    run(tab)
    expect(notice(tab)).to_contain_text("Temperature")
    expect(tab.find("#versus-run")).to_be_enabled()
    assert opening.backends["alpha"].asked == []


def test_what_the_processor_lets_one_choose(versus, opening):
    opening.knobs["alpha"] = (ImageKnob(name="tiles", default=6, low=1, high=12),)
    tab = versus()
    tiles = field(tab, "a", "image-tiles")
    tiles.fill("4")
    run_to_the_end(tab)
    first, second = opening.backends["alpha"].asked
    assert (first.options.image_detail, second.options.image_detail) == ({"tiles": 4}, {})
    expect(side(tab, 0)).to_contain_text("Most tiles of an image 4")
    choose(tab, "a", BETA)  # what it lets one choose is known once it has been loaded
    expect(tab.find("#versus-a-image-detail")).to_contain_text("once this model has been loaded")
    expect(tab.find("#versus-a-image-tiles")).to_have_count(0)
    run(tab)
    expect(side(tab, 0)).to_contain_text("Somebody/Beta")
    expect(side(tab, 0)).to_contain_text(f"I am {BETA}.")
    assert opening.backends[BETA].asked[0].options.image_detail == {}


# ---- two models ----


def test_another_model_takes_its_turn_and_the_one_before_comes_back(versus, opening):
    opening.scripts["alpha"] = ["A cat sits on a mat."]
    opening.scripts[BETA] = ["A dog sits on a mat."]
    opening.gates[BETA] = gate = threading.Event()
    tab = versus()
    choose(tab, "b", BETA)
    precision(tab, "b", "4 bit")
    run(tab)
    expect(side(tab, 0)).to_contain_text("A cat sits on a mat.")
    loading = side(tab, 1).locator(".loading")
    expect(loading).to_contain_text(f"Loading {BETA}")
    expect(loading).to_contain_text("1 of 4 tensors")
    expect(tab.find("#versus-run")).to_be_hidden()
    gate.set()
    expect(status(tab)).to_contain_text("Both sides have answered. Alpha is loaded again.")
    expect(side(tab, 1)).to_contain_text("Somebody/Beta · nf4 · CPU")
    expect(side(tab, 0).locator("u.differs")).to_have_text(["cat"])
    expect(side(tab, 1).locator("u.differs")).to_have_text(["dog"])
    expect(side(tab, 1).locator(".stats")).to_contain_text("loaded in")
    assert opening.asked == [("alpha", "auto"), (BETA, "nf4"), ("alpha", "auto")]
    expect(tab.find(".status.ready")).to_contain_text("Alpha")


def test_the_other_model_stays_where_that_is_wanted(versus, opening):
    tab = versus()
    choose(tab, "b", BETA)
    tab.find("#versus-back input").uncheck()
    run_to_the_end(tab)
    expect(status(tab)).to_contain_text("Somebody/Beta stays loaded")
    expect(tab.find(".status.ready")).to_contain_text("Somebody/Beta")
    assert len(opening.asked) == 2


def test_sides_of_different_backends_answer_at_the_same_time(versus, opening):
    there = Opening()
    place = ModelSlot(there, Settings(model="gamma", backend="elsewhere"))
    gate = threading.Event()
    opening.scripts["alpha"] = ["I am ", gate, "alpha."]
    there.scripts["gamma"] = ["I am ", gate, "gamma."]
    tab = versus(others={"elsewhere": place})
    tab.find("#versus-backend-b input").click()
    tab.page.get_by_role("option", name="elsewhere", exact=True).click()
    run(tab)
    try:
        expect(status(tab)).to_have_text("Working on both answers …")
        for number in range(2):
            expect(side(tab, number).locator(".words")).to_have_text("I am")
    finally:
        gate.set()
    expect(status(tab)).to_contain_text("Both sides have answered")
    expect(side(tab, 0)).to_contain_text("I am alpha.")
    expect(side(tab, 1)).to_contain_text("I am gamma.")
    expect(side(tab, 1).locator("h2")).to_have_text("B · Gamma · bf16 · CPU · elsewhere")
    place.close()


def test_where_there_is_one_backend_nobody_is_asked_for_it(versus):
    expect(versus().find("#versus-backend-b")).to_be_hidden()


def test_a_model_that_does_not_load_leaves_the_other_answer(versus, opening):
    opening.failures[BETA] = ModelError("hub_gated", source=BETA)
    tab = versus()
    choose(tab, "b", BETA)
    run_to_the_end(tab, "One side could not answer")
    expect(side(tab, 0)).to_contain_text("I am alpha.")
    expect(side(tab, 1).locator("[role=alert]")).to_contain_text(BETA)
    expect(tab.find(".status.ready")).to_contain_text("Alpha")


def test_others_go_on_chatting(versus, opening, open_tab):
    opening.gates[BETA] = gate = threading.Event()
    tab = versus()
    choose(tab, "b", BETA)
    other = open_tab(tab.page.url)
    run(tab)
    side(tab, 1).locator(".loading").wait_for()
    other.ask("Hello?")
    gate.set()
    other.wait_for_answer()
    expect(other.answers.last).to_contain_text("I am")
    expect(status(tab)).to_contain_text("Both sides have answered")


@pytest.mark.parametrize("fault", [None, RuntimeError("odd")], ids=["ended", "broken"])
def test_the_header_is_right_at_once(versus, opening, monkeypatch, fault):
    """Also where the program fails and the other model stays: before the page looks again."""
    monkeypatch.setattr(frame, "LOOK_SECONDS", 3600.0)
    if fault is not None:
        opening.scripts[BETA] = [fault]
    tab = versus()
    choose(tab, "b", BETA)
    tab.find("#versus-back input").uncheck()
    run(tab)
    expect(notice(tab) if fault else status(tab)).to_contain_text(
        "RuntimeError" if fault else "Somebody/Beta stays loaded"
    )
    expect(tab.find(".status.ready")).to_contain_text("Somebody/Beta")


# ---- stopping ----


def test_stopped_in_the_first_answer(versus, opening):
    opening.scripts["alpha"] = ["I am ", threading.Event()]
    tab = versus()
    choose(tab, "b", BETA)
    run(tab)
    expect(side(tab, 0)).to_contain_text("I am")
    tab.page.keyboard.press("Escape")
    expect(status(tab)).to_contain_text("Stopped. What was answered stays.")
    expect(side(tab, 0)).to_contain_text("stopped")
    expect(side(tab, 1)).to_contain_text("not asked")
    assert len(opening.asked) == 1


def test_stopped_while_a_model_is_loaded(versus, opening):
    opening.gates[BETA] = threading.Event()
    tab = versus()
    choose(tab, "b", BETA)
    run(tab)
    side(tab, 1).locator(".loading").wait_for()
    tab.find("#versus-stop").press("Enter")
    expect(status(tab)).to_contain_text("Stopped")
    expect(side(tab, 0)).to_contain_text("I am alpha.")
    expect(side(tab, 1)).to_contain_text("not asked")
    tab.find("#versus-run").wait_for()
    expect(tab.find(".status.ready")).to_contain_text("Alpha")


# ---- blind ----


def test_blind_until_the_vote_and_a_tally(versus, opening):
    opening.gates[BETA] = gate = threading.Event()
    tab = versus()
    choose(tab, "b", BETA)
    tab.find("#versus-blind input").check()
    run(tab)
    expect(side(tab, 0)).to_contain_text("Both answers appear together")
    expect(status(tab)).to_contain_text("Working on answer 2 of 2")
    expect(tab.find("#versus-frames")).not_to_contain_text("I am")
    gate.set()
    expect(status(tab)).to_contain_text("Both sides have answered")
    shown = tab.find("#versus-frames").inner_text()
    assert "Alpha" not in shown and "Beta" not in shown and "weights" not in shown
    assert "tokens" not in shown
    assert "I am alpha." in shown and f"I am {BETA}." in shown
    vote = tab.find("#versus-vote").get_by_role("button", name="Answer 1", exact=True)
    vote.press("Enter")
    expect(tab.find("#versus-vote")).to_contain_text("Your vote: Answer 1.")
    expect(tab.find("#versus-vote button")).to_have_count(0)
    winner = "alpha" if "I am alpha." in side(tab, 0).inner_text() else BETA
    expect(side(tab, 0)).to_contain_text("Alpha" if winner == "alpha" else "Somebody/Beta")
    expect(side(tab, 0).locator(".stats")).to_contain_text("tokens in")
    rows = tab.find("#versus-tally tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("Alpha" if winner == "alpha" else "Somebody/Beta")
    assert rows.first.locator("td").all_inner_texts() == ["1", "0", "0", "0"]
    assert rows.nth(1).locator("td").all_inner_texts() == ["0", "1", "0", "0"]
    heads = tab.find("#versus-tally thead th").all()[1:]
    for cell, head in zip(rows.first.locator("td").all(), heads, strict=True):
        assert cell.bounding_box()["x"] == pytest.approx(head.bounding_box()["x"], abs=1)
    run_to_the_end(tab)
    tab.find("#versus-vote").get_by_role("button", name="Equally good").click()
    expect(rows.first.locator("td")).to_have_text(["1", "0", "1", "0"])
    run_to_the_end(tab)
    tab.find("#versus-vote").get_by_role("button", name="Both bad").click()
    expect(rows.first.locator("td")).to_have_text(["1", "0", "1", "1"])


def test_a_blind_comparison_that_fails_has_nothing_to_vote_on(versus, opening):
    opening.failures[BETA] = ModelError("hub_gated", source=BETA)
    tab = versus()
    choose(tab, "b", BETA)
    tab.find("#versus-blind input").check()
    run_to_the_end(tab, "One side could not answer")
    expect(tab.find("#versus-vote button")).to_have_count(0)
    expect(tab.find("#versus-frames")).to_contain_text("Alpha")  # nothing to hide any more


# ---- what is missing ----


def test_without_an_image_or_a_question(versus):
    tab = versus(images=())
    run(tab)
    expect(notice(tab)).to_contain_text("no image yet")
    add(tab, PNG)
    tab.find("#versus-prompt textarea").fill("  ")
    run(tab)
    expect(notice(tab)).to_contain_text("no question yet")
    notice(tab).get_by_role("button", name="Dismiss").click()
    expect(notice(tab)).to_have_count(0)


def test_a_broken_file_and_too_many(versus):
    tab = versus(max_images=2)
    tab.find("#versus-files input[type=file]").set_input_files([TEXT])
    expect(notice(tab)).to_contain_text("holds text, not a picture")
    tab.find("#versus-files input[type=file]").set_input_files([PNG, OTHER])
    expect(notice(tab)).to_contain_text("3 images in one message; at most 2")
    expect(tab.find("#versus-images figure")).to_have_count(1)
    add(tab, OTHER)
    tab.find("#versus-images").get_by_role("button", name="Remove image red.png").click()
    expect(tab.find("#versus-images figure")).to_have_count(1)
    expect(tab.find("#versus-images")).to_contain_text("1 · blue.png")


# ---- images of the other section ----


def test_images_of_compare_are_used_by_one_press(versus, opening):
    tab = versus(max_images=3)
    tab.page.get_by_role("tab", name="Two images", exact=True).click()
    tab.find("#compare-right input[type=file]").set_input_files([PNG, OTHER])
    tab.find("#compare-strip figure").nth(1).wait_for()
    tab.page.get_by_role("tab", name="Models and settings", exact=True).click()
    offer = tab.find("#versus-offer [data-act=use]")
    expect(offer).to_have_text("Use the picture of “Two images”")  # the other one is here
    offer.press("Enter")
    expect(tab.find("#versus-images figure")).to_have_count(2)
    expect(offer).to_have_count(0)
    run_to_the_end(tab)
    message = opening.backends["alpha"].asked[0].messages[-1]
    assert [image.name for image in message.images] == ["red.png", "blue.png"]
    tab.find("#versus-images").get_by_role("button", name="Remove image blue.png").click()
    expect(offer).to_have_count(1)


def test_the_example_pairs_are_offered_while_there_is_nothing_else(versus):
    tab = versus(images=())
    examples = tab.find("#versus-offer [data-act=example]")
    expect(examples).to_have_count(2)
    examples.nth(1).click()
    expect(tab.find("#versus-images figure")).to_have_count(2)
    expect(tab.find("#versus-images")).to_contain_text("photographer-later.jpg")
    expect(examples).to_have_count(0)


def test_clearing_all_data_empties_the_section(versus):
    tab = versus()
    run_to_the_end(tab)
    tab.page.get_by_role("tab", name="Chat", exact=True).click()
    tab.find("#settings-toggle").click()
    tab.find("#forget").click()
    tab.find("#settings-close").click()
    expect(tab.notice).to_contain_text("Everything of this visit is gone")
    tab.page.get_by_role("tab", name="Compare", exact=True).click()
    tab.find("#versus-run").wait_for()
    expect(tab.find("#versus-images figure")).to_have_count(0)
    expect(tab.find("#versus-frames .side")).to_have_count(0)


# ---- where others share the app ----


def test_on_a_shared_server_only_settings_differ(versus, opening):
    tab = versus(hosted=True)
    expect(tab.find("#versus")).to_contain_text("the model stays the same")
    for name in ("#versus-model-a", "#versus-precision-b", "#versus-back"):
        expect(tab.find(name)).to_have_count(0)
    field(tab, "b", "temperature").fill("1")
    run_to_the_end(tab)
    assert opening.asked == [("alpha", "auto")]


# ---- everyone ----


def test_by_keyboard_alone(versus, opening):
    tab = versus()
    tab.find("#versus-prompt textarea").focus()
    seen = []
    for _ in range(14):
        tab.page.keyboard.press("Tab")
        seen.append(tab.page.evaluate("document.activeElement.closest('[id^=versus]')?.id"))
        if seen[-1] == "versus-run":
            break
    assert seen[-1] == "versus-run"
    assert {"versus-model-a", "versus-precision-a", "versus-model-b"} <= set(seen)
    assert {"versus-settings-a", "versus-precision-b"} <= set(seen)
    tab.page.keyboard.press("Enter")
    expect(status(tab)).to_contain_text("Both sides have answered")
    tab.find("#versus-blind input").focus()
    tab.page.keyboard.press("Space")
    expect(tab.find("#versus-blind input")).to_be_checked()


def test_in_chinese_and_back(versus):
    tab = versus()
    run_to_the_end(tab)
    tab.find("#language").get_by_text("简体中文").click()
    expect(tab.find("#versus-run")).to_have_text("开始比较")
    expect(status(tab)).to_contain_text("两边都已回答")
    expect(side(tab, 0)).to_contain_text("全部使用模型默认设置")
    expect(tab.find("#versus-model-a input")).to_have_value("当前加载的模型")


def test_on_a_phone_the_sides_stack(versus, opening):
    opening.scripts["alpha"] = ["word " * 60]
    tab = versus({"viewport": {"width": 390, "height": 844}}, images=(PNG, OTHER))
    run_to_the_end(tab)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 390
    above, below = (side(tab, number).bounding_box() for number in range(2))
    assert below["y"] >= above["y"] + above["height"]


def test_no_accessibility_violations(versus):
    tab = versus()
    tab.find("#versus-blind input").check()
    run_to_the_end(tab)
    tab.find("#versus-vote button").first.click()
    tab.find("#versus-tally table").wait_for()
    found = Axe().run(tab.page)
    assert found.violations_count == 0, found.generate_report()


def test_an_answer_is_text_and_nothing_else(versus, opening):
    opening.scripts["alpha"] = ['<button data-act="vote" data-vote="tie">x</button><img src=x>']
    tab = versus()
    run_to_the_end(tab)
    expect(side(tab, 0)).to_contain_text("<button data-act")
    expect(side(tab, 0).locator("button, img")).to_have_count(0)

"""The settings drawer: every option of an answer, from the field to the backend."""

from dataclasses import fields, replace
from types import SimpleNamespace

import gradio as gr
import pytest
from playwright.sync_api import expect

from tests.support.fakes import ScriptedBackend
from tests.ui.test_composer import act, picture, severe_findings
from vlm.backend import Capabilities, ImageKnob
from vlm.errors import RequestError, SettingError
from vlm.options import GenerationOptions, Preset
from vlm.strings import LANGUAGES, say
from vlm.ui.context import Words
from vlm.ui.drawer import KNOBS, NUMBERS, SHORT, WHOLE, Drawer, chips, preset_row, problem_words

KNOBS_OF_ALL_KINDS = (
    ImageKnob(name="tiles", default=4, low=1, high=12),
    ImageKnob(name="thumbnail", default=True),
    ImageKnob(name="padding", default=False),
)
DEFAULTS = {"temperature": 0.7, "top_p": 0.95, "top_k": 50, "max_new_tokens": 512}
ABLE = Capabilities(
    name="Scripted", context_length=8192, defaults=DEFAULTS, image_knobs=KNOBS_OF_ALL_KINDS
)
NAMES = ("system_prompt", *NUMBERS, "stop", *KNOBS, "kv_cache_bits")


def new_drawer(prefix=""):
    """A drawer that no browser shows; of its context it needs the words alone."""
    with gr.Blocks():
        return Drawer(SimpleNamespace(words=Words()), prefix)


def read(**typed):
    """(system prompt, options, what is wrong) of a drawer with these fields filled."""
    return new_drawer().read([typed.get(name, "") for name in NAMES])


def field(tab, id):
    return tab.find(f"#{id} textarea, #{id} input").first


@pytest.fixture
def served(serve):
    return serve(backend=ScriptedBackend(["Yes."], able=ABLE))


def open_drawer(tab):
    tab.find("#settings-toggle").click()
    tab.find("#settings").wait_for()


def close_drawer(tab):
    tab.find("#settings-close").click()
    tab.find("#settings").wait_for(state="hidden")


# ---- pure ----


def test_every_option_has_a_field():
    assert {*NUMBERS, "stop", "image_detail", "kv_cache_bits"} == {
        each.name for each in fields(GenerationOptions)
    }
    assert new_drawer().names == NAMES


def test_a_drawer_of_another_tab_has_fewer_fields_and_reads_them():
    drawer = new_drawer("grid-")
    typed = {"system_prompt": "Be brief.", "seed": "7", "thumbnail": "off"}
    assert drawer.read([typed.get(name, "") for name in drawer.names]) == (
        "Be brief.",
        GenerationOptions(seed=7, image_detail={"thumbnail": False}),
        [],
    )
    assert set(NAMES) - set(drawer.names) == {*NUMBERS, "stop", "kv_cache_bits"} - set(SHORT)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("0.7", 0.7), ("0,7", 0.7), ("0，7", 0.7), (" 1 ", 1.0), ("", None), ("  ", None)],
)
def test_a_comma_is_a_decimal_point_and_nothing_is_the_models_own(typed, expected):
    _, options, wrong = read(temperature=typed)
    assert (options.temperature, wrong) == (expected, [])


@pytest.mark.parametrize(
    ("name", "typed", "key"),
    [
        ("temperature", "abc", "option_type"),
        ("temperature", "-1", "option_out_of_range"),
        ("temperature", "9", "option_out_of_range"),
        ("temperature", "nan", "option_out_of_range"),
        ("temperature", "inf", "option_out_of_range"),
        ("temperature", "1.2.3", "option_type"),
        ("top_k", "1.5", "option_type"),
        ("seed", "-1", "option_out_of_range"),
        ("tiles", "many", "option_type"),
    ],
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_wrong_number_is_told_under_the_name_of_its_field(name, typed, key, language):
    _, options, wrong = read(**{name: typed, "top_p": "0.5"})
    assert [error.key for error in wrong] == [key]
    assert options == GenerationOptions(top_p=0.5)  # the others still hold
    label = say(f"knob.{name}" if name in KNOBS else f"option.{name}.label", language)
    words = problem_words(wrong[0], language)
    assert words.startswith(label)
    assert typed in words


def test_whole_numbers_are_told_apart():
    words = problem_words(read(top_k="1.5")[2][0], "en")
    assert words == "Top-k is '1.5', which is no whole number."
    assert {name for name in NUMBERS if isinstance(getattr(read(**{name: "1"})[1], name), int)} == (
        WHOLE - set(KNOBS)
    )


def test_options_refuses_the_first_wrong_number():
    with pytest.raises(RequestError, match="temperature"):
        new_drawer().options([{"temperature": "x", "top_p": "y"}.get(name, "") for name in NAMES])


@pytest.mark.parametrize("language", LANGUAGES)
def test_chips_name_what_was_changed_and_only_that(language):
    assert chips("", GenerationOptions(), language) == ""
    detail = {"tiles": 1, "thumbnail": False}
    options = GenerationOptions(temperature=0.0, stop=("<END>",), image_detail=detail)
    drawn = chips("Be " + "very " * 20 + "kind.", options, language)
    assert drawn.count("<button") == 5
    assert say("option.temperature.label", language) + " 0 ×" in drawn
    assert "&lt;END&gt;" in drawn
    assert say("knob.tiles", language) + " 1 ×" in drawn
    assert f"{say('knob.thumbnail', language)} {say('knob.off', language)} ×" in drawn
    assert "…" in drawn


PRESETS = (Preset(name="beams", values={"temperature": 0, "num_beams": 3, "top_p": 0.85}),)


@pytest.mark.parametrize("language", LANGUAGES)
def test_presets_have_a_row_only_where_the_model_has_some(language):
    assert preset_row((), language) == ""
    drawn = preset_row(PRESETS, language)
    assert drawn.count("<button") == 1
    assert say("answer_preset.beams", language) in drawn
    assert say("settings.presets", language) in drawn


def test_a_preset_fills_its_fields_and_no_others():
    drawer = new_drawer()
    names = dict(zip(drawer.controls, drawer.names, strict=True))
    filled = {names[field]: value for field, value in drawer.fill("beams", PRESETS).items()}
    assert filled == {"temperature": "0", "num_beams": "3", "top_p": "0.85"}
    _, options, wrong = read(**filled)
    assert (options, wrong) == (
        GenerationOptions(temperature=0, num_beams=3, top_p=0.85),
        [],
    )
    with pytest.raises(SettingError, match="it has: beams"):
        drawer.fill("other", PRESETS)


# ---- opening and closing ----


@pytest.mark.browser
def test_the_drawer_opens_and_closes_and_the_focus_goes_along(served, open_tab):
    tab = open_tab(served.address)
    toggle, drawer = tab.find("#settings-toggle"), tab.find("#settings")
    expect(toggle).to_have_attribute("aria-expanded", "false")
    expect(toggle).to_have_attribute("aria-controls", "settings")
    expect(drawer).to_be_hidden()
    toggle.press("Enter")
    expect(drawer).to_be_visible()
    expect(toggle).to_have_attribute("aria-expanded", "true")
    expect(field(tab, "system-prompt")).to_be_focused()
    tab.find("#settings-close").press("Enter")
    expect(drawer).to_be_hidden()
    expect(toggle).to_be_focused()
    toggle.press("Enter")
    expect(field(tab, "system-prompt")).to_be_focused()
    tab.page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(toggle).to_be_focused()
    expect(toggle).to_have_attribute("aria-expanded", "false")


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_the_drawer_is_a_sheet_of_its_own(served, open_tab, scheme):
    size = {"width": 390, "height": 800}
    tab = open_tab(served.address, viewport=size, color_scheme=scheme)
    open_drawer(tab)
    field(tab, "temperature").fill("9")
    tab.find("#settings-problem p").wait_for()
    box = tab.find("#settings").bounding_box()
    assert (box["x"], box["y"], box["width"], box["height"]) == (0, 0, 390, 800)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.find("#settings").evaluate("e => e.scrollWidth - e.clientWidth") <= 0
    assert severe_findings(tab) == []
    tab.find("#settings-close").focus()
    tab.page.keyboard.press("Shift+Tab")  # what the sheet covers cannot be reached
    assert tab.page.evaluate("!document.querySelector('#message').contains(document.activeElement)")
    assert tab.page.evaluate("document.querySelector('#composer').inert")
    close_drawer(tab)
    assert not tab.page.evaluate("document.querySelector('#composer').inert")


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_no_serious_accessibility_finding_in_the_drawer(served, open_tab, scheme, locale):
    tab = open_tab(served.address, color_scheme=scheme, locale=locale)
    open_drawer(tab)
    field(tab, "temperature").fill("abc")
    tab.find("#settings-problem p").wait_for()
    assert severe_findings(tab) == []
    cut = """() => [...document.querySelectorAll('#settings input, #settings textarea')]
        .filter((field) => field.placeholder && field.scrollWidth > field.clientWidth)
        .map((field) => field.placeholder)"""
    assert tab.page.evaluate(cut) == []


# ---- from the fields to the backend ----


@pytest.mark.browser
def test_every_option_reaches_the_backend_with_its_type(served, open_tab):
    tab = open_tab(served.address)
    open_drawer(tab)
    typed = {
        "temperature": "0,7",
        "top_p": "0.5",
        "top_k": "40",
        "repetition_penalty": "1.1",
        "max_new_tokens": "99",
        "min_new_tokens": "3",
        "num_beams": "2",
        "seed": "123",
    }
    assert set(typed) == set(NUMBERS)
    field(tab, "system-prompt").fill("Answer in one sentence.")
    for name, text in typed.items():
        field(tab, NUMBERS[name]).fill(text)
    field(tab, "stop-texts").fill("END\n###")
    field(tab, "image-tiles").fill("6")
    tab.find("#image-thumbnail input").click()
    tab.page.get_by_role("option", name="off", exact=True).click()
    close_drawer(tab)
    expect(tab.find("#changed .chip")).to_have_count(12)
    tab.ask("Well?")
    tab.wait_for_answer()
    asked = served.backend.asked[-1]
    assert asked.options == GenerationOptions(
        temperature=0.7,
        top_p=0.5,
        top_k=40,
        repetition_penalty=1.1,
        max_new_tokens=99,
        min_new_tokens=3,
        num_beams=2,
        seed=123,
        stop=("END", "###"),
        image_detail={"tiles": 6, "thumbnail": False},
    )
    assert asked.options.image_detail["thumbnail"] is False
    assert [message.role for message in asked.messages] == ["system", "user"]
    assert asked.messages[0].text == "Answer in one sentence."


@pytest.mark.browser
def test_empty_fields_are_the_models_own_values_and_say_so(served, open_tab):
    tab = open_tab(served.address)
    open_drawer(tab)
    expect(field(tab, "temperature")).to_have_attribute("placeholder", "default: 0.7")
    expect(field(tab, "max-tokens")).to_have_attribute("placeholder", "default: 512")
    expect(field(tab, "num-beams")).to_have_attribute("placeholder", "default")
    expect(field(tab, "seed")).to_have_attribute("placeholder", "new each time")
    expect(field(tab, "image-tiles")).to_have_attribute("placeholder", "default: 4")
    expect(tab.find("#image-thumbnail input")).to_have_value("default: on")
    close_drawer(tab)
    tab.ask("Well?")
    tab.wait_for_answer()
    asked = served.backend.asked[-1]
    assert asked.options == GenerationOptions(seed=asked.options.seed)
    assert [message.role for message in asked.messages] == ["user"]


@pytest.mark.browser
def test_a_seed_that_is_set_stays_and_another_is_new_each_time(served, open_tab):
    tab = open_tab(served.address)
    tab.ask("One?")
    tab.wait_for_answer(1)
    tab.ask("Two?")
    tab.wait_for_answer(2)
    open_drawer(tab)
    field(tab, "seed").fill("7")
    close_drawer(tab)
    tab.ask("Three?")
    tab.wait_for_answer(3)
    tab.ask("Four?")
    tab.wait_for_answer(4)
    first, second, third, fourth = [asked.options.seed for asked in served.backend.asked]
    assert first != second
    assert (third, fourth) == (7, 7)


@pytest.mark.browser
def test_knobs_are_those_of_the_model(serve, served, open_tab):
    tab = open_tab(served.address)
    open_drawer(tab)
    shown = [name for name in KNOBS if tab.find(f"#image-{name}").is_visible()]
    assert shown == ["tiles", "thumbnail", "padding"]
    expect(tab.find("#image-detail")).not_to_contain_text(say("knob.none"))
    plain = open_tab(serve("Yes.").address)
    open_drawer(plain)
    expect(plain.find("#image-detail")).to_contain_text(say("knob.none"))
    assert [name for name in KNOBS if plain.find(f"#image-{name}").is_visible()] == []


@pytest.mark.browser
def test_a_preset_fills_the_fields_and_reaches_the_backend(serve, served, open_tab):
    able = replace(ABLE, presets=PRESETS)
    served_too = serve(backend=ScriptedBackend(["Yes."], able=able))
    tab = open_tab(served_too.address)
    open_drawer(tab)
    field(tab, "seed").fill("3")
    field(tab, "temperature").fill("0.5")
    button = act(tab, "options", name="beams")
    expect(button).to_have_text(say("answer_preset.beams"))
    assert severe_findings(tab) == []
    button.click()
    expect(field(tab, "temperature")).to_have_value("0")
    expect(field(tab, "num-beams")).to_have_value("3")
    expect(field(tab, "seed")).to_have_value("3")
    expect(field(tab, "top-k")).to_have_value("")
    tab.page.get_by_text("简体中文", exact=True).dispatch_event("click")
    expect(button).to_have_text(say("answer_preset.beams", "zh"))
    close_drawer(tab)
    tab.ask("Well?")
    tab.wait_for_answer()
    asked = served_too.backend.asked[-1]
    assert asked.options == GenerationOptions(temperature=0, num_beams=3, top_p=0.85, seed=3)
    plain = open_tab(served.address)
    open_drawer(plain)
    expect(plain.find("#answer-presets button")).to_have_count(0)


# ---- what was changed, and what is wrong ----


@pytest.mark.browser
def test_a_chip_takes_its_change_back(served, open_tab):
    tab = open_tab(served.address)
    open_drawer(tab)
    field(tab, "temperature").fill("0.5")
    field(tab, "seed").fill("3")
    tab.find("#image-padding input").click()
    tab.page.get_by_role("option", name="on", exact=True).click()
    close_drawer(tab)
    tab.box.fill("Kept words")
    expect(tab.find("#changed .chip")).to_have_text(
        ["Temperature 0.5 ×", "Seed 3 ×", "Pad instead of stretching on ×"]
    )
    act(tab, "reset", name="padding").press("Enter")
    expect(tab.find("#changed .chip")).to_have_text(["Temperature 0.5 ×", "Seed 3 ×"])
    expect(act(tab, "reset", name="seed")).to_be_focused()
    act(tab, "reset", name="temperature").press("Enter")
    expect(tab.find("#changed .chip")).to_have_text(["Seed 3 ×"])
    open_drawer(tab)
    expect(field(tab, "temperature")).to_have_value("")
    expect(tab.find("#image-padding input")).to_have_value("default: off")
    close_drawer(tab)
    tab.box.press("Enter")
    tab.wait_for_answer()
    assert served.backend.asked[-1].options == GenerationOptions(seed=3)
    assert served.backend.asked[-1].messages[-1].text == "Kept words"


@pytest.mark.browser
@pytest.mark.parametrize("typed", ["abc", "-1", "9", "nan"])
def test_a_wrong_number_is_refused_and_the_way_to_it_is_a_button(served, open_tab, typed):
    tab = open_tab(served.address)
    tab.attach(picture("a.png"))
    open_drawer(tab)
    field(tab, "seed").fill("3")
    field(tab, "temperature").fill(typed)
    expect(tab.find("#settings-problem")).to_contain_text(typed)  # where it was typed
    close_drawer(tab)
    expect(tab.find("#changed .broken")).to_contain_text(typed)  # and where it is missing
    expect(tab.find("#changed .chip")).to_have_text(["Seed 3 ×"])
    tab.ask("Well?")
    expect(tab.find("#notice [role=alert]")).to_contain_text("Temperature is")
    expect(tab.box).to_have_value("Well?")
    expect(tab.attached).to_have_count(1)
    assert served.backend.asked == []
    tab.find("#notice button[data-act=settings]").click()
    expect(tab.find("#settings")).to_be_visible()
    expect(field(tab, "temperature")).to_have_value(typed)
    field(tab, "temperature").fill("1")
    expect(tab.find("#settings-problem")).to_be_hidden()
    close_drawer(tab)
    expect(tab.find("#changed .broken")).to_have_count(0)
    tab.box.press("Enter")
    tab.wait_for_answer()
    assert served.backend.asked[-1].options == GenerationOptions(temperature=1.0, seed=3)


@pytest.mark.browser
def test_what_the_model_says_of_an_image_setting_leads_to_the_settings(serve, open_tab):
    error = RequestError("image_detail_value", name="tiles", got=99, accepted="1 … 12")
    tab = open_tab(serve(backend=ScriptedBackend([error], able=ABLE)).address)
    tab.ask("Well?")
    expect(tab.find("#notice [role=alert]")).to_contain_text("99")
    tab.find("#notice button[data-act=settings]").click()
    expect(tab.find("#settings")).to_be_visible()


# ---- languages, visitors, conversations ----


@pytest.mark.browser
def test_another_language_says_everything_in_the_drawer_anew(served, open_tab):
    tab = open_tab(served.address)
    open_drawer(tab)
    field(tab, "temperature").fill("0.5")
    close_drawer(tab)
    expect(tab.find("#changed .chip")).to_have_text(["Temperature 0.5 ×"])
    tab.page.get_by_text("简体中文", exact=True).click()
    expect(tab.find("#changed .chip")).to_have_text(["温度 0.5 ×"])
    open_drawer(tab)
    expect(tab.find("#top-p")).to_contain_text(say("option.top_p", "zh"))
    expect(field(tab, "top-p")).to_have_attribute("placeholder", "默认：0.95")
    expect(field(tab, "temperature")).to_have_value("0.5")
    expect(tab.find("#image-thumbnail input")).to_have_value("默认：开")
    expect(tab.find("#stop-texts")).to_contain_text(say("option.stop.info", "zh"))
    expect(tab.find("#settings-title")).to_have_text("设置")
    words = tab.find("#settings").inner_text()
    for english in ("Temperature", "default", "Stop texts", "Images", "tokens"):
        assert english not in words


@pytest.mark.browser
def test_settings_are_one_visitors_and_outlive_the_conversation(served, open_tab):
    first, second = open_tab(served.address), open_tab(served.address)
    open_drawer(first)
    field(first, "temperature").fill("0.5")
    field(first, "system-prompt").fill("Be brief.")
    close_drawer(first)
    first.ask("Mine.")
    first.wait_for_answer()
    second.ask("Theirs.")
    second.wait_for_answer()
    expect(second.find("#changed .chip")).to_have_count(0)
    mine, theirs = served.backend.asked
    assert (mine.options.temperature, theirs.options.temperature) == (0.5, None)
    assert [message.role for message in theirs.messages] == ["user"]
    first.find("#clear").click()
    expect(first.answers).to_have_count(0)
    expect(first.find("#changed .chip")).to_have_count(2)
    first.ask("Mine again.")
    first.wait_for_answer()
    asked = served.backend.asked[-1]
    assert asked.options.temperature == 0.5
    assert [message.text for message in asked.messages] == ["Be brief.", "Mine again."]

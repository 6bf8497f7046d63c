"""The Models tab: what is loaded, what fits, loading, cancelling, failing, unloading."""

import re
import threading
import time

import pytest
from gradio_client import Client
from playwright.sync_api import expect

from tests.support.fakes import PATIENCE
from tests.ui.conftest import Tab
from tests.ui.test_chat_turns import converse
from vlm import families, precision
from vlm.errors import ModelError
from vlm.picker import Picker
from vlm.ui import models_view
from vlm.ui.frame import LOOK_SECONDS

pytestmark = pytest.mark.browser

BIG = ModelError("out_of_memory_weights", source="x", needed=9.0, free=3.0, precision="bf16")


def go_to(tab: Tab, name: str = "Models") -> None:
    tab.page.get_by_role("tab", name=name).click()


def row(tab: Tab, name: str):
    return tab.find("#fit-table tbody tr").filter(has_text=name)


def notice(tab: Tab):
    return tab.find("#models-notice .card")


def until(true) -> None:
    """Waits for the server."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def load(tab: Tab, model: str) -> None:
    """Types a model into the picker and presses Load."""
    picker = tab.find("#model-picker input")
    picker.fill(model)
    picker.press("Enter")
    tab.find("#load").click()


def test_what_is_loaded_and_what_there_is(serve_models, open_tab):
    tab = open_tab(serve_models().address)
    go_to(tab)
    now = tab.find("#models-now")
    expect(now).to_contain_text("pocket")
    expect(now).to_contain_text("32 MB")
    expect(now.get_by_role("row")).to_have_count(2)
    expect(tab.find("#fit-table tbody tr")).to_have_count(len(families.catalogue()))
    expect(row(tab, "Pocket 135M")).to_contain_text("loaded")
    expect(row(tab, "Pocket 135M").locator(".fit")).to_contain_text("fits")
    expect(row(tab, "PaliGemma 3B mix 224").locator(".fit")).to_contain_text("≈")


def test_the_header_leads_to_the_tab(serve_models, open_tab):
    tab = open_tab(serve_models().address)
    tab.find("#model-status .status").click()
    expect(tab.find("#models-now")).to_be_visible()


def test_another_model_is_loaded_and_the_conversation_stays(serve_models, open_tab, opening):
    tab = open_tab(serve_models().address)
    converse(tab, "Who are you?")
    expect(tab.answers.last).to_have_text("I am pocket.")
    go_to(tab)
    opening.go.clear()
    load(tab, "somebody/something")
    progress = tab.find("#load-progress .loading")
    expect(progress).to_contain_text("somebody/something")
    expect(progress).to_contain_text("3 of 12 tensors")
    expect(progress).to_have_attribute("aria-valuenow", "25")
    expect(tab.find("#load")).to_be_disabled()
    opening.go.set()
    expect(notice(tab)).to_contain_text("somebody/something is loaded")
    expect(progress).to_have_count(0)
    expect(tab.find(".status.ready")).to_contain_text("somebody/something")
    expect(tab.find("#models-now")).to_contain_text("somebody/something")
    go_to(tab, "Chat")
    tab.ask("And now?")
    tab.wait_for_answer(2)
    expect(tab.answers.first).to_have_text("I am pocket.")
    expect(tab.answers.last).to_have_text("I am somebody/something.")
    assert opening.asked[-1] == ("somebody/something", "none")


def test_a_row_loads_in_the_precision_that_was_chosen(serve_models, open_tab, opening):
    tab = open_tab(serve_models().address)
    go_to(tab)
    tab.find("#quantization").get_by_label("4 bit", exact=True).check()
    expect(tab.find("#fit-table thead")).to_contain_text("4 bit")
    paligemma = row(tab, "PaliGemma 3B mix 224")
    paligemma.get_by_role("button", name="Load PaliGemma 3B mix 224 in 4 bit", exact=True).press(
        "Enter"
    )
    expect(notice(tab)).to_contain_text("is loaded")
    assert opening.asked[-1] == ("google/paligemma-3b-mix-224", "nf4")


def test_what_is_loaded_can_be_loaded_in_the_precision_that_was_chosen(
    serve_models, open_tab, opening
):
    tab = open_tab(serve_models().address)
    go_to(tab)
    tab.find("#quantization").get_by_label("16 bit").check()
    expect(tab.find("#fit-table thead")).to_contain_text("16 bit")
    pocket = row(tab, "Pocket 135M")
    expect(pocket).to_contain_text("loaded in bf16")
    expect(pocket.get_by_role("button")).to_have_count(0)
    tab.find("#quantization").get_by_label("4 bit", exact=True).check()
    expect(pocket).to_contain_text("loaded in bf16")
    expect(pocket.get_by_role("button")).to_have_text("Load in 4 bit")
    pocket.get_by_role("button", name="Load Pocket 135M in 4 bit", exact=True).press("Enter")
    expect(notice(tab)).to_contain_text("is loaded")
    assert opening.asked[-1] == ("pocket", "nf4")
    expect(pocket).to_contain_text("loaded in nf4")
    expect(pocket.get_by_role("button")).to_have_count(0)
    tab.find("#quantization").get_by_label("16 bit").check()
    expect(pocket.get_by_role("button")).to_have_text("Load in 16 bit")


def test_what_is_loaded_can_be_loaded_in_other_numbers(serve_models, open_tab):
    tab = open_tab(serve_models(dtype="float32").address)  # what is here says bf16
    go_to(tab)
    tab.find("#quantization").get_by_label("16 bit").check()
    expect(row(tab, "Pocket 135M").get_by_role("button")).to_have_text("Load in fp32")


@pytest.mark.parametrize("slow", ["none", "nf4"])
def test_the_list_is_that_of_the_precision_chosen_last(slow, serve_models, open_tab, monkeypatch):
    """Also where the one before takes longer to judge: of the opened tab, or chosen there."""
    judged, gate, asked = Picker.rows, threading.Event(), []

    def slowly(picker: Picker, quantization: str, *rest):
        asked.append(quantization)
        if quantization == slow:
            assert gate.wait(PATIENCE)
        return judged(picker, quantization, *rest)

    monkeypatch.setattr(Picker, "rows", slowly)
    tab = open_tab(serve_models().address)
    go_to(tab)
    precision, head = tab.find("#quantization"), tab.find("#fit-table thead")
    if slow == "nf4":
        expect(head).to_contain_text("16 bit")
        precision.get_by_label("4 bit", exact=True).check()
    until(lambda: slow in asked)
    precision.get_by_label("8 bit").check()
    tab.page.wait_for_timeout(1000)  # where nothing waits its turn, it is drawn by now
    gate.set()
    expect(head).to_contain_text("8 bit")
    tab.page.wait_for_timeout(1000)
    expect(head).to_contain_text("8 bit")


def test_what_a_precision_is_known_to_change_is_told(serve_models, open_tab):
    tab = open_tab(serve_models().address)
    go_to(tab)
    expect(row(tab, "Pocket 135M").locator(".broken")).to_have_count(0)
    tab.find("#quantization").get_by_label("4 bit", exact=True).check()
    expect(row(tab, "Pocket 135M").locator(".broken")).to_contain_text("only 74 %")
    tab.find("#quantization").get_by_label("4 bit (FP4)").check()
    expect(row(tab, "Pocket 135M").locator(".broken")).to_contain_text("only 72 %")


def test_what_nobody_has_measured_is_told(serve_models, open_tab):
    tab = open_tab(serve_models().address)
    go_to(tab)
    note = tab.find("#fit-table .catalogue > p.quiet")
    tab.find("#quantization").get_by_label("16 bit").check()
    expect(tab.find("#fit-table thead")).to_contain_text("16 bit")
    expect(note).not_to_contain_text("compare-precision")
    tab.find("#quantization").get_by_label("4 bit (FP4)").check()
    expect(note).to_contain_text("nobody has measured it: python -m vlm compare-precision")


def test_cancelled_loading_leaves_the_model_before(serve_models, open_tab, opening):
    tab = open_tab(serve_models().address)
    go_to(tab)
    opening.go.clear()
    load(tab, "somebody/something")
    tab.find("#load-progress .loading").wait_for()
    tab.find("#cancel-load").click()
    expect(tab.find("#load-progress")).to_contain_text("bringing the model before it back")
    expect(tab.find("#cancel-load")).to_be_disabled()  # it has been heard
    opening.go.set()
    expect(notice(tab)).to_contain_text("was cancelled")
    expect(tab.find(".status.ready")).to_contain_text("pocket")
    expect(tab.find("#models-now")).to_contain_text("pocket")
    go_to(tab, "Chat")
    tab.ask("Still there?")
    tab.wait_for_answer()
    expect(tab.answers.last).to_have_text("I am pocket.")


def test_too_large_a_model_can_be_loaded_in_fewer_bits(serve_models, open_tab, opening):
    opening.failures["somebody/large", "none"] = BIG
    tab = open_tab(serve_models().address)
    go_to(tab)
    load(tab, "somebody/large")
    card = notice(tab)
    expect(card).to_contain_text("9.0 GB")
    expect(card).to_contain_text("pocket is still loaded")
    expect(card.get_by_role("button", name="instead")).to_have_count(1)
    card.get_by_role("button", name="Load it in 4 bit").click()
    expect(notice(tab)).to_contain_text("somebody/large is loaded")
    assert opening.asked[-1] == ("somebody/large", "nf4")


def test_in_place_of_too_large_a_model_the_largest_that_fits_can_be_loaded(
    serve_models, open_tab, opening
):
    opening.failures["somebody/large", "auto"] = ModelError(BIG.key, **BIG.facts)
    tab = open_tab(serve_models().address)
    go_to(tab)
    tab.find("#quantization").get_by_label("what fits").check()
    load(tab, "somebody/large")
    card = notice(tab)
    expect(card).to_contain_text("pocket is still loaded")
    expect(card.get_by_role("button", name="Load it in")).to_have_count(2)  # of what auto came to
    instead = card.get_by_role("button", name="instead")
    title = instead.inner_text().removeprefix("Load ").partition(" instead")[0]
    converse_here(tab, "I am pocket.")
    go_to(tab)
    instead.click()
    expect(notice(tab)).to_contain_text(f"{title} is loaded")
    model, quantization = opening.asked[-1]
    chosen = families.look_up(model)
    assert chosen is not None and chosen.title == title and model != "pocket"
    assert quantization in ("none", "int8", "nf4")
    sizes = [each.parameters for each in families.catalogue()]
    assert chosen.parameters > sorted(sizes)[len(sizes) // 4]  # the largest, not just any


def converse_here(tab: Tab, answer: str) -> None:
    """The model that was there before still answers."""
    go_to(tab, "Chat")
    tab.ask("Still there?")
    tab.wait_for_answer()
    expect(tab.answers.last).to_have_text(answer)


def test_what_cannot_be_loaded_says_why_and_can_be_tried_again(serve_models, open_tab, opening):
    opening.failures["somebody/gated", "none"] = ModelError("hub_gated", source="somebody/gated")
    tab = open_tab(serve_models().address)
    go_to(tab)
    load(tab, "somebody/gated")
    expect(notice(tab)).to_contain_text("somebody/gated")
    expect(notice(tab).get_by_role("link")).to_have_attribute(
        "href", "https://huggingface.co/somebody/gated"
    )
    expect(tab.find("#model-picker input")).to_have_value("somebody/gated")
    del opening.failures["somebody/gated", "none"]
    notice(tab).get_by_role("button", name="Try again").click()
    expect(notice(tab)).to_contain_text("somebody/gated is loaded")


def test_a_mistyped_name_leads_to_the_one_that_was_meant(serve_models, open_tab, opening):
    wrong = "Qwen/Qwen3-VL-4B"
    opening.failures[wrong, "none"] = ModelError("hub_missing", source=wrong)
    tab = open_tab(serve_models().address)
    go_to(tab)
    load(tab, wrong)
    card = notice(tab)
    expect(card).to_contain_text(f"no model {wrong}")
    expect(card).to_contain_text("pocket is still loaded")
    expect(card.get_by_role("button", name="Try again")).to_have_count(0)
    card.get_by_role("button", name="Load Qwen3-VL 4B instead").click()
    expect(notice(tab)).to_contain_text("Qwen3-VL 4B is loaded")
    assert opening.asked[-1][0] == "Qwen/Qwen3-VL-4B-Instruct"


def test_without_a_network_the_model_before_is_one_click_away(serve_models, open_tab, opening):
    lost = ModelError("hub_unreachable", source="somebody/far")
    opening.failures["somebody/far", "none"] = lost
    tab = open_tab(serve_models().address)
    go_to(tab)
    load(tab, "somebody/far")
    card = notice(tab)
    expect(card).to_contain_text("pocket is still loaded and answers as before")
    expect(card.get_by_role("button", name="Try again")).to_have_count(1)
    card.get_by_role("button", name="Go on with Pocket 135M").click()
    tab.ask("Still there?")
    tab.wait_for_answer()
    expect(tab.answers.last).to_have_text("I am pocket.")


def test_without_a_network_and_a_model_the_embedded_one_is_offered(serve_models, open_tab, opening):
    lost = ModelError("hub_unreachable", source="somebody/far")
    opening.failures["somebody/far", "none"] = lost
    tab = open_tab(serve_models().address)
    go_to(tab)
    tab.find("#unload").click()
    expect(tab.find("#models-now")).to_contain_text("put away")
    load(tab, "somebody/far")
    notice(tab).get_by_role("button", name="Load Pocket 135M instead").click()
    expect(notice(tab)).to_contain_text("is loaded")
    assert opening.asked[-1][0] == "pocket"


def test_figures_stand_beside_their_bars(serve_models, open_tab):
    tab = open_tab(serve_models().address)
    go_to(tab)
    line = tab.find("#models-now .parts tr").first
    figure, bar = line.locator(".number").bounding_box(), line.locator(".filled").bounding_box()
    assert figure["x"] + figure["width"] <= bar["x"]


def test_another_visitors_page_hears_of_the_model_by_itself(serve_models, open_tab, opening):
    served = serve_models()
    tab, other = open_tab(served.address), open_tab(served.address)
    converse(other, "Who are you?")
    go_to(other)
    expect(other.find("#models-now")).to_contain_text("pocket")
    go_to(tab)
    other.page.wait_for_timeout(1000 * LOOK_SECONDS + 1000)  # it has looked once
    opening.go.clear()
    load(tab, "somebody/something")
    expect(other.find(".status.loading")).to_contain_text("somebody/something")
    opening.go.set()
    expect(other.find(".status.ready")).to_contain_text("somebody/something")
    expect(other.find("#models-now")).to_contain_text("somebody/something")
    go_to(other, "Chat")
    expect(other.answers).to_have_text(["I am pocket."])


def test_the_command_names_the_model_that_answered(serve_models, open_tab):
    tab = open_tab(serve_models().address)
    converse(tab, "Who are you?")
    go_to(tab)
    load(tab, "somebody/something")
    expect(notice(tab)).to_contain_text("is loaded")
    go_to(tab, "Chat")
    copied = tab.find("#stats .reproduce")
    expect(copied).to_have_attribute("data-copy", re.compile("--quantization none"))
    expect(copied).not_to_have_attribute("data-copy", re.compile("somebody"))
    tab.ask("And now?")
    tab.wait_for_answer(2)
    expect(copied).to_have_attribute("data-copy", re.compile("--model somebody/something"))


def test_fp4_can_be_chosen(serve_models, open_tab, opening):
    tab = open_tab(serve_models().address)
    go_to(tab)
    tab.find("#quantization").get_by_label("4 bit (FP4)").check()
    expect(row(tab, "Pocket 135M").locator(".fit")).to_contain_text("fp4")
    row(tab, "PaliGemma 3B mix 224").get_by_role("button").press("Enter")
    expect(notice(tab)).to_contain_text("is loaded")
    assert opening.asked[-1] == ("google/paligemma-3b-mix-224", "fp4")


def test_unloaded_and_back_with_the_next_question(serve_models, open_tab, opening):
    tab = open_tab(serve_models().address)
    go_to(tab)
    tab.find("#unload").click()
    expect(tab.find("#models-now")).to_contain_text("put away")
    expect(tab.find("#unload")).to_be_disabled()
    go_to(tab, "Chat")
    tab.ask("Are you there?")
    tab.wait_for_answer()
    expect(tab.answers.last).to_have_text("I am pocket.")
    assert len(opening.asked) == 2


def test_does_it_fit(serve_models, open_tab):
    tab = open_tab(serve_models().address)
    go_to(tab)
    tab.find("#check-fit").click()
    verdict = tab.find("#verdict")
    expect(verdict.locator("tbody tr")).to_have_count(3)
    expect(verdict).to_contain_text("weights")
    expect(verdict.locator(".fit").first).to_contain_text("fits")


def test_the_list_can_be_searched(serve_models, open_tab):
    tab = open_tab(serve_models().address)
    go_to(tab)
    rows = tab.find("#fit-table tbody tr")
    expect(rows).to_have_count(len(families.catalogue()))
    search = tab.page.get_by_label("Find in the list")
    search.fill("internvl 1.5")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("OpenGVLab/InternVL-Chat-V1-5")
    tab.find("#quantization").get_by_label("4 bit", exact=True).check()
    expect(tab.find("#fit-table thead")).to_contain_text("4 bit")
    expect(rows).to_have_count(3)
    search.fill("<b>something else</b>")
    expect(tab.find("#fit-table")).to_contain_text("Nothing in this list is like “<b>something")
    search.fill("")
    expect(rows).to_have_count(len(families.catalogue()))


def test_a_model_that_is_not_there(serve_models, open_tab):
    tab = open_tab(serve_models().address)
    go_to(tab)
    picker = tab.find("#model-picker input")
    picker.fill("/no/such/folder")
    picker.press("Enter")
    tab.find("#check-fit").click()
    expect(notice(tab)).to_contain_text("/no/such/folder")


def test_on_a_shared_server_nothing_is_loaded(serve_models, open_tab, opening):
    served = serve_models(hosted=True)
    tab = open_tab(served.address)
    go_to(tab)
    expect(tab.find("#fit-table tbody tr")).to_have_count(len(families.catalogue()))
    for name in ("#load", "#unload", "#model-picker"):
        expect(tab.find(name)).to_have_count(0)
    expect(tab.find("#fit-table button")).to_have_count(0)
    names = Client(served.address, verbose=False).view_api(return_format="dict")
    assert "/load" not in names["named_endpoints"]
    assert opening.asked == [("pocket", "none")]


def test_in_chinese(serve_models, open_tab):
    tab = open_tab(serve_models().address, locale="zh-CN")
    go_to(tab, "模型")
    expect(tab.find("#fit-table thead")).to_contain_text("许可")
    expect(tab.find("#load")).to_have_text("加载")
    expect(tab.find("#quantization")).to_contain_text("自动选择")


def test_on_a_phone_nothing_scrolls_sideways(serve_models, open_tab):
    tab = open_tab(serve_models().address, viewport={"width": 390, "height": 844})
    go_to(tab)
    row(tab, "Pocket 135M").wait_for()
    width = tab.page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390


def test_the_threshold_is_that_of_the_measurement():
    assert models_view.ENOUGH == precision.THRESHOLD


# ---- for programs ----


def test_models_for_programs(serve_models):
    client = Client(serve_models().address, verbose=False)
    listed = client.predict("none", api_name="/models")
    assert [each["name"] for each in listed] == [each.name for each in families.catalogue()]
    pocket = listed[0]
    assert pocket["verdict"] == "fits"
    assert 0 < pocket["bytes"] < pocket["free_bytes"]
    assert {"license", "languages", "context_length", "images", "rough"} <= pocket.keys()


def test_loading_for_programs(serve_models, opening):
    client = Client(serve_models().address, verbose=False)
    told = list(client.submit("somebody/something", "nf4", api_name="/load"))
    assert told[-1] == "somebody/something"
    assert opening.asked[-1] == ("somebody/something", "nf4")
    opening.failures["somebody/large", "none"] = BIG
    with pytest.raises(Exception, match=r"9\.0 GB"):
        client.predict("somebody/large", "none", api_name="/load")


def test_a_cancelled_load_is_no_success_for_programs(serve_models, opening):
    client = Client(serve_models().address, verbose=False)
    assert client.predict("pocket", "none", api_name="/load") == "pocket"
    opening.go.clear()
    job = client.submit("somebody/something", "nf4", api_name="/load")
    until(lambda: opening.asked[-1] == ("somebody/something", "nf4"))
    opening.cancel.set()
    until(lambda: opening.asked[-1] == ("pocket", "none"))  # what was there comes back
    opening.go.set()
    with pytest.raises(Exception, match=r"somebody/something was cancelled.*pocket, answers on"):
        job.result(timeout=60)
    assert "somebody/something" not in job.outputs()
    assert client.predict("somebody/something", "nf4", api_name="/load") == "somebody/something"

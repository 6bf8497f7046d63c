"""Boxes and points of answers in a browser: lit by pointer, keys and touch, on the right image."""

import json

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.support.fakes import ScriptedBackend, photo_bytes
from tests.ui.conftest import Tab

BOX = "<box>[[100,200,500,600]]</box>"
DIALECTS = (
    f"A <ref>cat</ref>{BOX} and a <ref>dog</ref><box>[[500,500,900,900]]</box>.",
    "A <|object_ref_start|>cat<|object_ref_end|><|box_start|>(100,200),(500,600)<|box_end|> and a "
    "<|object_ref_start|>dog<|object_ref_end|><|box_start|>(500,500),(900,900)<|box_end|>.",
    "<loc0205><loc0102><loc0614><loc0512> cat ; <loc0512><loc0512><loc0922><loc0922> dog",
    '<point x="10" y="20" alt="cat">cat</point>, <point x="90" y="90" alt="dog">dog</point>',
)
TWO = (
    f"Image 1 shows <ref>a cup</ref>{BOX}. Image 2 shows <ref>two lids</ref>"
    "<box>[[0,0,300,300],[600,600,900,900]]</box>."
)
HOSTILE = (
    f"<ref><img src=x onerror=document.title='hurt'></ref>{BOX} "
    f"<ref>b\" onfocus=\"document.title='hurt'</ref>{BOX} ![x](https://example.com/x.png)\n\n"
    '{"bbox_2d": [1, 2, 300, 180], "label": "<script>document.title=\'hurt\'</script>"}\n\n'
    '<button class="phrase place-0-0" data-act="clear">forged</button>'
)
pytestmark = pytest.mark.browser


def picture(name: str, seed: int = 0) -> dict[str, object]:
    buffer = photo_bytes(size=(400, 240), seed=seed)
    return {"name": name, "mimeType": "image/png", "buffer": buffer}


@pytest.fixture
def answered(serve, open_tab):
    """`answered(answer, images=1, **options)`: a page on which that was answered."""

    def start(answer: str, images: int = 1, **options) -> Tab:
        tab = open_tab(serve(backend=ScriptedBackend([answer])).address, **options)
        tab.attach(*(picture(f"photo-{n}.png", n) for n in range(images)))
        tab.ask("Where?")
        tab.stats.wait_for()
        tab.find("figure.places .place").first.wait_for()
        return tab

    return start


def lit(tab: Tab) -> set[str]:
    """The numbers of the places that are lit in the text, and in the pictures."""
    names = tab.page.evaluate(
        """[...document.querySelectorAll('#chat .lit')].map(each =>
            each.tagName + ' ' + [...each.classList].filter(name => /^place-/.test(name)))"""
    )
    return {name.lower() for name in names}


def both(number: int, kind: str = "g") -> set[str]:
    return {f"{tag} place-0-{number}" for tag in ("button", kind, "span")}


@pytest.mark.parametrize("answer", DIALECTS)
def test_a_phrase_lights_its_box_and_the_box_its_phrase(answered, answer):
    tab = answered(answer)
    expect(tab.find("#chat .md .phrase")).to_have_text(["cat1", "dog2"])
    tab.find(".phrase").nth(1).hover()
    assert lit(tab) == both(1)
    expect(tab.find("figure.places.chosen")).to_have_count(1)
    tab.find("figure.places .numeral").filter(has_text="1").hover()
    assert lit(tab) == both(0)
    tab.find("#stats").hover()
    assert lit(tab) == set()
    expect(tab.find("#chat")).not_to_contain_text("<box>")
    expect(tab.find("#chat")).not_to_contain_text("box_start")


def test_boxes_lie_where_they_are_said_to_be(answered):
    tab = answered(DIALECTS[0])
    sight = tab.find(".sight img").bounding_box()
    box = tab.find("figure.places .place.place-0-0 rect.line").bounding_box()
    assert sight["width"] / sight["height"] == pytest.approx(400 / 240, rel=0.01)
    assert box["x"] - sight["x"] == pytest.approx(0.1 * sight["width"], abs=4)
    assert box["y"] - sight["y"] == pytest.approx(0.2 * sight["height"], abs=4)
    assert box["width"] == pytest.approx(0.4 * sight["width"], abs=8)
    loaded = "document.querySelector('.sight img').naturalWidth"
    assert tab.page.evaluate(loaded) > 0


def test_each_image_has_its_own_boxes(answered):
    tab = answered(TWO, images=2)
    expect(tab.find("figure.places")).to_have_count(2)
    expect(tab.find("figure.places").nth(1).locator(".place")).to_have_count(2)
    expect(tab.find("figure.places figcaption")).to_have_text(
        ["Image 1: photo-0.png.", "Image 2: photo-1.png."]
    )
    tab.find(".phrase").filter(has_text="two lids").hover()
    expect(tab.find("figure.places").nth(1).locator(".place.lit")).to_have_count(2)
    expect(tab.find("figure.places").nth(0).locator(".place.lit")).to_have_count(0)


def test_keys_do_all_of_it(answered):
    tab = answered(DIALECTS[0])
    tab.page.mouse.move(2, 2)
    tab.find(".phrase").first.focus()
    assert lit(tab) == both(0)
    tab.page.keyboard.press("Tab")
    assert lit(tab) == both(1)
    tab.page.keyboard.press("Enter")
    expect(tab.find(".phrase").nth(1)).to_have_attribute("aria-pressed", "true")
    tab.box.focus()
    assert lit(tab) == both(1)  # what was taken stays
    tab.find("figure.places .place.place-0-0").focus()
    assert lit(tab) == both(0)
    tab.page.keyboard.press("Enter")
    expect(tab.find(".phrase").first).to_have_attribute("aria-pressed", "true")
    tab.page.keyboard.press("Escape")
    assert lit(tab) == set()
    expect(tab.find(".phrase").first).to_have_attribute("aria-pressed", "false")


def test_a_tap_lights_and_another_puts_out(answered):
    tab = answered(DIALECTS[0], viewport={"width": 390, "height": 844}, has_touch=True)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 390
    tab.find(".phrase").first.tap()
    assert lit(tab) == both(0)
    expect(tab.find("figure.places")).to_be_in_viewport()
    tab.find(".phrase").first.tap()
    assert lit(tab) == set()
    tab.find("figure.places .numeral").first.tap()
    assert len(lit(tab)) == 3


def test_json_is_listed_copied_and_saved(answered):
    answer = '```json\n[{"bbox_2d": [10, 20, 110, 120], "label": "a cat"}]\n```'
    tab = answered(answer)
    tab.find("ol.phrases .phrase").filter(has_text="a cat").hover()
    expect(tab.find("figure.places .place.lit")).to_have_count(1)
    with tab.page.expect_download() as download:
        tab.find("#chat a").filter(has_text="Save JSON").click()
    (place,) = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert (place["phrase"], place["kind"], place["image"]) == ("a cat", "box", 0)
    tab.find("#chat .act").filter(has_text="Copy as JSON").click()
    expect(tab.find("#chat .act").filter(has_text="Copied")).to_be_visible()


def test_nothing_that_a_model_writes_is_alive(answered):
    tab = answered(HOSTILE)
    for phrase in tab.find("#chat .phrase").all():
        phrase.focus()
        phrase.hover()
    assert tab.page.title() == "Diptych"
    expect(tab.find("ol.phrases .phrase")).to_contain_text("<script>document.title='hurt'</script>")
    assert tab.find("#chat [data-testid=bot] .md img").count() == 0
    tab.find("#chat .phrase").filter(has_text="forged").click()
    expect(tab.find("figure.places")).to_have_count(1)  # nothing was cleared


def test_places_come_with_the_last_word_and_stay(serve, open_tab):
    import threading

    gate = threading.Event()
    script = [f"A <ref>cat</ref>{BOX[:20]}", gate, BOX[20:], " sits."]
    tab = open_tab(serve(backend=ScriptedBackend(script, ["Yes."])).address)
    tab.attach(picture("photo.png"))
    tab.ask("Where?")
    expect(tab.answers.first).to_have_text("A cat")
    expect(tab.find("figure.places")).to_have_count(0)
    gate.set()
    expect(tab.answers.first).to_have_text("A cat1 sits.")
    expect(tab.find("figure.places .place")).to_have_count(1)
    tab.wait_for_answer()
    tab.ask("Sure?")
    tab.wait_for_answer(2)
    expect(tab.find("figure.places .place")).to_have_count(1)


def test_the_language_changes_all_of_it(answered):
    tab = answered(f"{BOX}", images=2)
    expect(tab.find("figure.places figcaption")).to_contain_text("does not say which image")
    tab.find("#language").get_by_text("简体中文").click()
    expect(tab.find("figure.places figcaption")).to_contain_text("没有说明指哪张图片")
    expect(tab.find("#chat .act").filter(has_text="复制为 JSON")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_barrier(answered, scheme):
    tab = answered(TWO, images=2, color_scheme=scheme)
    tab.find(".phrase").first.hover()
    found = Axe().run(
        tab.page, context="#chat", options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]}
    )
    assert found.violations_count == 0, found.generate_report()

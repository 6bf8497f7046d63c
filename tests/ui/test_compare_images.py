"""Compare images in a real browser: every control by mouse and by keys, and what goes wrong."""

import io
import re
import threading

import numpy
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image as pillow
from playwright.sync_api import expect

from tests.support.fakes import ScriptedBackend, photo_bytes
from tests.ui.conftest import WAIT, Tab
from vlm import feature_difference
from vlm.backend import Capabilities, Stage
from vlm.errors import ModelError
from vlm.ui import compare_images, compare_room

pytestmark = pytest.mark.browser

SIZE = (480, 320)


class SeeingBackend(ScriptedBackend):
    """Shows a vision tower too: each of 4 x 4 positions sees the mean colours of its place."""

    def trace(self, messages, options=None, cancel=None):
        (image,) = messages[-1].images
        colours = image.pixels.convert("RGB").resize((4, 4), pillow.Resampling.BOX)
        array = numpy.asarray(colours, numpy.float32).reshape(1, 16, 3) - 128
        yield Stage("vision_tower", array, ("images", "positions", "width"))


def picture(seed: int = 0, mode: str = "RGB", size: tuple[int, int] = SIZE) -> pillow.Image:
    return pillow.open(io.BytesIO(photo_bytes(mode, size, seed)))


def detailed(size: tuple[int, int] = SIZE) -> pillow.Image:
    """Something to align by: blocks of many sizes."""
    random = numpy.random.default_rng(5)
    picture = pillow.new("RGB", size, (200, 190, 180))
    for _ in range(120):
        x, y = (int(random.integers(0, length)) for length in size)
        width, height = (int(each) for each in random.integers(6, 60, 2))
        colour = tuple(int(each) for each in random.integers(0, 256, 3))
        picture.paste(colour, (x, y, x + width, y + height))
    return picture


def edited() -> pillow.Image:
    """Two places changed: a large one in the upper left, a smaller one in the lower right."""
    picture = detailed()
    picture.paste((255, 0, 255), (40, 30, 140, 110))
    picture.paste((0, 255, 0), (380, 240, 440, 290))
    return picture


def file(name: str, picture: pillow.Image | bytes) -> dict[str, object]:
    data = picture
    if isinstance(picture, pillow.Image):
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        data = buffer.getvalue()
    return {"name": name, "mimeType": "image/png", "buffer": data}


def go_to(tab: Tab, name: str = "Compare") -> None:
    tab.page.get_by_role("tab", name=name, exact=True).click()


def put(tab: Tab, *files: dict[str, object], side: str = "right") -> None:
    tab.find(f"#compare-{side} input[type=file]").set_input_files(list(files))


def compare(tab: Tab, *files: dict[str, object]) -> None:
    """Files into the tab; waits for the pictures and for what the model sees of them."""
    if not tab.find("#compare-images").is_visible():
        go_to(tab)
    put(tab, *(files or [file("before.png", detailed()), file("after.png", edited())]))
    viewer(tab).wait_for()
    expect(tab.find("#compare-progress .working")).to_have_count(0)


def viewer(tab: Tab):
    return tab.find("#compare-images .viewer")


def state(tab: Tab, name: str) -> float:
    """What the viewer shows: "at", "zoom", "x" or "y"."""
    return float(viewer(tab).evaluate(f"each => each.style.getPropertyValue('--{name}')"))


def view(tab: Tab) -> str:
    return viewer(tab).get_attribute("data-view") or ""


def boxes(tab: Tab):
    return viewer(tab).locator(".pane.one .box")


def regions(tab: Tab):
    return tab.find(".regions .region")


def notice(tab: Tab):
    return tab.find("#compare-notice .card")


def answer(tab: Tab):
    return tab.find("#compare-answer .md")


def blur(tab: Tab) -> None:
    tab.page.evaluate("document.activeElement.blur()")


@pytest.fixture
def seeing(serve):
    """`seeing("A ", gate, "cup.")` serves over a backend that shows its vision tower."""

    def start(*script, able: Capabilities | None = None, **settings):
        return serve(backend=SeeingBackend(list(script) or ["Yes."], able=able), **settings)

    return start


# ---- two pictures ----


def test_two_pictures_are_compared_and_regions_named(seeing, open_tab):
    tab = open_tab(seeing().address)
    go_to(tab)
    expect(tab.find("#compare-welcome")).to_be_visible()
    put(tab, file("before.png", detailed()), side="left")
    expect(tab.find(".half img")).to_have_attribute("alt", "before.png")
    expect(tab.find("#compare-left")).to_be_hidden()
    put(tab, file("after.png", edited()))
    expect(boxes(tab)).to_have_count(2)
    expect(tab.find("#compare-empty")).to_be_hidden()
    expect(regions(tab)).to_have_count(2)
    expect(regions(tab).nth(0)).to_contain_text("upper left")
    expect(regions(tab).nth(1)).to_contain_text("lower right")
    expect(regions(tab).nth(0)).to_contain_text("px")
    expect(tab.find(".figures")).to_contain_text("2 regions")
    expect(tab.find(".sentences")).to_contain_text("the same frame")
    expect(tab.find(".viewer .tag.left").first).to_have_text("1 · before.png")
    loaded = "each => each.complete && each.naturalWidth > 0"
    tab.page.wait_for_function(
        f"[...document.querySelectorAll('.pane .layer[src]')].every({loaded})"
    )
    expect(tab.find(".segment[data-view=model]")).to_be_enabled()


def test_the_first_look_at_the_tab_prepares_for_comparing(serve, open_tab, monkeypatch):
    begun = threading.Event()
    monkeypatch.setattr(compare_images, "prepare", begun.set)
    tab = open_tab(serve().address)
    assert not begun.is_set()
    go_to(tab)
    assert begun.wait(WAIT / 1000)


def test_left_is_the_first_whatever_comes_first(serve, open_tab):
    tab = open_tab(serve().address)
    go_to(tab)
    put(tab, file("second.png", edited()))
    tab.find(".half").wait_for()
    put(tab, file("first.png", detailed()), side="left")
    expect(viewer(tab).locator(".tag.left").first).to_have_text("1 · first.png")


def test_a_photo_that_was_moved_is_aligned_and_can_be_left_as_it_is(serve, open_tab):
    tab = open_tab(serve().address)
    shot = edited().rotate(-3, pillow.Resampling.BICUBIC).crop((40, 30, 440, 290))
    compare(tab, file("before.png", detailed()), file("after.png", shot))
    words = tab.find(".sentences")
    expect(words).to_contain_text("Aligned: the second is turned by 3.0° clockwise.")
    expect(words).to_contain_text("% of the first")
    tab.find("#compare-align input").uncheck()
    expect(words).to_contain_text("Not aligned, as you chose")
    tab.find("#compare-align input").check()
    expect(words).to_contain_text("clockwise")


def test_swap_and_clear(serve, open_tab):
    tab = open_tab(serve().address)
    compare(tab)
    tab.find("#compare-swap").click()
    expect(viewer(tab).locator(".tag.left").first).to_have_text("2 · after.png")
    tab.find("#compare-swap").click()
    expect(viewer(tab).locator(".tag.left").first).to_have_text("1 · before.png")
    tab.find("#compare-ask textarea").fill("Who?")
    tab.find("#compare-clear").click()
    expect(viewer(tab)).to_have_count(0)
    expect(tab.find("#compare-welcome")).to_be_visible()
    expect(tab.find("#compare-ask textarea")).to_have_value("What changed?")


def test_of_three_pictures_a_pair_is_chosen(serve, open_tab):
    tab = open_tab(serve().address)
    compare(tab)
    put(tab, file("third.png", picture(9)))
    right = viewer(tab).locator(".pane.one .tag.right")
    expect(right).to_have_text("3 · third.png")  # what came last is looked at
    tab.page.get_by_role("button", name="Put picture 2 right").click()
    expect(right).to_have_text("2 · after.png")
    pressed = tab.page.get_by_role("button", name="Put picture 2 right")
    expect(pressed).to_have_attribute("aria-pressed", "true")
    tab.page.get_by_role("button", name="Remove picture 2").click()
    expect(right).to_have_text("2 · third.png")
    tab.page.get_by_role("button", name="Remove picture 2").click()
    expect(viewer(tab)).to_have_count(0)
    expect(tab.find(".half")).to_be_visible()


@pytest.mark.parametrize(("number", "count"), [(0, 2), (1, 1)])
def test_an_example_works_in_one_click(serve, open_tab, number, count):
    tab = open_tab(serve().address)
    go_to(tab)
    tab.find("#compare-examples .example").nth(number).click()
    expect(regions(tab)).to_have_count(count)
    expect(tab.find(".sentences")).to_contain_text("turned by")


# ---- views, by mouse and by keys ----


def test_views_by_mouse(seeing, open_tab):
    tab = open_tab(seeing().address)
    compare(tab)
    panes = viewer(tab).locator(".pane")
    expect(panes.nth(1)).to_be_hidden()
    tab.find(".segment[data-view=beside]").click()
    expect(panes.nth(1)).to_be_visible()
    assert panes.nth(0).bounding_box()["width"] == pytest.approx(
        panes.nth(1).bounding_box()["width"]
    )
    tab.find(".segment[data-view=heat]").click()
    expect(tab.find("#compare-diff")).to_be_visible()
    expect(tab.find(".sheet.model img")).to_be_hidden()
    tab.find(".segment[data-view=model]").click()
    expect(tab.find(".sheet.model img")).to_be_visible()
    expect(tab.find(".segment[data-view=model]")).to_have_attribute("aria-pressed", "true")
    tab.find("[data-do=boxes]").uncheck()
    expect(boxes(tab).first).to_be_hidden()
    tab.find("[data-do=boxes]").check()
    expect(boxes(tab).first).to_be_visible()
    tab.find(".segment[data-view=blink]").click()
    over = viewer(tab).locator(".pane.one .sheet.second")
    expect(over).to_be_hidden()  # with reduced motion it waits for a press
    viewer(tab).locator(".pane.one").click(position={"x": 300, "y": 20})
    expect(over).to_be_visible()


def test_blinking_goes_on_by_itself_until_it_is_paused(serve, open_tab):
    tab = open_tab(serve().address)
    tab.page.emulate_media(reduced_motion="no-preference")
    compare(tab)
    tab.page.keyboard.press("b")
    over = viewer(tab).locator(".pane.one .sheet.second")
    expect(over).to_be_visible()
    expect(over).to_be_hidden()
    pause = tab.find("[data-do=blink]")
    expect(pause).to_have_text("Pause")
    pause.click()
    expect(pause).to_have_text("Blink")


def test_the_slider_by_pointer_and_by_keys(serve, open_tab):
    tab = open_tab(serve().address)
    compare(tab)
    pane = viewer(tab).locator(".pane.one").bounding_box()
    middle = pane["y"] + pane["height"] / 2
    tab.page.mouse.move(pane["x"] + pane["width"] / 2, middle)
    tab.page.mouse.down()
    tab.page.mouse.move(pane["x"] + pane["width"] / 4, middle, steps=4)
    tab.page.mouse.up()
    assert state(tab, "at") == pytest.approx(25, abs=1)
    expect(tab.find("#compare-slider")).to_have_value("25")
    blur(tab)
    tab.page.keyboard.press("ArrowRight")
    assert state(tab, "at") == pytest.approx(27, abs=1)
    tab.page.keyboard.press("Shift+ArrowLeft")
    assert state(tab, "at") == pytest.approx(17, abs=1)
    tab.find("#compare-slider").focus()
    tab.page.keyboard.press("ArrowRight")
    assert state(tab, "at") == pytest.approx(18, abs=1)


def test_regions_by_click_and_by_number_and_the_way_back(serve, open_tab):
    tab = open_tab(serve().address)
    compare(tab)
    regions(tab).nth(1).click()
    near = state(tab, "zoom")
    assert near > 2
    pane, box = viewer(tab).locator(".pane.one").bounding_box(), boxes(tab).nth(1).bounding_box()
    for place, length in (("x", "width"), ("y", "height")):  # it is seen as a whole
        assert pane[place] <= box[place]
        assert box[place] + box[length] <= pane[place] + pane[length] + 1
    expect(regions(tab).nth(1)).to_have_class(re.compile("chosen"))
    tab.page.keyboard.press("Escape")
    assert state(tab, "zoom") == 1
    tab.page.keyboard.press("1")
    assert state(tab, "zoom") > 1
    expect(regions(tab).nth(0)).to_have_class(re.compile("chosen"))
    tab.find("[data-do=fit]").click()
    assert state(tab, "zoom") == 1
    boxes(tab).nth(0).click()
    assert state(tab, "zoom") > 1


def test_zoom_is_linked_and_a_near_picture_can_be_moved(serve, open_tab):
    tab = open_tab(serve().address)
    compare(tab)
    tab.find(".segment[data-view=beside]").click()
    tab.find("[data-do=in]").click()
    blur(tab)
    tab.page.keyboard.press("+")
    assert state(tab, "zoom") == pytest.approx(2.25)
    scenes = [
        viewer(tab)
        .locator(f".pane.{name} .sheet.boxes .scene")
        .evaluate("each => getComputedStyle(each).transform")
        for name in ("one", "two")
    ]
    assert scenes[0] == scenes[1] != "none"
    pane = viewer(tab).locator(".pane.two").bounding_box()
    tab.page.mouse.move(pane["x"] + 100, pane["y"] + 80)
    tab.page.mouse.down()
    before = state(tab, "x")
    tab.page.mouse.move(pane["x"] + 60, pane["y"] + 80, steps=3)
    tab.page.mouse.up()
    assert state(tab, "x") == pytest.approx(before - 40 / pane["width"], abs=0.01)
    tab.page.keyboard.press("ArrowLeft")
    assert state(tab, "x") > before - 40 / pane["width"]
    tab.page.mouse.wheel(0, 3000)
    expect(viewer(tab)).not_to_have_class(re.compile("near"))


def test_letters_choose_views_but_not_while_typing(serve, open_tab):
    tab = open_tab(serve().address)
    compare(tab)
    tab.page.keyboard.press("d")
    assert view(tab) == "heat"
    tab.page.keyboard.press("d")
    assert view(tab) == "slider"
    tab.page.keyboard.press("b")
    assert view(tab) == "blink"
    box = tab.find("#compare-ask textarea")
    box.fill("")
    box.press_sequentially("bd1")
    expect(box).to_have_value("bd1")
    assert (view(tab), state(tab, "zoom")) == ("blink", 1)


def test_every_control_is_reached_by_tab_and_shows_it(seeing, open_tab):
    tab = open_tab(seeing().address)
    compare(tab)
    tab.page.get_by_role("tab", name="Compare", exact=True).focus()
    reached = set()
    for _ in range(40):
        tab.page.keyboard.press("Tab")
        reached.add(
            tab.page.evaluate(
                """() => { const each = document.activeElement;
                return each.dataset.view || each.dataset.do || (each.dataset.region
                    && each.className.split(' ').find((name) => ['box', 'region'].includes(name)))
                    || each.id || each.closest('[id]')?.id }"""
            )
        )
    wanted = {"slider", "blink", "beside", "heat", "model", "in", "boxes", "box", "region"}
    wanted |= {"compare-slider", "compare-add", "compare-swap", "compare-clear"}
    assert wanted <= reached, wanted - reached
    for name in (".segment[data-view=heat]", ".box", ".region", "[data-do=in]"):
        tab.find(f"#compare-images {name}").first.focus()
        tab.page.keyboard.press("Shift")  # focus by keys
        outline = tab.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", name


# ---- what the model sees ----


def test_a_region_that_the_model_hardly_sees_is_marked(seeing, open_tab, monkeypatch):
    from dataclasses import replace

    look = feature_difference.look
    monkeypatch.setattr(
        feature_difference, "look", lambda *args, **named: replace(look(*args, **named), floor=2.0)
    )
    tab = open_tab(seeing().address)
    compare(tab)
    expect(regions(tab).first).to_contain_text("the model can hardly see this")
    expect(boxes(tab).first).to_have_class(re.compile("hardly"))


def test_a_model_that_shows_only_answers_is_said(serve, open_tab):
    tab = open_tab(serve().address)
    compare(tab)
    expect(tab.find(".findings")).to_contain_text("What the model sees of this is not known")
    expect(tab.find(".segment[data-view=model]")).to_be_disabled()
    expect(regions(tab)).to_have_count(2)


def test_a_comparison_tells_its_stages_and_can_be_cancelled(serve, open_tab, monkeypatch):
    go, begun = threading.Event(), []
    really = compare_room.compared

    def slow(pair, aligned, folder, progress, cancel):
        begun.append(cancel)
        progress("aligning")
        while not go.wait(0.02):
            if cancel.is_set():
                break
        return really(pair, aligned, folder, progress, cancel)

    monkeypatch.setattr("vlm.ui.compare_images.compared", slow)
    tab = open_tab(serve().address)
    go_to(tab)
    put(tab, file("before.png", detailed()), file("after.png", edited()))
    working = tab.find("#compare-progress .working")
    expect(working).to_contain_text("aligning")
    working.get_by_role("button", name="Cancel").click()
    expect(notice(tab)).to_contain_text("stopped")
    expect(working).to_have_count(0)
    assert begun[0].is_set()
    expect(tab.find("figure.picture")).to_have_count(2)  # nothing is lost
    go.set()
    notice(tab).get_by_role("button", name="Compare again").click()
    expect(boxes(tab)).to_have_count(2)
    expect(notice(tab)).to_have_count(0)


def test_heat_maps_say_what_their_colours_mean(seeing, open_tab):
    tab = open_tab(seeing().address)
    compare(tab)
    heat, model = (tab.find(f"#compare-images .scale.{name}") for name in ("heat", "model"))
    expect(heat).to_be_hidden()
    tab.find(".segment[data-view=heat]").click()
    expect(heat).to_contain_text("0: the same colour")
    expect(heat).to_contain_text("50 and more")
    expect(model).to_be_hidden()
    tab.find(".segment[data-view=model]").click()
    expect(heat).to_be_hidden()
    expect(model).to_contain_text("1 and more")
    expect(model).to_contain_text("One cell is one position of the tower, about 120 × 80 px")
    ramp = model.locator(".ramp").bounding_box()
    assert ramp["width"] > 200 and ramp["height"] >= 8
    tab.find("#language").get_by_text("简体中文").click()
    expect(model).to_contain_text("120 × 80")
    expect(model).to_contain_text("余弦距离")


def test_the_handle_of_the_slider_covers_no_number(serve, open_tab):
    """It can still be gripped there: numbers let the pointer through."""
    tab = open_tab(serve().address)
    second = detailed()
    second.paste((255, 0, 255), (236, 152, 336, 232))  # its number lies under the handle
    compare(tab, file("before.png", detailed()), file("after.png", second))
    number = viewer(tab).locator(".pane.one .number b").bounding_box()
    grip = viewer(tab).locator(".grip").bounding_box()
    x, y = number["x"] + number["width"] / 2, number["y"] + number["height"] / 2
    assert grip["x"] < x < grip["x"] + grip["width"]
    assert grip["y"] < y < grip["y"] + grip["height"]
    tab.page.add_style_tag(content=".number, .number b { pointer-events: auto !important; }")
    top = "([x, y]) => document.elementFromPoint(x, y).closest('.number') !== null"
    assert tab.page.evaluate(top, [x, y])
    tab.page.add_style_tag(content=".number, .number b { pointer-events: none !important; }")
    tab.page.mouse.move(x, y)
    tab.page.mouse.down()
    tab.page.mouse.move(x + 60, y, steps=4)
    tab.page.mouse.up()
    assert state(tab, "at") > 55


# ---- asking ----


def test_a_question_about_both_is_answered_beside_the_pictures(seeing, open_tab):
    gate = threading.Event()
    served = seeing("The cup ", gate, "is empty.")
    tab = open_tab(served.address)
    compare(tab)
    box = tab.find("#compare-ask textarea")
    expect(box).to_have_value("What changed?")
    box.press("Enter")
    expect(answer(tab)).to_have_text("The cup")
    expect(tab.find("#compare-stop")).to_be_visible()
    gate.set()
    expect(answer(tab)).to_have_text("The cup is empty.")
    expect(tab.find("#compare-stop")).to_be_hidden()
    expect(tab.find("#compare-stats .stats")).to_contain_text("52 tokens in")
    expect(tab.find("#compare-how")).to_contain_text("All 2 pictures went to the model in one")
    message = served.backend.asked[0].messages[-1]
    assert [image.name for image in message.images] == ["before.png", "after.png"]
    assert message.text == "What changed?"
    said, pane = tab.find("#compare-answer").bounding_box(), viewer(tab).bounding_box()
    assert said["x"] > pane["x"] + pane["width"]  # beside
    assert said["y"] + said["height"] <= tab.page.viewport_size["height"]  # not under the fold


def test_changed_regions_go_along_as_crops(serve, open_tab):
    served = serve("Two things.")
    tab = open_tab(served.address)
    compare(tab)
    tab.find("#compare-crops input").check()
    tab.find("#compare-ask .submit-button").click()
    expect(answer(tab)).to_have_text("Two things.")
    message = served.backend.asked[0].messages[-1]
    assert len(message.images) == 6
    assert "Image 3 shows a part of image 1" in message.text
    expect(tab.find("#compare-how")).to_contain_text("crops of 2 of 2 regions")


def test_stop_works_at_once_and_keeps_what_was_written(serve, open_tab):
    served = serve("Begun ", threading.Event(), "never.")
    tab = open_tab(served.address)
    compare(tab)
    tab.find("#compare-ask textarea").press("Enter")
    expect(answer(tab)).to_contain_text("Begun")
    tab.find("#compare-stop").click()
    expect(answer(tab)).to_contain_text("stopped")
    expect(answer(tab)).to_contain_text("Begun")
    assert served.backend.asked[0].cancel.is_set()
    tab.find("#compare-ask textarea").press("Enter")
    expect(tab.find("#compare-stop")).to_be_visible()
    blur(tab)
    tab.page.keyboard.press("Escape")
    expect(tab.find("#compare-stop")).to_be_hidden()


def test_a_model_of_one_picture_is_asked_one_by_one_and_the_page_says_so(serve, open_tab):
    able = Capabilities(name="One", images_per_turn=1)
    backend = ScriptedBackend(["Full."], ["Empty."], ["It was drunk."], able=able)
    served = serve(backend=backend)
    tab = open_tab(served.address)
    compare(tab)
    tab.find("#compare-ask textarea").press("Enter")
    expect(tab.find("#compare-stats .stats")).to_have_count(3)
    expect(answer(tab)).to_contain_text("Picture 1")
    expect(answer(tab)).to_contain_text("It was drunk.")
    expect(tab.find("#compare-how")).to_contain_text("takes 1 picture(s) at a time")


def test_a_failed_answer_says_why_and_loses_nothing(serve, open_tab):
    backend = ScriptedBackend(["Half ", ModelError("no_trace", name="X")], ["Whole."])
    tab = open_tab(serve(backend=backend).address)
    compare(tab)
    tab.find("#compare-ask textarea").fill("Why?")
    tab.find("#compare-ask textarea").press("Enter")
    expect(notice(tab)).to_contain_text("X")
    expect(answer(tab)).not_to_contain_text("Half")
    expect(tab.find("#compare-ask textarea")).to_have_value("Why?")
    expect(boxes(tab)).to_have_count(2)
    tab.find("#compare-ask textarea").press("Enter")
    expect(answer(tab)).to_have_text("Whole.")
    expect(notice(tab)).to_have_count(0)


def test_an_answer_is_forgotten_with_its_pictures(serve, open_tab):
    tab = open_tab(serve("Old.").address)
    compare(tab)
    tab.find("#compare-ask textarea").press("Enter")
    expect(answer(tab)).to_have_text("Old.")
    tab.page.get_by_role("button", name="Remove picture 2").click()
    expect(answer(tab)).to_have_text("")
    expect(tab.find("#compare-stats .stats")).to_have_count(0)


# ---- what goes wrong, and odd pictures ----


def test_a_broken_file_is_named_and_the_others_are_compared(serve, open_tab):
    tab = open_tab(serve().address)
    go_to(tab)
    put(
        tab,
        file("before.png", detailed()),
        file("broken.png", b"\x89PNG\r\n\x1a\n nothing"),
        file("after.png", edited()),
    )
    expect(notice(tab)).to_contain_text("broken.png is damaged")
    expect(boxes(tab)).to_have_count(2)
    expect(notice(tab)).to_be_visible()
    notice(tab).locator(".dismiss").click()
    expect(notice(tab)).to_have_count(0)
    expect(boxes(tab)).to_have_count(2)


def test_too_many_pictures_keep_the_first(serve, open_tab):
    tab = open_tab(serve().address)
    go_to(tab)
    put(tab, *(file(f"{number}.png", picture(number, size=(64, 48))) for number in range(10)))
    expect(notice(tab)).to_contain_text("10 pictures are too many: at most 8")
    expect(tab.find("figure.picture")).to_have_count(8)


def test_a_file_that_is_too_large_is_named(serve, open_tab):
    tab = open_tab(serve(max_file_megabytes=0.02, max_conversation_megabytes=5).address)
    go_to(tab)
    noise = numpy.random.default_rng(0).integers(0, 256, (200, 200, 3), numpy.uint8)
    put(tab, file("large.png", pillow.fromarray(noise)), file("a.png", picture(1, size=(64, 48))))
    expect(notice(tab)).to_contain_text("large.png has")
    expect(tab.find(".half")).to_be_visible()


def test_one_picture_cannot_be_asked_about(serve, open_tab):
    """The box is not there for one: only a page that is behind can ask."""
    tab = open_tab(serve().address)
    go_to(tab)
    put(tab, file("a.png", picture(1)))
    tab.find(".half").wait_for()
    expect(tab.find("#compare-ask")).to_be_hidden()
    expect(tab.find(".half")).to_contain_text("One more picture")


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (detailed(), detailed(), "Identical: no pixel differs."),
        (pillow.new("RGB", SIZE, "white"), pillow.new("RGB", SIZE, "white"), "Identical"),
        (pillow.new("RGB", SIZE, "white"), detailed(), "too little in one of them"),
        (detailed(), detailed().resize((240, 160)).convert("L"), "frame"),
        (detailed().convert("RGBA"), detailed(), "No change found"),
        (detailed(), picture(4, size=(200, 500)), "Could not be aligned"),
    ],
    ids=["identical", "two blank", "one blank", "grey and smaller", "modes", "unrelated"],
)
def test_odd_pairs_get_a_sentence(serve, open_tab, first, second, words):
    tab = open_tab(serve().address)
    compare(tab, file("a.png", first), file("b.png", second))
    expect(tab.find(".sentences")).to_contain_text(words)


# ---- between tabs ----


def test_pictures_of_the_box_and_of_a_message_go_to_compare(serve, open_tab):
    tab = open_tab(serve("Two.").address)
    tab.attach(file("before.png", detailed()), file("after.png", edited()))
    tab.find("#token-chip").get_by_role("button", name="Compare these pictures").click()
    expect(boxes(tab)).to_have_count(2)
    tab.find("#compare-clear").click()
    go_to(tab, "Chat")
    tab.ask("What?")
    tab.wait_for_answer()
    tab.find("#chat").get_by_role("button", name="Compare these pictures").click()
    expect(boxes(tab)).to_have_count(2)
    expect(tab.find("figure.picture")).to_have_count(2)


def test_one_picture_joins_those_that_are_there(serve, open_tab):
    tab = open_tab(serve().address)
    go_to(tab)
    put(tab, file("before.png", detailed()))
    tab.find(".half").wait_for()
    go_to(tab, "Chat")
    tab.attach(file("after.png", edited()))
    tab.find("#token-chip").get_by_role("button", name="Take this picture to Compare").click()
    expect(viewer(tab).locator(".pane.one .tag.right")).to_have_text("2 · after.png")


def test_pictures_that_are_sent_open_the_section_that_compares_them(serve, open_tab):
    tab = open_tab(serve().address)
    go_to(tab)
    go_to(tab, "Many images")
    tab.find("#grid-run").wait_for()
    go_to(tab, "Chat")
    tab.attach(file("before.png", detailed()), file("after.png", edited()))
    tab.find("#token-chip").get_by_role("button", name="Compare these pictures").click()
    expect(boxes(tab)).to_have_count(2)
    expect(boxes(tab).first).to_be_visible()
    go_to(tab, "Chat")
    go_to(tab, "Compare")  # nothing is sent this time
    go_to(tab, "Many images")
    go_to(tab, "Chat")
    go_to(tab, "Compare")
    expect(tab.find("#grid-run")).to_be_visible()


def test_pictures_of_compare_go_into_the_box_of_the_chat(seeing, open_tab):
    tab = open_tab(seeing("A cup.").address)
    compare(tab)
    tab.find("#compare .pictures").get_by_role("button", name="Ask in Chat").press("Enter")
    expect(tab.find("#token-chip figure")).to_have_count(2)
    expect(tab.box).to_be_visible()
    tab.ask("Which is full?")
    expect(tab.answers.last).to_contain_text("A cup.")


def test_escape_in_compare_leaves_the_answer_of_the_chat_alone(serve, open_tab):
    gate = threading.Event()
    served = serve("Slow ", gate, "answer.")
    tab = open_tab(served.address)
    tab.ask("Hello?")
    expect(tab.answers.last).to_have_text("Slow")
    go_to(tab)
    tab.page.keyboard.press("Escape")
    gate.set()
    go_to(tab, "Chat")
    tab.wait_for_answer()
    expect(tab.answers.last).to_have_text("Slow answer.")


def test_another_visitor_sees_nothing_of_it(serve, open_tab):
    served = serve()
    one, other = open_tab(served.address), open_tab(served.address)
    compare(one)
    go_to(other)
    expect(other.find("#compare-welcome")).to_be_visible()
    expect(viewer(other)).to_have_count(0)


def test_clearing_all_data_empties_the_tab(serve, open_tab):
    tab = open_tab(serve().address)
    compare(tab)
    go_to(tab, "Chat")
    tab.find("#settings-toggle").click()
    tab.find("#forget").click()
    tab.find("#settings-close").click()
    expect(tab.notice).to_contain_text("Everything of this visit is gone")
    go_to(tab)
    expect(tab.find("#compare-welcome")).to_be_visible()
    expect(viewer(tab)).to_have_count(0)


# ---- language, phone, screen readers ----


def test_another_language_keeps_what_is_looked_at(seeing, open_tab):
    tab = open_tab(seeing("空了。").address)
    compare(tab)
    tab.find("#compare-ask textarea").press("Enter")
    expect(answer(tab)).to_have_text("空了。")
    blur(tab)
    tab.page.keyboard.press("2")
    near = state(tab, "zoom")
    tab.find("#language").get_by_text("简体中文").click()
    expect(regions(tab).first).to_contain_text("左上")
    expect(tab.find(".segment[data-view=beside]")).to_have_text("并排")
    expect(tab.find("#compare-ask textarea")).to_have_value("有什么变化？")
    expect(answer(tab)).to_have_text("空了。")
    expect(tab.find(".segment[data-view=model]")).to_be_enabled()
    assert state(tab, "zoom") == near


def test_on_a_phone_nothing_scrolls_sideways(seeing, open_tab):
    tab = open_tab(seeing("A cup.").address, viewport={"width": 390, "height": 844})
    go_to(tab)
    wide = "document.documentElement.scrollWidth - innerWidth"
    assert tab.page.evaluate(wide) <= 0
    compare(tab)
    send = tab.find("#compare-strip [data-act=send_to]").bounding_box()
    for card in tab.find("#compare-strip figure.picture").all():
        box = card.bounding_box()
        below, beside = send["y"] >= box["y"] + box["height"], send["x"] >= box["x"] + box["width"]
        assert below or beside, "the button covers a picture"
    for segment in tab.find(".segment").all():
        box = segment.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    tab.find("#compare-ask textarea").press("Enter")
    expect(answer(tab)).to_have_text("A cup.")
    for name in ("slider", "beside", "heat"):
        tab.find(f".segment[data-view={name}]").click()
        assert tab.page.evaluate(wide) <= 0, name
        box = viewer(tab).bounding_box()  # what the page cuts off does not make it wide
        assert box["x"] + box["width"] <= 390, name


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_screen_readers_find_no_fault(seeing, open_tab, dark):
    tab = open_tab(seeing("A cup.").address, color_scheme="dark" if dark else "light")
    go_to(tab)
    check(tab)
    compare(tab)
    tab.find("#compare-ask textarea").press("Enter")
    expect(tab.find("#compare-stats .stats")).to_be_visible()
    for name in ("slider", "beside", "heat"):
        tab.find(f".segment[data-view={name}]").click()
        check(tab)


def check(tab: Tab) -> None:
    """No fault of the kinds that count, of what is in the tab."""
    found = Axe().run(tab.page, context="#compare")
    faults = [
        (each["id"], [node["html"][:200] for node in each["nodes"]])
        for each in found.response["violations"]
        if each["impact"] in ("critical", "serious")
    ]
    assert faults == []

"""A region marked on the photo in Inspect: its numbers, the cut, and its way to Chat."""

import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as pillow
from playwright.sync_api import expect

from tests.support.fakes import ScriptedBackend, as_image, photo, photo_bytes
from vlm.backend import Capabilities
from vlm.errors import RequestError
from vlm.ui import region

PHOTO = {"name": "photo.png", "mimeType": "image/png", "buffer": photo_bytes(size=(300, 200))}


# ---- the cut ----


def test_it_is_cut_from_the_photos_own_pixels():
    random = numpy.random.default_rng(0)
    pixels = random.integers(0, 256, (200, 400, 3), numpy.uint8)
    found = region.cut(as_image(pillow.fromarray(pixels), "a.png"), [0.25, 0.5, 0.75, 1])
    assert found.name == "region-a.png"
    assert (numpy.asarray(found.pixels) == pixels[100:200, 100:300]).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
def test_pictures_of_every_mode(mode):
    image = photo(mode, (60, 40))
    found = region.cut(image, [0, 0, 0.5, 0.5])
    assert found.original_size == (30, 20)
    whole, part = image.pixels.convert("RGB"), found.pixels.convert("RGB")
    assert part.tobytes() == whole.crop((0, 0, 30, 20)).tobytes()


def test_what_is_transparent_stays_so():
    pixels = pillow.new("P", (32, 32), 3)
    pixels.info["transparency"] = 3
    found = region.cut(as_image(pixels.convert("RGBA").quantize()), [0, 0, 1, 0.5])
    assert found.pixels.convert("RGBA").getextrema()[3] == (0, 0)


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("", "region_wrong"),
        (None, "region_wrong"),
        ("0 0 1", "region_wrong"),
        ("0 0 1 1 1", "region_wrong"),
        ("a b c d", "region_wrong"),
        ("0 0 nan 1", "region_wrong"),
        ("0 0 inf 1", "region_wrong"),
        ("-0.1 0 1 1", "region_wrong"),
        ("0 0 1.1 1", "region_wrong"),
        ("0.5 0 0.5 1", "region_wrong"),
        ("0.6 0 0.5 1", "region_wrong"),
        ("0 0 0.01 1", "region_small"),
        ("0 0.5 1 0.51", "region_small"),
    ],
)
def test_wrong_and_tiny_regions_are_told(written, key):
    with pytest.raises(RequestError) as raised:
        region.cut(photo(size=(300, 200)), region.numbers(written))
    assert raised.value.key == key


SHARE = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.one_of(SHARE, st.floats(0, 1)), min_size=4, max_size=4))
def test_any_numbers_give_a_part_or_a_sentence(box):
    image = photo(size=(90, 70))
    try:
        found = region.cut(image, region.numbers(" ".join(map(repr, box))))
    except RequestError as error:
        assert error.key in ("region_wrong", "region_small")
        return
    width, height = found.original_size
    assert all(map(math.isfinite, box))
    assert region.LEAST_SIDE <= width <= 90
    assert region.LEAST_SIDE <= height <= 70
    assert abs(width - 90 * (box[2] - box[0])) <= 2


# ---- on the page ----


@pytest.fixture
def open_photo(serve, open_tab):
    """`open_photo(backend, **options)`: Inspect with a photo."""

    def start(backend=None, **options):
        tab = open_tab(serve(backend=backend or ScriptedBackend()).address, **options)
        tab.find("#tabs button[role=tab][data-tab-id=inspect]").click()
        tab.find("#inspect-image input[type=file]").set_input_files(PHOTO)
        tab.find("#inspect [data-region=mark]").wait_for()
        return tab

    return start


def box_of(tab) -> list[float]:
    return [float(n) for n in tab.find("[data-act=ask_region]").get_attribute("data-box").split()]


def drag(tab, start, end) -> None:
    """From one place of the picture to another, in shares of it."""
    bounds = tab.find("#inspect .picture").bounding_box()
    points = [
        (bounds["x"] + x * bounds["width"], bounds["y"] + y * bounds["height"])
        for x, y in (start, end)
    ]
    tab.page.mouse.move(*points[0])
    tab.page.mouse.down()
    tab.page.mouse.move(*points[1], steps=3)
    tab.page.mouse.up()


@pytest.mark.browser
def test_a_region_drawn_by_mouse_is_asked_about(open_photo):
    backend = ScriptedBackend(["A spot."])
    tab = open_photo(backend)
    expect(tab.find("[data-act=ask_region]")).to_be_hidden()
    tab.find("[data-region=mark]").click()
    drag(tab, (0.8, 0.9), (0.2, 0.4))  # from the lower right corner
    assert box_of(tab) == pytest.approx([0.2, 0.4, 0.8, 0.9], abs=0.01)
    tab.find("[data-act=ask_region]").click()
    expect(tab.attached).to_have_count(2)
    expect(tab.attached.nth(0)).to_contain_text("photo.png · 300 × 200")
    expect(tab.attached.nth(1)).to_contain_text("region-photo.png")
    expect(tab.box).to_be_focused()
    tab.page.keyboard.type("What is this?")
    tab.page.keyboard.press("Enter")
    tab.wait_for_answer()
    whole, part = backend.asked[0].messages[-1].images
    assert whole.original_size == (300, 200)
    width, height = part.original_size
    assert (width, height) == (pytest.approx(180, abs=4), pytest.approx(100, abs=4))


@pytest.mark.browser
def test_of_two_photos_the_one_that_is_marked_is_cut(open_photo):
    tab = open_photo()
    other = {"name": "other.png", "mimeType": "image/png", "buffer": photo_bytes(size=(90, 60))}
    tab.find("#inspect-keep input").check()
    tab.find("#inspect-image input[type=file]").set_input_files(other)
    marks = tab.find("[data-region=mark]")
    expect(marks).to_have_count(2)
    marks.first.click()
    marks.nth(1).click()
    expect(tab.find("#inspect .cutframe")).to_have_count(1)
    expect(marks.first).to_be_visible()
    tab.find("[data-act=ask_region]:visible").click()
    expect(tab.attached.nth(1)).to_contain_text("region-other.png")


@pytest.mark.browser
def test_keys_do_all_of_it_and_a_model_of_one_image_gets_the_part(open_photo):
    able = Capabilities(name="Scripted", images_per_turn=1)
    tab = open_photo(ScriptedBackend(able=able))
    mark = tab.find("[data-region=mark]")
    mark.focus()
    tab.page.keyboard.press("Enter")
    expect(tab.find(".cutframe")).to_be_focused()
    for key in ("ArrowLeft", "ArrowUp", "Shift+ArrowRight", "Shift+ArrowDown"):
        tab.page.keyboard.press(key)
    assert box_of(tab) == pytest.approx([0.23, 0.23, 0.75, 0.75])
    label = "Region: 23 % from the left, 23 % from the top, 52 % wide, 52 % high"
    expect(tab.find(".cutframe")).to_have_attribute("aria-label", label)
    for _ in range(20):
        tab.page.keyboard.press("ArrowLeft")
    assert box_of(tab) == pytest.approx([0, 0.23, 0.52, 0.75], abs=1e-4)  # it ends at the edge
    tab.page.keyboard.press("Escape")
    expect(tab.find(".cutframe")).to_have_count(0)
    expect(mark).to_be_focused()
    tab.page.keyboard.press("Enter")
    tab.page.keyboard.press("Enter")
    expect(tab.attached).to_have_count(1)
    expect(tab.attached).to_contain_text("region-photo.png · 150 × 100")
    expect(tab.box).to_be_focused()


@pytest.mark.browser
def test_a_tiny_region_gets_a_sentence_and_can_be_drawn_again(open_photo):
    tab = open_photo()
    tab.find("[data-region=mark]").click()
    drag(tab, (0.5, 0.2), (0.51, 0.8))
    tab.find("[data-act=ask_region]").click()
    expect(tab.find("#inspect-notice .card")).to_contain_text("too few to show anything")
    expect(tab.find(".cutframe")).to_be_visible()
    drag(tab, (0.2, 0.2), (0.8, 0.8))
    tab.find("[data-act=ask_region]").click()
    expect(tab.attached).to_have_count(2)
    tab.find("#tabs button[role=tab][data-tab-id=inspect]").click()
    expect(tab.find("#inspect-notice .card")).to_have_count(0)
    expect(tab.find(".cutframe")).to_have_count(0)


@pytest.mark.browser
def test_what_was_in_the_box_stays_and_another_tab_change_adds_nothing(open_photo):
    tab = open_photo()
    tab.find("#tabs button[role=tab][data-tab-id=chat]").click()
    tab.box.fill("And this?")
    tab.find("#tabs button[role=tab][data-tab-id=inspect]").click()
    tab.find("[data-region=mark]").click()
    tab.page.keyboard.press("Enter")
    expect(tab.attached).to_have_count(2)
    expect(tab.box).to_have_value("And this?")
    tab.find("#tabs button[role=tab][data-tab-id=models]").click()
    tab.find("#tabs button[role=tab][data-tab-id=chat]").click()
    expect(tab.attached).to_have_count(2)


@pytest.mark.browser
def test_on_a_phone_in_chinese(open_photo):
    tab = open_photo(viewport={"width": 390, "height": 844}, has_touch=True, locale="zh-CN")
    tab.find("[data-region=mark]").tap()
    expect(tab.find("[data-act=ask_region]")).to_have_text("就此区域提问")
    expect(tab.find(".cutting .how")).to_contain_text("拖出一个矩形")
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.page.evaluate(
        "getComputedStyle(document.querySelector('#inspect .picture')).touchAction"
    ) == ("none")  # a finger draws and does not scroll
    tab.find("[data-act=ask_region]").tap()
    expect(tab.attached).to_have_count(2)

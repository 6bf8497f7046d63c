"""Places in answers as HTML: phrases, boxes over images, nothing that a model wrote left alive."""

import html
import json
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.fakes import ScriptedBackend, photo
from vlm.backend import ImageLayout
from vlm.chat import ChatSession
from vlm.options import GenerationOptions
from vlm.ui import chat_view, places_view
from vlm.ui.context import Visit

BOX = "<box>[[100,200,500,600]]</box>"
EVIL = '<img src=x onerror=alert(1)> " onfocus="alert(2)" ` ![x](https://example.com/x.png)'
BACKEND = ScriptedBackend()


def layouts(image, options):
    return BACKEND.image_layout(image, options)


def session_of(*turns) -> ChatSession:
    """A conversation of (images, answer)."""
    session = ChatSession(ScriptedBackend(*([answer] for _, answer in turns)))
    for images, _ in turns:
        list(session.send("Where?", images))
    return session


def drawn(*turns, language="en", known=layouts) -> list[str]:
    """(the Markdown of the last answer, the HTML below it)"""
    visit = Visit(session_of(*turns))
    row = chat_view.rows(visit, language, known)[-1]
    return [row["content"][0], row["content"][1].value]


class Tags(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(markup)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def test_a_phrase_and_its_box_have_one_name():
    text, below = drawn(([photo(size=(400, 200))], f"A <ref>cat</ref>{BOX} sits."))
    (button,) = Tags(text).of("button")
    assert button["class"] == "phrase hue-0 place-0-0"
    assert Tags(text).text == "A cat1 sits."
    page = Tags(below)
    (shape,) = page.of("g")
    assert shape["class"] == "place hue-0 place-0-0"
    assert (shape["tabindex"], shape["role"], shape["aria-label"]) == ("0", "button", "1: cat")
    assert [page.of("rect")[0][name] for name in ("x", "y", "width", "height")] == [
        *("100.0", "100.0", "400.0", "200.0")
    ]
    assert page.of("svg")[0]["viewbox"] == "0 0 1000 500.0"
    assert page.of("img")[0]["alt"] == "photo-0.png"


def test_nothing_below_an_answer_that_speaks_of_no_place():
    text, below = drawn(([photo()], "A cat."))
    assert text == "A cat."
    assert "figure" not in below
    assert "JSON" not in below
    assert "figure" not in drawn(([], f"A cat {BOX}"))[1]  # no image


def test_points_are_circles_and_the_smallest_lies_on_top():
    answer = "<box>[[100,100,300,300]]</box> <point>500 500</point> <box>[[0,0,900,900]]</box>"
    _, below = drawn(([photo()], answer))
    page = Tags(below)
    assert [each["aria-label"] for each in page.of("g")] == ["3", "1", "2"]
    assert [each["cx"] for each in page.of("circle")] == ["500.0"] * 3


def test_each_image_with_its_own_places():
    answer = f"Image 1: <ref>a</ref>{BOX} Image 2: <ref>b</ref>{BOX} <ref>c</ref>{BOX}"
    _, below = drawn(([photo(seed=1), photo(seed=2)], answer))
    figures = below.split("<figure")[1:]
    assert [re.findall(r'aria-label="(\d: .)"', each) for each in figures] == [
        ["1: a"],
        ["2: b", "3: c"],
    ]
    assert [re.search(r"Image \d: [\w.-]+png", each)[0] for each in figures] == [
        "Image 1: photo-1.png",
        "Image 2: photo-2.png",
    ]
    assert "does not say" not in below


@pytest.mark.parametrize(("language", "words"), [("en", "does not say"), ("zh", "没有说明")])
def test_it_is_said_where_the_answer_names_no_image(language, words):
    earlier = ([photo(seed=1)], "Yes.")
    _, below = drawn(earlier, ([photo(seed=2)], BOX), language=language)
    assert words in below
    assert "photo-2.png" in below  # that of the latest question
    _, below = drawn(earlier, ([], BOX), language=language)
    assert "photo-1.png" in below
    assert words not in below  # there is one only


def test_json_stands_as_it_is_and_its_names_below():
    answer = '```json\n[{"bbox_2d": [10, 20, 60, 40], "label": "a cat"}]\n```'
    text, below = drawn(([photo()], answer))
    assert text == answer
    assert 'class="phrase hue-0 place-0-0">a cat<sup>1</sup>' in below


def test_the_json_is_what_the_terminal_gives():
    _, below = drawn(([photo()], f"A <ref>cat</ref>{BOX}"))
    page = Tags(below)
    copied = [each["data-copy"] for each in page.of("button") if "data-copy" in each]
    (save,) = page.of("a")
    assert save["download"] == "places.json"
    saved = unquote(save["href"].split(",", 1)[1])
    assert copied[0] == saved
    (place,) = json.loads(saved)
    assert (place["phrase"], place["coordinates"]) == ("cat", [0.1, 0.2, 0.5, 0.6])
    assert copied[1] == "A cat [100, 200, 500, 600]"  # the answer itself, without marks


def test_while_it_is_written_a_phrase_is_shown_as_it_will_be():
    subject = places_view.subject([session_of(([photo()], "x")).turns[0].question], *PLAIN)
    assert subject is not None
    begun = f"A <ref>cat</ref>{BOX[:-3]}"
    assert chat_view.reply(begun, None, "en", subject.places(begun))["content"] == "A cat"
    whole = f"A <ref>cat</ref>{BOX}"
    row = chat_view.reply(whole, None, "en", subject.places(whole))
    assert 'class="phrase hue-0 place-now-0">cat<sup>1</sup></button>' in row["content"]


PLAIN = (GenerationOptions(), layouts)


def test_without_a_model_that_can_say_the_numbers_are_shown():
    known = lambda image, options: None  # noqa: E731
    text, below = drawn(([photo()], f"A <ref>cat</ref>{BOX}"), known=known)
    assert text == "A cat [100, 200, 500, 600]"
    assert "figure" not in below


def test_another_model_does_not_move_the_boxes():
    visit = Visit(session_of(([photo(size=(400, 200))], '{"bbox_2d": [10, 20, 110, 120]}')))

    def sent(width, height):
        def layout(image, options):
            size = (width, height)
            return ImageLayout(
                original_size=image.original_size, sent_size=size, tiles=None, placeholders=4
            )

        return layout

    first = chat_view.rows(visit, "en", sent(400, 200))[-1]["content"][1].value
    again = chat_view.rows(visit, "en", sent(800, 800))[-1]["content"][1].value
    assert 'x="25.0"' in first
    assert first == again


def test_a_thought_has_no_boxes():
    text, below = drawn(([photo()], f"<think>Perhaps {BOX}</think>A <ref>cat</ref>{BOX}"))
    assert text.count("<button") == 1
    assert "Perhaps [100, 200, 500, 600]" in text
    assert below.count("<rect") == 2  # halo and line of one box


# ---- what a model may write ----

HARMLESS = {"button", "sup", "details", "summary", "span"}
BELOW = {
    *("button", "sup", "div", "figure", "figcaption", "img", "svg", "g", "rect", "circle"),
    *("span", "p", "ol", "li", "a"),
}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_hostile_phrases_are_only_words(language):
    tags = f"<ref>{EVIL.replace('<', '').replace('>', '')}</ref>{BOX}"
    objects = json.dumps({"bbox_2d": [1, 2, 30, 40], "label": EVIL})
    text, below = drawn(([photo()], f"{tags}\n{objects}"), language=language)
    page = Tags(below)
    assert {tag for tag, _ in page.tags} <= BELOW
    handlers = [name for _, attributes in page.tags for name in attributes if name[:2] == "on"]
    assert handlers == []
    assert len(page.of("img")) == 1
    button = re.search(r'<button type="button" class="phrase[^>]*>(.*?)<sup>', text)[1]
    assert re.fullmatch(r"(?:\w| |&#\d+;)*", button)
    assert "onerror=alert(1)" in html.unescape(button)


PIECES = st.sampled_from(
    [
        *("<ref>", "</ref>", "<box>", "</box>", "[[1,2,300,400]]", "<loc0001>", "<img src=x>", "`"),
        *("![a](u)", "](u)", "![", "<b title='", "'>", '"', "&quot;", "\n", "```\n", "onload=x "),
        *('{"bbox_2d": [1,2,30,40], "label": "<script>x</script>"}', "</button>", "\ue000", "0"),
        *("\ue001", "<think>", "</think>", "猫", " "),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=14).map("".join))
@example(f"![a{BOX}](u)")
def test_whatever_is_written_makes_no_tag_below_and_no_picture(answer):
    subject = places_view.subject([session_of(([photo()], "x")).turns[0].question], *PLAIN)
    places = subject.places(answer)
    visit = Visit(session_of())
    page = Tags(places_view.figures(visit, places, subject, "0", "en"))
    assert {tag for tag, _ in page.tags} <= BELOW
    assert len(page.of("img")) == len({place.image for place in places})
    assert not [name for _, attributes in page.tags for name in attributes if name[:2] == "on"]
    text = places_view.phrases(answer, places, "0")
    ours = re.sub(r'<button type="button" class="phrase [\w -]+">.*?</sup></button>', "", text)
    assert "![a](u)" not in ours or "`" in ours  # in code it is text
    assert not places or "\ue000" not in text

"""Answers as a table and as a page: what spreadsheets and browsers must not be made to do."""

import csv
import html.parser
import io

import pytest

from tests.support.fakes import ScriptedBackend, photo
from vlm.errors import ImageError, RequestError
from vlm.multiples import Asked, Multiples, arranged
from vlm.multiples_export import COLUMNS, harmless, to_csv, to_page
from vlm.options import GenerationOptions

EVIL = '=HYPERLINK("http://x","y")'
TAGS = '<script>alert(1)</script><img src="http://x/y.png">'


def asked_about(*names, answers, question="What?", system_prompt=""):
    def open_it(path):
        if path.startswith("bad"):
            raise ImageError("image_empty", name=path)
        return photo(seed=len(path))

    multiples = Multiples(64)
    list(multiples.add(names, open_it, str))
    for card in multiples.cards:
        card.name = card.path
    backend = ScriptedBackend(*answers)
    asked = Asked(question, GenerationOptions(seed=7), system_prompt)
    list(multiples.ask(backend, asked, open_it))
    return multiples


def rows_of(data):
    assert data.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


# ---- CSV ----


def test_a_line_for_each_card_with_its_figures():
    multiples = asked_about(
        "a.png", "bad", "c.png", answers=[["A ", "cat."], ["猫，\n“狗”"]], system_prompt="Short."
    )
    a, bad, c = rows_of(to_csv(multiples, multiples.cards))
    assert tuple(a) == COLUMNS
    assert {name: a[name] for name in ("file", "width", "height", "state", "answer", "seed")} == {
        "file": "a.png",
        "width": "96",
        "height": "64",
        "state": "done",
        "answer": "A cat.",
        "seed": "7",
    }
    assert (a["seconds"], a["first_token_seconds"], a["tokens_per_second"]) == ("1.5", "0.5", "1.0")
    assert (a["prompt_tokens"], a["image_tokens"], a["answer_tokens"]) == ("36", "16", "2")
    assert (a["answer_characters"], a["question"], a["system_prompt"]) == ("6", "What?", "Short.")
    assert (bad["state"], bad["answer"], bad["width"], bad["seconds"]) == ("failed", "", "", "")
    assert "0 bytes" in bad["error"]
    assert c["answer"] == "猫，\n“狗”"


def test_in_the_order_that_is_shown():
    multiples = asked_about("a.png", "b.png", answers=[["Short."], ["A longer one."]])
    cards = arranged(multiples.cards, "length", largest_first=True)
    assert [row["file"] for row in rows_of(to_csv(multiples, cards))] == ["b.png", "a.png"]


@pytest.mark.parametrize(
    "text",
    [
        *(EVIL, "+1", "-2+3", "@SUM(A1)", "＝1+1", "＠x", "  =1", "\t=1", "\r=1", "\n=1", "\tx"),
        "\ufeff=1",
    ],
)
def test_what_looks_like_a_formula_is_defused(text):
    assert harmless(text).startswith("'")


@pytest.mark.parametrize("text", ["A cat.", "a=b", "1-2", "", " ", "é", "'quoted"])
def test_what_does_not_stays_as_it_is(text):
    assert harmless(text) == text
    assert harmless(-1.5) == -1.5


def test_every_cell_that_somebody_else_wrote_is_defused():
    multiples = asked_about(
        "=cmd.png", answers=[[EVIL]], question="@question", system_prompt="-system"
    )
    multiples.cards[0].model = "+model"
    (row,) = rows_of(to_csv(multiples, multiples.cards))
    for name in ("file", "answer", "question", "system_prompt", "model"):
        assert row[name].startswith("'"), name


# ---- the page ----


class Reader(html.parser.HTMLParser):
    """Every element of a page with its attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.elements = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_the_page_holds_everything_inside_itself():
    multiples = asked_about("a.png", "bad.png", answers=[["A **cat**."]], system_prompt="Short.")
    page = to_page(multiples, multiples.cards)
    reader = Reader(page)
    images = [attributes for tag, attributes in reader.elements if tag == "img"]
    assert [image["alt"] for image in images] == ["a.png"]
    assert all(image["src"].startswith("data:image/webp;base64,") for image in images)
    assert "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")
    for words in ("What?", "System prompt: Short.", "cat", "tokens in", "Scripted", "0 bytes"):
        assert words in reader.text
    assert page.count("<article>") == 2


def test_nothing_that_somebody_wrote_becomes_markup():
    multiples = asked_about("a.png", answers=[[TAGS]], question=TAGS + '"', system_prompt=TAGS)
    card = multiples.cards[0]
    card.name, card.model = '"><script>alert(2)</script>', TAGS
    tags = [tag for tag, _ in Reader(to_page(multiples, [card])).elements]
    assert "script" not in tags
    assert tags.count("img") == 1
    card.fail(RequestError("unexpected", detail=TAGS))
    tags = [tag for tag, _ in Reader(to_page(multiples, [card])).elements]
    assert "script" not in tags
    assert tags.count("img") == 1


def test_in_chinese():
    multiples = asked_about("a.png", answers=[["猫"]])
    page = to_page(multiples, multiples.cards, "zh")
    assert '<html lang="zh-CN">' in page
    assert "输入 36 词元" in page


def test_before_anything_was_asked():
    multiples = Multiples(4)
    assert rows_of(to_csv(multiples, [])) == []
    assert "<article>" not in to_page(multiples, [])

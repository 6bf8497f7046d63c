"""What is shown of an answer: thoughts apart, boxes readable, nothing that a browser fetches."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from vlm.code_spans import split_code
from vlm.markup import (
    PlainText,
    readable,
    split_thinking,
    without_marks,
    without_pictures,
)

# ---- thoughts ----


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        ("A cat.", ("", "A cat.")),
        ("<think>Fur, so</think>\n\nA cat.", ("Fur, so", "A cat.")),
        ("  <thinking>\nFur\n</thinking>A cat.", ("Fur", "A cat.")),
        ("<think>Fur, s", ("Fur, s", "")),
        ("A <think>cat</think>", ("", "A <think>cat</think>")),
        ("<think>a</thinking>b</think>c", ("a</thinking>b", "c")),
        ("", ("", "")),
    ],
)
def test_thoughts_are_told_apart(answer, parts):
    assert split_thinking(answer) == parts


# ---- boxes and points ----


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("<ref>cat</ref><box>[[10,20,30,40]]</box>", "cat [10, 20, 30, 40]"),
        (
            "<ref>a cat</ref><box>[[1,2,3,4],[5, 6, 7, 8]]</box>.",
            "a cat [1, 2, 3, 4], [5, 6, 7, 8].",
        ),
        (
            "<ref>cat</ref><box>10 20 30 40</box><box>1 2 3 4</box>",
            "cat [10, 20, 30, 40][1, 2, 3, 4]",
        ),
        ("<ref>cat</ref><box>(10,20),(30,40)</box> sits", "cat [10, 20, 30, 40] sits"),
        ("<box>[[1, 2, 3, 4]]</box>猫", "[1, 2, 3, 4] 猫"),
        ("<box>[0.25,0.5,-1,1.0]</box>", "[0.25, 0.5, -1, 1.0]"),
        ("<box>[1, 2, 3]</box>", "[1, 2, 3]"),
        ("<box>a lid</box>", "a lid"),
        ("<box></box>", ""),
        (
            "<|object_ref_start|>cat<|object_ref_end|><|box_start|>(10,20),(30,40)<|box_end|>",
            "cat [10, 20, 30, 40]",
        ),
        ("<quad>(1,2),(3,4),(5,6),(7,8)</quad>", "[1, 2, 3, 4, 5, 6, 7, 8]"),
        ("<|quad_start|>(1,2),(3,4),(5,6),(7,8)<|quad_end|>", "[1, 2, 3, 4, 5, 6, 7, 8]"),
        ("at <point>12 34</point>", "at [12, 34]"),
        ("<|point_start|>(12,34)<|point_end|>", "[12, 34]"),
        ('<point x="61.5" y="40" alt="ear">ear</point>', "ear [61.5, 40]"),
        ('<points x1="1" y1="2" x2="3" y2="4" alt="ears">ears</points>', "ears [1, 2], [3, 4]"),
        ("<loc0123><loc0456><loc0789><loc1000> cat", "[123, 456, 789, 1000] cat"),
        (
            "<loc0001><loc0002><loc0003><loc0004> cat ; <loc0005><loc0006><loc0007><loc0000> dog",
            "[1, 2, 3, 4] cat ; [5, 6, 7, 0] dog",
        ),
        ("<loc0001><loc0002><loc0003><loc0004><seg012><seg127> cat", "[1, 2, 3, 4] cat"),
        ("cat<loc_12><loc_34><loc_56><loc_78>", "cat [12, 34, 56, 78]"),
    ],
)
def test_marks_become_readable(answer, shown):
    assert readable(answer) == shown


@pytest.mark.parametrize(
    "answer",
    [
        "`<ref>cat</ref>` and ``<box>[[1,2,3,4]]</box>``",
        "```\n<ref>cat</ref><box>[[1,2,3,4]]</box>\n```",
        "~~~text\n<loc0001>\n~~~\n",
        "```\n<box>[[1,",  # a block that is still being written
        "- item\n  ```\n  <box>[[1,2,3,4]]</box>\n  ```\n",
    ],
)
def test_marks_in_code_stay(answer):
    assert readable(answer) == answer


@pytest.mark.parametrize(
    "answer",
    [
        "<ref>a cat</ref><box>[[10,20,30,40]]</box> sits",
        "<|object_ref_start|>a cat<|object_ref_end|><|box_start|>(10,20),(30,40)<|box_end|> sits",
        "a cat <point>12 34</point> sits",
        '<point x="61.5" y="40" alt="ear">ear</point> sits',
        "<loc0123><loc0456><loc0789><loc1000> cat",
        "<quad>(1,2),(3,4),(5,6),(7,8)</quad>",
        "![a cat](https://example.org/a.png) sits",
        '<img src="https://example.org/a b.png" alt="a cat"> sits',
    ],
)
def test_no_half_mark_is_seen_while_it_is_written(answer):
    """A lone `<`, `<b` or `</` may be meant as it stands; it is shown for the moment."""
    for end in range(len(answer) + 1):
        shown = readable(answer[:end])
        assert not re.search(r"<[^\s<>]{2}|\]\(|!\[(?!a cat\]$)|\[\[|\(\d", shown), (
            answer[:end],
            shown,
        )


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("a cat <bo", "a cat "),
        ("a cat</re", "a cat"),
        ("a cat <box>[[10, 2", "a cat"),
        ("a cat <box>[[1,2,3,4]]</bo", "a cat"),
        ("<|box_sta", ""),
        ("<loc0123><loc04", "[123]"),
        ("<bo is no mark", "<bo is no mark"),
        ("so a <b", "so a <b"),
        ("n!", "n!"),
    ],
)
def test_unfinished_marks_are_left_out_at_the_very_end_only(answer, shown):
    assert readable(answer) == shown


# ---- the same, piece by piece ----


def streamed(pieces):
    """What is shown after each piece, and last what was held back."""
    text = PlainText()
    return [*(text.push(piece) for piece in pieces), text.finish()]


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["A ", "cat", "."], ["A ", "cat", ".", ""]),
        (
            ["<ref>", "cat", "</ref>", "<box>", "[[1,", "2,3,4]]", "</box>", "."],
            ["", "cat", "", "", "", "", " [1, 2, 3, 4]", ".", ""],
        ),
        (["<loc0001><loc0002>", "<loc0003><loc0004>", " cat"], ["", "", "[1, 2, 3, 4] cat", ""]),
        (["in `", "<box>[[1]]</box>", "` it"], ["in `", "", "", "<box>[[1]]</box>` it"]),
        (["in `", "<box>[[1]]</box>", "\nx"], ["in `", "", "[1]\nx", ""]),
        (["<box>", "a lid", "</box>"], ["", "", "a lid", ""]),
        (["a <b", "ig"], ["a ", "<big", ""]),
        (["a <box>[[1,2"], ["a ", ""]),
        (["![x](u) <img src=u>"], ["![x](u) <img src=u>", ""]),
    ],
)
def test_what_is_shown_is_sure(pieces, shown):
    assert streamed(pieces) == shown


PARTS = st.sampled_from(
    [
        *(
            "<ref>",
            "</ref>",
            "<box>",
            "</box>",
            "<quad>",
            "</quad>",
            "<point>",
            "</point>",
            "<poly>",
        ),
        *(
            "<|box_start|>",
            "<|box_end|>",
            "<loc0001>",
            "<seg001>",
            "<point x=",
            ">",
            "<",
            "</",
            "<b",
        ),
        *(
            "[[1,2,3,4]]",
            "1 2",
            "a",
            " ",
            "\n",
            "\r",
            "`",
            "``",
            "```",
            "~~~",
            "- ",
            "<points x='1'>",
        ),
    ]
)


@settings(max_examples=1500)
@given(st.lists(PARTS, max_size=14))
def test_pieces_make_the_whole_answer(parts):
    whole = without_marks("".join(parts))
    for pieces in (parts, list("".join(parts))):
        shown = "".join(streamed(pieces))
        assert shown.startswith(whole)
        assert not shown.removeprefix(whole).strip()


# ---- pictures ----


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("See ![a cat](https://example.org/a.png)!", "See a cat!"),
        ("![](https://example.org/a.png)", ""),
        ("![a cat](a.png)", "a cat"),
        ("![a cat](/gradio_api/file=/etc/passwd)", "a cat"),
        ("![a cat](<a b.png> 'title')", "a cat"),
        ('![a cat](a_(1).png "a ) title")', "a cat"),
        ("![a cat](\n a.png\n)", "a cat"),
        ("![a [black] cat](a.png)", "a [black] cat"),
        ("![a \\] cat](a.png)", "a \\] cat"),
        ("![a ![b](c) d](e)", "a b d"),
        ("[![a cat](a.png)](https://example.org)", "[a cat](https://example.org)"),
        (
            "![a cat][1]\n\n[1]: https://example.org/a.png",
            "a cat\n\n[1]: https://example.org/a.png",
        ),
        ("![a cat][]\n\n[a cat]: a.png", "a cat\n\n[a cat]: a.png"),
        ("![a cat]\n\n[a cat]: a.png", "[a cat]\n\n[a cat]: a.png"),
        ("![a](data:image/png;base64,AAAA)", "a"),
        ("a <img src=https://example.org/a.png> b", "a  b"),
        ('<IMG\nalt="a cat" src="a.png"/>', "a cat"),
        ("<img/src=a.png>", ""),
        ("<img src=a.png\n\nand more", "&lt;img src=a.png\n\nand more"),
        ("<img src=a <b>", "&lt;img src=a &lt;b>"),
        ('<picture><source srcset="a.webp"></picture>', ""),
        ("<video src=a.mp4 poster=b.png></video>", ""),
        ("<audio src=a.mp3></audio><iframe src=x></iframe>", ""),
        ("<object data=x></object><embed src=x>", ""),
        ('<link rel="stylesheet" href="x">', ""),
        ('<svg><image href="x"/><use xlink:href="x"/></svg>', ""),
        ('<image href="x"> <input type=image src=x>', " "),
        ('<p style="background:url(x)">a</p>', "a</p>"),
        ('<td background = "x">a', "a"),
        ('<p title=">" style="background:url(x)">', '&lt;p title=">" style="background:url(x)">'),
        ("<i![](u)mg src=u>", ""),
        ("![x]![(https://example.org)](u)", "x"),
        ("![a [b [c]]]![(u)](v)", "[a [b [c]]](u)"),
        ("<i![](u)mg alt=u>", "&lt;img alt=u>"),
        ("!![a [b [c]]](u)", "[a [b [c]]](u)"),
    ],
)
def test_pictures_become_their_names(answer, shown):
    assert readable(answer) == without_pictures(answer) == shown


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "A [link](https://example.org/a.png) and <https://example.org>.",
        "1 < 2, a<b and c>d, 5!, x![ y]",
        "Rust: vec![1, 2] and <b>bold</b>, List<Image>, <image>, <link>.",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "Write `![alt](a.png)` or `<img src=a.png>`.",
        "```html\n<img src=a.png>\n![alt](a.png)\n```\nand `<b>`",
        "  ~~~\n  <img src=a.png>\n  ~~~",
        "```\n<img src=a.png>",
    ],
)
def test_everything_else_stays(answer):
    assert readable(answer) == answer


@pytest.mark.parametrize(
    "answer",
    [
        "`a\n![x](u) ` ![y](v) `",  # code that began in the line before
        "\\` ![x](u) `",
        "https://example.org/` ![x](u) `",  # the address takes the mark
        "[a](`b) ![x](u) `c",
        "| ` | ![x](u) ` |",
        '<a title="`"> ![x](u) <b title="`">',
        "<div>\n```\n<img src=u>\n```\n</div>",
        "- a\n\n  ```\n  code\n![x](u)\n  ```",  # the list ends, and the block with it
        "- ```\n  code\n  ```\n\n![x](u)",
        "> ```\n![x](u)",
        "    ```\n![x](u)\n",
        "```\na\n```~\n![x](u)\n```",
        '[a]: b "c\n```\n"\n![x](u)\n```',
        "$$\n```\n$$\n![x](u)\n```",
        "`$$ <img src=u> $$`",
        "*a ``b* ![x](u) ``",
        "~~a `b~~ ![x](u) `",
        "` `` ` ![x](u) ``",
        "`a\nb ` ![x](u) `",
        "- ```\n- ![x](u)\n- ```",
        "~~`![x](u)`",
        "```![x](u)",
        "[a\n``<img src=u>](u)<img src=u>``",
        "![*`|\n]'<div>```\n](u)",
    ],
)
def test_where_readers_differ_on_what_is_code_no_picture_stays(answer):
    assert not re.search(r"!\[[xy*]|<img", readable(answer))


FRAGMENTS = (
    *(
        "![",
        "]",
        "(u)",
        "[",
        "](u)",
        "![x](u)",
        "![x]",
        "[x]: u",
        "<img src=u>",
        "<img",
        " alt=x",
        ">",
    ),
    *(
        "`",
        "``",
        "```",
        "~~~",
        "```\n",
        "\n",
        "\n\n",
        "  ",
        "    ",
        "\t",
        "- ",
        "> ",
        "1. ",
        "|",
        "\\",
    ),
    *(
        "<ref>",
        "<box>",
        "1,2",
        "</box>",
        "<i",
        "mg src=u>",
        "<div>",
        "</div>",
        "<!--",
        "-->",
        "<pre>",
    ),
    *(
        '"',
        "'",
        "*",
        "_",
        "$$",
        "a",
        "b ",
        "|-|\n",
        '<p style="background:url(u)">',
        "<loc0001>",
        "!",
    ),
)
HOSTILE = st.lists(st.sampled_from(FRAGMENTS), max_size=16).map("".join)
READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
FETCHES = re.compile(r"<img(?![\w.-])|<[a-z][^>]*\s(?:src|style|href=[^>]*svg)\s*=", re.IGNORECASE)


def fetched(text: str) -> list[str]:
    """What a page of this Markdown would fetch, as an independent reader sees it."""
    blocks = READER.parse(text)
    tokens = [*blocks, *(token for block in blocks for token in block.children or [])]
    raw = [token.content for token in tokens if token.type in ("html_block", "html_inline")]
    images = [token.type for token in tokens if token.type == "image"]
    return images + [text for text in raw if FETCHES.search(text)]


def test_the_reader_sees_what_is_fetched():
    assert fetched("![x](u)") == ["image"]
    assert fetched("<div>\n<img src=u>\n</div>")
    assert fetched('a <p style="background:url(u)">')
    assert not fetched("`![x](u)` [x](u)")


@settings(max_examples=1500)
@given(HOSTILE)
@example("- ```\n  code\n  ```\n\n![x](u)")
@example("<i<box>1</box>mg src=u>")
def test_nothing_is_fetched_of_whatever_a_model_writes(answer):
    for shown in (readable(answer), without_pictures(answer)):
        assert not fetched(shown), shown
        prose = "".join(piece.text for piece in split_code(shown)[0] if not piece.code)
        assert not re.search(r"!\[[^\[\]]*\]\(|<img\b", prose, re.IGNORECASE)


@given(st.text())
def test_pieces_of_code_and_prose_are_the_whole_text(text):
    assert "".join(piece.text for piece in split_code(text)[0]) == text


@given(st.text(st.characters(exclude_characters="<![")))
def test_text_without_marks_is_unchanged(text):
    assert readable(text) == text


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "<",
            "![",
            "`",
            "[",
            "](",
            "![a](",
            "![a]",
            "<img ",
            "<box>",
            "<ref>",
            " ",
            "\n",
            "```\n",
        ),
        *("<box>1", '<a "', "<a '", '![a](b "', "![a](b 'c", "![[a]", "` `` ", "<loc0001>", "\\"),
        *(
            "<img a=1 ",
            "<point x=1 ",
            " src ",
            "<a src",
            "![a](b(",
            "<seg001",
            "!",
            "&lt;",
            "- ```\n",
        ),
    ],
)
def test_hostile_answers_end_promptly(unit):
    for text in (unit * (100_000 // len(unit)), "`" + unit * (100_000 // len(unit)) + "\n`"):
        readable(text)
        PlainText().push(text)

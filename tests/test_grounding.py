"""Boxes and points in answers: every dialect and scale, bounds, hostile text."""

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vlm.backend import ImageLayout, Tile
from vlm.grounding import MOST_PLACES, grounded, in_text, to_json, with_phrases
from vlm.markup import readable


def layout(size=(400, 200), sent=None, box=None) -> ImageLayout:
    """An image in one tile that shows `box` of it; all of it where none is given."""
    tile = Tile(box=box or (0, 0, *size), rows=4, columns=4)
    return ImageLayout(original_size=size, sent_size=sent or size, tiles=(tile,), placeholders=16)


def found(answer: str, *layouts: ImageLayout, **settings) -> list[tuple]:
    """(phrase, coordinates rounded) of each place."""
    places = grounded(answer, layouts or (layout(),), **settings)
    return [(each.phrase, tuple(round(n, 4) for n in each.coordinates)) for each in places]


HALF = (0.1, 0.2, 0.5, 0.6)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("<ref>cat</ref><box>[[100, 200, 500, 600]]</box>", [("cat", HALF)]),
        ("<ref>cat</ref> <box>(100,200),(500,600)</box>", [("cat", HALF)]),
        ("<box>100 200 500 600</box>", [("", HALF)]),
        ("<ref>cat</ref><box>[[0.1, 0.2, 0.5, 0.6]]</box>", [("cat", HALF)]),
        (
            "<ref>cats</ref><box>[[100,200,500,600],[0,0,1000,1000]]</box>",
            [("cats", HALF), ("cats", (0, 0, 1, 1))],
        ),
        (
            "<ref>cats</ref><box>(100,200),(500,600)</box>, <box>(0,0),(1000,1000)</box>",
            [("cats", HALF), ("cats", (0, 0, 1, 1))],
        ),
        (
            "<|object_ref_start|>the cat<|object_ref_end|>"
            "<|box_start|>(100,200),(500,600)<|box_end|>",
            [("the cat", HALF)],
        ),
        ("<|point_start|>(100,200)<|point_end|>", [("", (0.1, 0.2))]),
        ("<point>100 200</point>", [("", (0.1, 0.2))]),
        ("<quad>(100,200),(500,200),(500,600),(100,600)</quad>", [("", HALF)]),
        ("<loc0256><loc0128><loc0768><loc0512> cat", [("cat", (0.125, 0.25, 0.5, 0.75))]),
        (
            "<loc0256><loc0128><loc0768><loc0512> cat ; <loc0000><loc0000><loc0512><loc1023> dog",
            [("cat", (0.125, 0.25, 0.5, 0.75)), ("dog", (0, 0, 0.999, 0.5))],
        ),
        ('<point x="10.5" y="20" alt="a cat">a cat</point>', [("a cat", (0.105, 0.2))]),
        (
            '<points x1="10" y1="20" x2="30" y2="40" alt="c">c</points>',
            [("c", (0.1, 0.2)), ("c", (0.3, 0.4))],
        ),
        ('```json\n[{"bbox_2d": [40, 40, 200, 120], "label": "cat"}]\n```', [("cat", HALF)]),
        ('{"label": "cat", "bbox_2d": [40, 40, 200, 120]}', [("cat", HALF)]),
        ('{"point_2d": [40, 40], "label": "eye"}', [("eye", (0.1, 0.2))]),
        ('{"box_2d": [200, 100, 600, 500], "label": "cat"}', [("cat", HALF)]),
        ('{"point": [200, 100], "label": "eye"}', [("eye", (0.1, 0.2))]),
        ('{"label": "a {b", "bbox_2d": [40, 40, 200, 120]}', [("a {b", HALF)]),
        ('{"label": "a } b", "bbox_2d": [40, 40, 200, 120]}', [("a } b", HALF)]),
        ('[{"bbox_2d": [40, 40, 200, 120], "label": "cat"}, {"bbox_2d": [4', [("cat", HALF)]),
    ],
)
def test_every_dialect(answer, expected):
    assert found(answer) == expected


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "A cat at [1, 2, 3, 4].",
        "<box>[[1,2,3]]</box>",
        "<box>the cat</box>",
        "<box>[[100,200,500,600]]",
        "<ref>cat</ref>",
        "<loc0001><loc0002><loc0003>",
        '{"bbox_2d": "1,2,3,4"}',
        '{"bbox_2d": [1, 2, 3]}',
        '{"bbox_2d": [NaN, 2, 3, 4]}',
        '{"bbox_2d": [1, 2, Infinity, 4]}',
        '{"bbox_2d": [true, 2, 3, 4]}',
        "{'bbox_2d': [1, 2, 3, 4]}",
        '{"bbox_2d": [1, 2, 3, 4].__class__}',
        "<box>[[500,200,500,600]]</box>",  # no area
        "<point>" + "9" * 400 + " 1</point>",
        "`<box>[[100,200,500,600]]</box>`",  # code
    ],
)
def test_what_says_no_place_is_left_out(answer):
    assert found(answer) == []


def test_what_is_wrong_in_part_keeps_the_rest():
    answer = "<box>[[100,200,500,600],[1,2]]</box> and <box>[[1,2]]</box>"
    assert found(answer) == [("", HALF)]
    answer = '[{"bbox_2d": [40,40,200,120]}, {"bbox_2d": "no"}, {"bbox_2d": [0,0,400,200]}]'
    assert found(answer) == [("", HALF), ("", (0, 0, 1, 1))]


def test_corners_are_put_right_and_what_is_beyond_is_cut_off():
    assert found("<box>[[500,600,100,200]]</box>") == [("", HALF)]
    assert found("<box>[[-100,200,500,600]]</box>") == [("", (0, 0.2, 0.5, 0.6))]
    assert found('{"bbox_2d": [40, 40, 1600, 120]}') == [("", (0.1, 0.2, 1, 0.6))]
    assert found("<box>[[-300,200,-100,600]]</box>") == []


# ---- scales ----


def test_numbers_of_json_are_pixels_of_what_was_sent():
    sent = layout((4000, 2000), sent=(400, 200))
    assert found('{"bbox_2d": [40, 40, 200, 120]}', sent) == [("", HALF)]


def test_numbers_that_do_not_fit_into_it_are_thousandths():
    small = layout((400, 200), sent=(400, 200))
    answer = '[{"bbox_2d": [100, 200, 500, 600]}, {"bbox_2d": [10, 20, 30, 40]}]'
    assert found(answer, small) == [("", HALF), ("", (0.01, 0.02, 0.03, 0.04))]


def test_a_known_scale_counts_more_than_the_rule():
    large = layout((2000, 2000))
    answer = '{"bbox_2d": [100, 200, 500, 600]}'
    assert found(answer, large) == [("", (0.05, 0.1, 0.25, 0.3))]
    assert found(answer, large, json_scale="thousand") == [("", HALF)]


def test_tags_above_a_thousand_are_pixels():
    large = layout((4000, 2000), sent=(2000, 2000))
    assert found("<box>[[200, 400, 1000, 1200]]</box>", large) == [("", HALF)]


def test_padding_and_cropping_are_undone():
    padded = layout((400, 200), sent=(300, 300), box=(0, -100, 400, 300))
    assert found("<box>[[0, 250, 500, 750]]</box>", padded) == [("", (0, 0, 0.5, 1))]
    assert found("<point>500 100</point>", padded) == []  # in the padding
    cropped = layout((400, 200), sent=(300, 300), box=(100, 0, 300, 200))
    assert found("<box>[[0, 0, 1000, 500]]</box>", cropped) == [("", (0.25, 0, 0.75, 0.5))]


def test_several_tiles_make_one_picture():
    tiles = tuple(Tile(box=(200 * n, 0, 200 * n + 200, 200), rows=2, columns=2) for n in (0, 1))
    both = ImageLayout(original_size=(400, 200), sent_size=(800, 400), tiles=tiles, placeholders=8)
    assert found("<box>[[100,200,500,600]]</box>", both) == [("", HALF)]
    unknown = ImageLayout(original_size=(400, 200), sent_size=None, tiles=None, placeholders=8)
    assert found("<box>[[100,200,500,600]]</box>", unknown) == [("", HALF)]


# ---- which image ----


def test_the_image_named_last_before_a_place_is_meant():
    box = "<box>[[100,200,500,600]]</box>"
    answer = f"{box} Image 2: {box} 图1：{box} 第2张 {box} Image 7 {box}"
    places = grounded(answer, [layout(), layout()])
    assert [(each.image, each.said) for each in places] == [
        (0, False),
        (1, True),
        (0, True),
        (1, True),
        (1, True),
    ]
    assert [(e.image, e.said) for e in grounded(box, [layout()])] == [(0, True)]
    assert grounded(box, []) == []


# ---- values ----


def test_spans_and_shapes():
    answer = "See <loc0256><loc0128><loc0768><loc0512><seg001><seg127> cat ; end"
    (place,) = grounded(answer, [layout()])
    assert answer[place.start : place.end].endswith("<seg127> cat")
    assert place.shape == ("<seg001>", "<seg127>")
    answer = "A <ref>cat</ref><box>[[100,200,500,600]]</box>."
    (place,) = grounded(answer, [layout()])
    assert answer[place.start : place.end] == "<ref>cat</ref><box>[[100,200,500,600]]</box>"
    (again,) = json.loads(to_json([place]))
    assert again["coordinates"] == list(HALF)
    assert (again["phrase"], again["kind"], again["dialect"]) == ("cat", "box", "tags")


def drawn(answer, places):
    """The answer with {words: numbers} where a phrase is drawn."""
    return with_phrases(answer, places, lambda words, numbers: f"{{{words}:{numbers}}}")


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (
            "A <ref>cat</ref><box>[[100,200,500,600],[0,0,9,9]]</box> on <box>[[1,2,3,4]]</box>.",
            "A {cat:(0, 1)} on {[1, 2, 3, 4]:(2,)}.",
        ),
        (
            "<loc0001><loc0002><loc0003><loc0004><loc0005><loc0006><loc0007><loc0008> cat ; x",
            "{cat:(0, 1)} ; x",
        ),
        (
            "<think>a <box>[[1,2,3,4]]</box></think>A <box>[[1,2,3,4]]</box>",
            "<think>a [1, 2, 3, 4]</think>A {[1, 2, 3, 4]:(0,)}",
        ),
        ('{"bbox_2d": [1, 2, 3, 4], "label": "x"}', '{"bbox_2d": [1, 2, 3, 4], "label": "x"}'),
        (
            "`<ref>a</ref><box>[[1,2,3,4]]</box>` <box>[[1,2,3,4]]</box>",
            "`<ref>a</ref><box>[[1,2,3,4]]</box>` {[1, 2, 3, 4]:(0,)}",
        ),
        ("\ue0000\ue001 <box>[[1,2,3,4]]</box>", "\ufffd0\ufffd {[1, 2, 3, 4]:(0,)}"),
        # Nothing that is split by a phrase becomes a picture again.
        ("![a<box>[[1,2,3,4]]</box>](u)", "a{[1, 2, 3, 4]:(0,)}"),
        ("!<ref>[x](u)</ref><box>[[1,2,3,4]]</box>", "!{[x](u):(0,)}"),
        # A phrase with half of a mark of code in it.
        ("<ref>a``b</ref><box>[[1,2,3,4]]</box> `c", "{a``b:(0,)} `c"),
        ("A cat.", "A cat."),
    ],
)
def test_phrases_are_drawn_in_their_places(answer, shown):
    places = grounded(answer, [layout()])
    assert drawn(answer, places) == shown


def test_the_image_taken_where_the_answer_does_not_say():
    answer = "<box>[[1,2,3,4]]</box> in image 1 <box>[[1,2,3,4]]</box>"
    places = grounded(answer, [layout()] * 3, unsaid=2)
    assert [(each.image, each.said) for each in places] == [(2, False), (0, True)]
    assert grounded("<think>image 1</think><box>1 2 3 4</box>", [layout()] * 3)[0].said is False


# ---- any text ----

WRITTEN = st.integers(0, 999)


@given(st.lists(st.tuples(WRITTEN, WRITTEN, WRITTEN, WRITTEN), min_size=1, max_size=5))
def test_round_trip(boxes):
    """What is written in one dialect is read as in another."""
    boxes = [(min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1) for a, b, c, d in boxes]
    expected = [tuple(n / 1000 for n in box) for box in boxes]
    if max(map(max, boxes)) == 1:
        expected = [tuple(float(n) for n in box) for box in boxes]  # shares
    tags = "".join(f"<ref>x</ref><box>[[{a},{b},{c},{d}]]</box>" for a, b, c, d in boxes)
    tokens = "".join(f"<|box_start|>({a},{b}),({c},{d})<|box_end|>" for a, b, c, d in boxes)
    objects = json.dumps([{"box_2d": [b, a, d, c], "label": "x"} for a, b, c, d in boxes])
    for answer in (tags, tokens, objects):
        places = grounded(answer, [layout((1000, 1000))])
        assert [each.coordinates for each in places] == [pytest.approx(e) for e in expected]


MARKS = st.sampled_from(
    [
        *("<ref>", "</ref>", "<box>", "</box>", "<|box_start|>", "<|box_end|>", "<loc0001>"),
        *("<seg001>", '{"bbox_2d":', "[", "]", "{", "}", "1", ",", "(", ")", "-", ".", "e9", "NaN"),
        *(
            "<point ",
            'x="1"',
            ">",
            "</point>",
            "`",
            "```json\n",
            '"label":"a"',
            "image 2",
            "\\",
            " ",
        ),
    ]
)


@given(st.one_of(st.text(), st.lists(MARKS, max_size=40).map("".join)))
@example("<box>" + "9" * 5000 + "</box>")
@example('{"bbox_2d": ' + "9" * 5000 + "}")
def test_any_text_gives_places_inside_the_image(answer):
    places = grounded(answer, [layout(), layout((3, 700))])
    for place in places:
        assert all(0 <= n <= 1 and math.isfinite(n) for n in place.coordinates)
        assert 0 <= place.start < place.end <= len(answer)
        assert len(place.coordinates) == (4 if place.kind == "box" else 2)
        assert place.image in (0, 1)
    json.loads(to_json(places))
    told: list[int] = []
    shown = with_phrases(answer, places, lambda words, numbers: told.extend(numbers) or "")
    assert set(told) <= {number for number, place in enumerate(places) if in_text(place)}
    assert len(told) == len(set(told))
    assert "\ue000" not in shown or not places
    assert with_phrases(answer, [], lambda *_: "") == readable(answer)


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "{",
        "<box>",
        "<ref>",
        "<loc0001>",
        '{"bbox_2d":[',
        '"bbox_2d":',
        '{"a":',
        "1,",
        "<point x",
        "<box>[[1,2,3,4]]</box>",
        '{"bbox_2d":[1,2,3,4]}',
        "image 1 ",
        "<|box_start|>",
        "`<box>",
    ],
)
def test_a_megabyte_of_anything_ends(text):
    places = grounded(text * (1_000_000 // len(text)), [layout(), layout()])
    assert len(places) <= MOST_PLACES

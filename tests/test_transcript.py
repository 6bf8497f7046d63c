"""Conversations as files: what comes back is what was there, and nothing else is let in."""

import copy
import io
import json
import re
import struct
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as pillow

from tests.support.fakes import ScriptedBackend, photo
from vlm.backend import Finished, Timings, Usage
from vlm.chat import Branch, ChatSession, Turn
from vlm.errors import RequestError, VLMError
from vlm.images import ImageLimits, open_image
from vlm.messages import Image, Message, Text, user_message
from vlm.options import GenerationOptions
from vlm.report import stats_words
from vlm.transcript import Conversation, archive, form, from_zip, to_html, to_zip

# ---- conversations to test with ----


def opened(picture: pillow.Image, name: str, **how: Any) -> Image:
    """A picture as it comes in through the door, after a lossless save."""
    file = io.BytesIO()
    picture.save(file, "TIFF" if picture.mode == "CMYK" else "PNG", **how)
    return open_image(file.getvalue(), name=name)


def palette(colours: int, **how: Any) -> Image:
    picture = pillow.linear_gradient("L").resize((40, 30)).quantize(colours)
    return opened(picture, f"palette-{colours}.png", **how)


def beyond_palette(**how: Any) -> Image:
    """A file with two colours, and pixels that have neither."""
    picture = pillow.frombytes("P", (4, 1), bytes([0, 5, 1, 200]))
    picture.putpalette(bytes([1, 2, 3, 4, 5, 6]))
    file = io.BytesIO()
    picture.save(file, "PNG", bits=8, **how)
    return open_image(archive._with_palette(file.getvalue(), bytes([1, 2, 3, 4, 5, 6])), name="odd")


IMAGES = (
    *(photo(mode, (20, 15), seed=3) for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK")),
    *(palette(count) for count in (1, 2, 3, 5, 17, 200, 256)),
    *(palette(count, transparency=1) for count in (2, 5, 256)),
    palette(5, transparency=0),
    beyond_palette(),
    beyond_palette(transparency=1),
    opened(pillow.new("RGB", (4, 4), (1, 2, 3)), "key.png", transparency=(1, 2, 3)),
    opened(pillow.new("L", (4, 4), 9), "grey key.png", transparency=9),
    opened(pillow.new("1", (9, 4), 1), "black key.png", transparency=1),
    photo("RGB", (1, 1), seed=4),
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
COUNTS = st.integers(0, 2**40)
SECONDS = st.floats(0, 1e6)
PARTS = st.lists(TEXTS.map(Text) | st.sampled_from(IMAGES), max_size=3).map(tuple)
FINISHED = st.builds(
    Finished,
    st.sampled_from(["stop", "length", "cancelled"]),
    st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS),
    st.builds(Timings, SECONDS, SECONDS, SECONDS, SECONDS, SECONDS, COUNTS),
)
OPTIONS = st.builds(
    GenerationOptions,
    temperature=st.none() | st.floats(0, 5),
    top_k=st.none() | st.integers(0, 1000),
    stop=st.lists(TEXTS, max_size=2).map(tuple),
    seed=st.none() | st.integers(0, 2**32 - 1),
    image_detail=st.dictionaries(
        st.sampled_from(["tiles", "thumbnail", "pixels"]), st.integers(0, 10**9) | st.booleans()
    ),
)
TURNS = st.builds(
    Turn,
    PARTS.map(lambda parts: Message("user", parts)),
    TEXTS,
    FINISHED,
    OPTIONS,
    TEXTS,
    COUNTS,
)


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """A tree of any shape, with any version shown."""
    branches = [Branch()]
    for turn in draw(st.lists(TURNS, max_size=7)):
        before = branches[draw(st.integers(0, len(branches) - 1))]
        before.add(turn)
        branches.append(before.following[-1])
    for branch in branches:
        branch.chosen = draw(st.integers(0, max(len(branch.following) - 1, 0)))
    dropped = draw(st.integers(0, len(branches[0].path()) - 1))
    return Conversation(branches[0], draw(TEXTS), draw(TEXTS), dropped)


def tree(branch: Branch) -> Any:
    """A tree that can be compared: turns, versions in order, which is shown."""
    return (branch.turn, branch.chosen, [tree(each) for each in branch.following])


def names(branch: Branch) -> Any:
    """What two equal images may still differ in."""
    own = [image.name for image in branch.turn.question.images] if branch.turn else []
    return (own, [names(each) for each in branch.following])


def example() -> Conversation:
    """Two versions of a first turn; the second goes on."""
    start = Branch()
    question = user_message("What?", [photo(seed=1), photo("CMYK", seed=2)])
    numbers = Finished("stop", Usage(20, 16, 0, 3), Timings(first_token=0.5, decode=1.0))
    start.add(Turn(question, "A cat.", numbers, GenerationOptions(seed=1)))
    start.add(Turn(question, "A dog.", numbers, GenerationOptions(seed=2), "Be brief.", 23))
    again = user_message("And?", [photo(seed=1)])
    start.following[1].add(Turn(again, "Gre", Finished("length"), GenerationOptions(seed=3)))
    return Conversation(start, "Scripted", "Be kind.", 1)


# ---- there and back ----


@settings(max_examples=150)
@given(conversations())
def test_what_comes_back_is_what_was_there(conversation):
    data = to_zip(conversation)
    back = from_zip(data)
    assert tree(back.start) == tree(conversation.start)
    assert names(back.start) == names(conversation.start)
    assert (back.model, back.system_prompt) == (conversation.model, conversation.system_prompt)
    assert back.dropped == conversation.dropped
    assert to_zip(back) == to_zip(conversation) == data


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: f"{image.pixels.mode} {image.name}")
def test_every_kind_of_image_comes_back_exactly(image):
    start = Branch()
    start.add(Turn(user_message("?", [image]), "", Finished("stop"), GenerationOptions()))
    back = from_zip(to_zip(Conversation(start, "x"))).start.following[0].turn
    (same,) = back.question.images
    assert (same.sha256, same.name, same.original_size) == (
        image.sha256,
        image.name,
        image.original_size,
    )
    assert (same.pixels.mode, same.pixels.info) == (image.pixels.mode, image.pixels.info)
    assert same.pixels.convert("RGBA").tobytes() == image.pixels.convert("RGBA").tobytes()


def test_an_image_with_two_names_keeps_both():
    image = photo(seed=5)
    start = Branch()
    for name in ("first.png", "second.png"):
        renamed = replace(image, name=name)
        start.add(Turn(user_message("?", [renamed]), "", Finished("stop"), GenerationOptions()))
    back = from_zip(to_zip(Conversation(start, "x")))
    assert names(back.start) == ([], [(["first.png"], []), (["second.png"], [])])


def test_images_are_kept_once_and_without_metadata():
    with zipfile.ZipFile(io.BytesIO(to_zip(example()))) as zipped:
        assert zipped.namelist() == ["conversation.json", "images/01.png", "images/02.tif"]
        assert {entry.date_time for entry in zipped.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        png = zipped.read("images/01.png")
    kinds = re.findall(rb"(IHDR|IDAT|IEND|tEXt|zTXt|iTXt|eXIf|tIME|iCCP|pHYs)", png)
    assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}


def test_a_conversation_that_was_opened_goes_on():
    conversation = example()
    before = ScriptedBackend(["Yes."])
    list(ChatSession(before, start=conversation.start, system_prompt="Be kind.").send("Sure?"))
    back, after = from_zip(to_zip(example())), ScriptedBackend(["Yes."])
    list(ChatSession(after, start=back.start, system_prompt=back.system_prompt).send("Sure?"))
    assert after.asked[0].messages == before.asked[0].messages
    assert len(after.asked[0].messages) == 6


def test_a_long_conversation_comes_back():
    start = branch = Branch()
    turn = Turn(user_message("?"), "!", Finished("stop"), GenerationOptions())
    for _ in range(3000):
        branch.add(turn)
        branch = branch.following[0]
    assert len(from_zip(to_zip(Conversation(start, "x"))).start.path()) == 3001


def test_more_than_a_file_takes_is_not_written(monkeypatch):
    for limit in ("MAX_IMAGES", "MAX_JSON_BYTES"):
        with monkeypatch.context() as less:
            less.setattr(archive, limit, 1)
            with pytest.raises(RequestError, match=r"(Begin a new one|fewer turns)"):
                to_zip(example())
    monkeypatch.setattr(form, "MAX_TURNS", 2)
    with pytest.raises(RequestError, match="3 turns; one file takes 2"):
        to_zip(example())


def test_half_a_character_does_not_stop_the_export():
    start = Branch()
    start.add(Turn(user_message("a\ud83d"), "b", Finished("stop"), GenerationOptions()))
    assert from_zip(to_zip(Conversation(start, "x"))).start.following[0].turn.question.text == "a?"


# ---- what is refused ----

GOOD = to_zip(example())


def files_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as zipped:
        return {name: zipped.read(name) for name in zipped.namelist()}


def packed(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)
    return data.getvalue()


def with_file(name: str, content: bytes) -> bytes:
    return packed({**files_of(GOOD), name: content})


def with_json(change: Callable[[Any], object]) -> bytes:
    """The example, its JSON changed."""
    value = json.loads(files_of(GOOD)["conversation.json"])
    change(value)
    return with_file("conversation.json", json.dumps(value).encode())


def refusal(data: bytes, **how: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        from_zip(data, **how)
    assert str(caught.value)
    return caught.value


def without(name: str) -> bytes:
    return packed({key: value for key, value in files_of(GOOD).items() if key != name})


def doubled() -> bytes:
    data = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(data, "w") as zipped:
        warnings.simplefilter("ignore")
        for name, content in [*files_of(GOOD).items(), *files_of(GOOD).items()]:
            zipped.writestr(name, content)
    return data.getvalue()


def flagged() -> bytes:
    """The first entry says that it is encrypted."""
    data = bytearray(GOOD)
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = data.index(signature) + offset
        struct.pack_into("<H", data, at, struct.unpack_from("<H", data, at)[0] | 1)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (b"", "transcript_not_zip"),
        (b"hello", "transcript_not_zip"),
        (GOOD[:-30], "transcript_not_zip"),
        (packed({}), "transcript_foreign"),
        (packed({"a.txt": b"hello"}), "transcript_foreign"),
        (with_json(lambda value: value.update(format="x")), "transcript_foreign"),
        (with_file("conversation.json", b"[]"), "transcript_foreign"),
        (with_json(lambda value: value.update(version=2)), "transcript_version"),
        (with_json(lambda value: value.update(version=10**4000)), "transcript_version"),
        (with_file("../evil.png", b""), "transcript_name"),
        (with_file("/etc/passwd", b""), "transcript_name"),
        (with_file("images/a.png", b""), "transcript_name"),
        (with_file("images/\u0663.png", b""), "transcript_name"),
        (with_file("images\\03.png", b""), "transcript_name"),
        (with_file("images/", b""), "transcript_name"),
        (with_file("images/03.png.exe", b""), "transcript_name"),
        (doubled(), "transcript_name"),
        (flagged(), "transcript_packed"),
        (packed(files_of(GOOD), zipfile.ZIP_LZMA), "transcript_packed"),
        (packed(files_of(GOOD), zipfile.ZIP_BZIP2), "transcript_packed"),
        (without("images/02.tif"), "transcript_missing"),
        (with_file("images/03.png", files_of(GOOD)["images/01.png"]), "transcript_unused"),
        (with_file("images/01.png", files_of(GOOD)["images/02.tif"]), "transcript_image_differs"),
        (GOOD[:4000] + b"\0" * 9 + GOOD[4009:], "transcript_damaged"),
    ],
)
def test_files_that_are_no_export_are_refused(data, key):
    assert refusal(data).key == key


def test_the_version_that_is_known_is_named():
    error = refusal(with_json(lambda value: value.update(version=7)))
    assert error.facts == {"got": "7", "known": 1}


def test_a_name_with_nul_is_refused():
    bad = with_file("images/03.pngXa", b"").replace(b"images/03.pngXa", b"images/03.png\0a")
    assert refusal(bad).key == "transcript_name"


def test_an_image_that_is_none_is_refused():
    with pytest.raises(VLMError, match=r"photo-1\.png"):
        from_zip(with_file("images/01.png", b"\x89PNG\r\n\x1a\nand so on"))


def test_limits_on_images_hold():
    with pytest.raises(VLMError, match=r"at most 0\.001 million"):
        from_zip(GOOD, limits=ImageLimits(megapixels=0.001))


def test_an_image_may_be_a_larger_file_than_people_may_send():
    from_zip(GOOD, limits=ImageLimits(file_megabytes=0.000_001))


@pytest.mark.parametrize("size", [10_000, 2_000_000])
def test_bombs_are_refused(size):
    """A file of many zeros; the limit is on what it unpacks to."""
    bomb = with_file("images/01.png", b"\0" * size)
    assert len(bomb) < 50_000
    limit = 40_000 if size > 40_000 else len(bomb) - 1
    assert refusal(bomb, max_bytes=limit).key == "transcript_too_large"


@pytest.mark.parametrize("said", [100, 1_000_000])
def test_an_entry_that_unpacks_to_another_size_than_it_says_is_refused(said):
    data = bytearray(with_file("conversation.json", files_of(GOOD)["conversation.json"]))
    for signature, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        struct.pack_into("<I", data, data.index(signature) + offset, said)
    assert refusal(bytes(data)).key == "transcript_damaged"


def test_a_file_that_is_too_large_is_not_looked_into():
    padded = b"\0" * 100_000 + GOOD
    from_zip(padded)
    assert refusal(padded, max_bytes=100_000).key == "transcript_too_large"


def test_small_files_of_large_pictures_are_refused_together():
    start, limits = Branch(), ImageLimits()
    black = [opened(pillow.new("RGB", (1000, 1000), (n, 0, 0)), f"{n}.png") for n in range(4)]
    start.add(Turn(user_message("?", black), "", Finished("stop"), GenerationOptions()))
    data = to_zip(Conversation(start, "x"))
    assert len(data) < 200_000
    assert refusal(data, limits=limits, max_bytes=11_000_000).key == "transcript_too_large"
    from_zip(data, limits=limits, max_bytes=12_000_000)


def test_too_many_entries_are_refused():
    many = {**files_of(GOOD), **{f"images/{n}.png": b"" for n in range(100, 2150)}}
    assert refusal(packed(many)).key == "transcript_images"
    many |= {f"images/{n}.png": b"" for n in range(5000, 5100)}
    assert refusal(packed(many)).key == "transcript_too_large"


def test_too_much_text_is_refused():
    data = with_file("conversation.json", b" " * (archive.MAX_JSON_BYTES + 1))
    assert refusal(data).facts == {"limit": 16}


def test_too_many_turns_are_refused():
    data = with_json(lambda value: value.update(turns=[{}] * 5001))
    assert refusal(data).key == "transcript_turns"


def at(*path: Any) -> Callable[[Any], Any]:
    """Sets the value at a path of the example's JSON."""
    *way, last, new = path

    def change(value: Any) -> None:
        for step in way:
            value = value[step]
        value[last] = new

    return change


def removed(*path: Any) -> Callable[[Any], Any]:
    *way, last = path

    def change(value: Any) -> None:
        for step in way:
            value = value[step]
        del value[last]

    return change


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (at("model", 3), "model"),
        (at("system_prompt", None), "system_prompt"),
        (at("more", 1), "more"),
        (removed("model"), "model"),
        (at("version", True), "version"),
        (at("version", [[]]), "version"),
        (at("turns", {}), "turns"),
        (at("turns", 0, []), "turns[0]"),
        (at("dropped", 3), "dropped"),
        (at("dropped", -1), "dropped"),
        (at("dropped", True), "dropped"),
        (at("chosen", 2), "chosen"),
        (at("turns", 2, "chosen", 1), "turns[2].chosen"),
        (at("turns", 0, "after", 0), "turns[0].after"),
        (at("turns", 1, "after", 1), "turns[1].after"),
        (at("turns", 1, "after", 2), "turns[1].after"),
        (at("turns", 1, "after", "0"), "turns[1].after"),
        (removed("turns", 1, "after"), "turns[1].after"),
        (at("turns", 0, "answer", None), "turns[0].answer"),
        (at("turns", 0, "reason", "done"), "turns[0].reason"),
        (at("turns", 0, "reason", []), "turns[0].reason"),
        (at("turns", 0, "tokens", 2**53 + 1), "turns[0].tokens"),
        (at("turns", 0, "tokens", 1.5), "turns[0].tokens"),
        (at("turns", 0, "usage", []), "turns[0].usage"),
        (at("turns", 0, "usage", "prompt_tokens", -1), "turns[0].usage.prompt_tokens"),
        (removed("turns", 0, "usage", "prompt_tokens"), "turns[0].usage.prompt_tokens"),
        (at("turns", 0, "timings", "queue", -0.5), "turns[0].timings.queue"),
        (at("turns", 0, "timings", "queue", 1e300), "turns[0].timings.queue"),
        (at("turns", 0, "timings", "queue", 10**4000), "turns[0].timings.queue"),
        (at("turns", 0, "timings", "queue", "0"), "turns[0].timings.queue"),
        (at("turns", 0, "timings", "queue", False), "turns[0].timings.queue"),
        (at("turns", 0, "timings", "peak_bytes", 0.5), "turns[0].timings.peak_bytes"),
        (at("turns", 0, "timings", "queue", float("nan")), "conversation.json"),
        (at("turns", 0, "timings", "queue", float("inf")), "conversation.json"),
        (at("turns", 0, "answer", "\ud83d"), "conversation.json"),
        (at("turns", 0, "options", []), "turns[0].options"),
        (at("turns", 0, "options", "x" * 50, 1), "turns[0].options." + "x" * 40),
        (at("turns", 0, "question", "What?"), "turns[0].question"),
        (at("turns", 0, "question", 0, "What?"), "turns[0].question"),
        (at("turns", 0, "question", 2, "text", 3), "turns[0].question.text"),
        (at("turns", 0, "question", 2, "more", 3), "turns[0].question.more"),
        (removed("turns", 0, "question", 0, "sha256"), "turns[0].question.sha256"),
        (at("turns", 0, "question", 0, "file", 1), "turns[0].question.file"),
    ],
)
def test_json_of_another_form_is_refused(change, place):
    error = refusal(with_json(change))
    assert (error.key, error.facts) == ("transcript_form", {"at": place})


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("colour", 1, "option_unknown"),
        ("temperature", "hot", "option_type"),
        ("temperature", 10**300, "option_out_of_range"),
        ("seed", -1, "option_out_of_range"),
        ("stop", [1], "option_type"),
        ("image_detail", [1], "option_type"),
    ],
)
def test_options_that_mean_nothing_are_refused(name, value, key):
    assert refusal(with_json(at("turns", 0, "options", name, value))).key == key


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"format":' * 50_000,
        b'{"a": 1, "a": 1}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": NaN}',
        b'{"a": 1e999}',
    ],
)
def test_text_that_is_no_json_is_refused(text):
    data = with_file("conversation.json", text)
    assert refusal(data).key in ("transcript_form", "transcript_foreign")


def test_a_name_twice_in_one_object_is_refused():
    text = files_of(GOOD)["conversation.json"]
    twice = text.replace(b'"model"', b'"model": "Another", "model"')
    assert refusal(with_file("conversation.json", twice)).key == "transcript_form"


def test_deep_nesting_is_refused():
    text = files_of(GOOD)["conversation.json"].decode()
    keys: set[str] = set()
    for depth in (*range(850, 1000), 5000, 50_000):  # about where Python ends its recursion
        changed = text.replace('"seed": 1', f'"seed": {"[" * depth}{"]" * depth}')
        keys.add(refusal(with_file("conversation.json", changed.encode())).key)
    assert keys == {"option_type", "transcript_form"}


def test_names_of_images_are_cleaned():
    change = at("turns", 0, "question", 0, "name", "../../\u202eevil\n.png")
    turn = from_zip(with_json(change)).start.following[0].turn
    assert turn.question.images[0].name == "evil.png"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value inside."""
    found: list[tuple[Any, Any]] = []
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        found.append((value, key))
        if isinstance(value[key], dict | list):
            found += places(value[key])
    return found


@settings(max_examples=300)
@given(st.data())
def test_nothing_but_an_error_for_people_escapes_from_changed_json(data):
    value = json.loads(files_of(GOOD)["conversation.json"])
    for _ in range(data.draw(st.integers(1, 2))):
        container, key = data.draw(st.sampled_from(places(value)))
        container[key] = data.draw(JSON_VALUES)
    try:
        back = from_zip(with_file("conversation.json", json.dumps(value).encode()))
    except VLMError as error:
        assert str(error)
    else:  # it said the same in other words, or something else that is allowed
        assert from_zip(to_zip(back)).model == back.model


@settings(max_examples=400)
@given(
    st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=4),
    st.integers(0, len(GOOD)),
    st.binary(max_size=30),
)
def test_nothing_but_an_error_for_people_escapes_from_changed_bytes(changes, cut, more):
    data = bytearray(GOOD)
    for position, byte in changes:
        data[-position] = byte  # the list of contents, at the end, matters most
    for broken in (bytes(data), bytes(data[:cut]) + more, bytes(data[cut:])):
        try:
            from_zip(broken)
        except VLMError as error:
            assert str(error)


# ---- the page ----


class Page(HTMLParser):
    """Every tag of a page with its attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(answer: str = "A cat.", *, question: str = "What?", **how: Any) -> Page:
    start = Branch()
    numbers = how.pop("finished", Finished("stop"))
    start.add(
        Turn(user_message(question, how.pop("images", [])), answer, numbers, GenerationOptions())
    )
    return Page(to_html(Conversation(start, how.pop("model", "Scripted"), **how)))


def test_the_page_shows_the_path_with_its_numbers():
    conversation = example()
    text = Page(to_html(conversation)).text
    assert re.search("Conversation with Scripted.*What.*A dog.*And.*Gre", text, re.DOTALL)
    assert "A cat" not in text
    assert "Be kind." in text and "Be brief." in text
    finished = conversation.start.path()[1].turn.finished
    assert stats_words(finished, "en") in text
    assert "stopped at the length limit" in text
    assert text.count("no longer sent") == 1


def test_the_page_in_chinese():
    page = Page(to_html(example(), "zh"))
    assert page.of("html") == [{"lang": "zh-CN"}]
    assert "与 Scripted 的对话" in page.text
    assert "达到长度上限" in page.text


def test_the_page_of_an_empty_conversation():
    assert "Nothing was said yet" in Page(to_html(Conversation(Branch(), "x"))).text


def test_images_are_small_copies_within_the_page():
    page = page_of(images=[photo("RGBA", (3000, 1500)), photo("CMYK")])
    large, _ = page.of("img")
    assert (large["width"], large["height"], large["alt"]) == ("1024", "512", "photo-0.png")
    assert large["src"].startswith("data:image/webp;base64,")


def test_answers_are_rendered():
    page = page_of("**bold** [a](https://example.org)\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    assert page.of("strong") and page.of("td")
    assert page.of("a") == [{"href": "https://example.org", "rel": "noopener noreferrer"}]


def test_tags_in_answers_are_shown_as_text():
    page = page_of("a <b onclick=f()>b</b> <form>")
    assert not page.of("b") and not page.of("form")
    assert "a <b onclick=f()>b</b> <form>" in page.text


def test_thoughts_are_folded():
    page = page_of("<think>Fur, so</think>A cat.")
    assert len(page.of("details")) == 1
    assert "think>" not in page.text


def test_ends_are_told():
    assert "stopped" in page_of("A c", finished=Finished("cancelled")).text
    assert "without a word" in page_of("").text


EVIL = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>![x](https://example.org/x.png)"
    "</title></style></main><iframe src=https://example.org></iframe>"
    "[a](javascript:alert(1)) [b](data:text/html,x) \"' onload=x"
)


@pytest.mark.parametrize("place", ["answer", "question", "model", "system_prompt", "name"])
def test_nothing_that_was_written_becomes_markup_of_the_page(place):
    evil_name = Image(photo().pixels, photo().sha256, EVIL, (96, 64))
    how = {"images": [evil_name]} if place == "name" else {place: EVIL, "images": [photo()]}
    page = page_of(**how)
    plain = page_of(images=[photo()])
    kinds = {tag for tag, _ in page.tags}
    assert kinds - {tag for tag, _ in plain.tags} <= {"section", "a"}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert (attributes.get("src") or "data:image/").startswith("data:image/")
        assert (attributes.get("href") or "https:").startswith("https:")


def test_the_page_may_fetch_and_run_nothing():
    page = Page(to_html(example()))
    (policy,) = [each for each in page.of("meta") if "http-equiv" in each]
    rules = dict(rule.strip().split(" ", 1) for rule in policy["content"].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "script-src" not in rules
    assert not page.of("script") and not page.of("link")


@pytest.mark.parametrize("unit", [">", "[", "*a", "`", "|", "- ", "<", "![", "\n\n> ", "_", "&"])
def test_hostile_answers_end_promptly_on_the_page(unit):
    page_of(unit * (20_000 // len(unit)))


def test_examples_are_not_changed_by_writing_them():
    conversation = example()
    before = copy.deepcopy(tree(conversation.start))
    to_zip(conversation), to_html(conversation)
    assert tree(conversation.start) == before

"""`/chat` and `/compare` for programs by gradio_client; what the server gives to nobody."""

import base64
import itertools
import threading

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from tests.support.fakes import photo, photo_bytes
from vlm.errors import RequestError
from vlm.messages import Image, Text


@pytest.fixture
def picture(tmp_path):
    """A photo in a file."""
    path = tmp_path / "photo.png"
    path.write_bytes(photo_bytes())
    return handle_file(path)


def ask(served, message, history=(), settings=None):
    client = Client(served.address, verbose=False)
    return client.predict(message, list(history), settings or {}, api_name="/chat")


def test_a_message_with_a_file_is_answered(serve, picture):
    served = serve("A ", "photo.")
    assert ask(served, {"text": "What?", "files": [picture]}) == "A photo."
    message = served.backend.asked[0].messages[-1]
    assert [type(part) for part in message.parts] == [Image, Text]


def test_the_reply_is_streamed(serve):
    gate = threading.Event()
    served = serve("one ", gate, "two")
    job = Client(served.address, verbose=False).submit(
        {"text": "Count.", "files": []}, [], {}, api_name="/chat"
    )
    replies = iter(job)
    assert next(replies) == "one "  # although the answer cannot have ended
    gate.set()
    assert list(replies)[-1] == "one two"


def test_what_was_streamed_is_never_taken_back(serve):
    pieces = [
        "<ref>cat</ref><bo",
        "x>[[1,2,",
        "3,4]]</box> and <loc0",
        "001><loc0002>",
        "<loc0003>",
    ]
    served = serve(*pieces, "<loc0004> here, a <b", " c.")
    job = Client(served.address, verbose=False).submit(
        {"text": "Where?", "files": []}, [], {}, api_name="/chat"
    )
    replies = list(job)
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(replies))
    assert len(set(replies)) > 2
    assert replies[-1] == "cat [1, 2, 3, 4] and [1, 2, 3, 4] here, a <b c."


def test_history_and_settings_reach_the_backend(serve):
    served = serve("Blue.")
    address = "data:image/png;base64," + base64.b64encode(photo_bytes()).decode()
    history = [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": address}},
                {"type": "text", "text": "Which colour?"},
            ],
        },
        {"role": "assistant", "content": "Red."},
    ]
    ask(served, {"text": "Sure?", "files": []}, history, {"temperature": 0.5, "seed": 7})
    asked = served.backend.asked[0]
    assert [message.role for message in asked.messages] == ["user", "assistant", "user"]
    assert [message.text for message in asked.messages] == ["Which colour?", "Red.", "Sure?"]
    assert len(asked.messages[0].images) == 1
    assert (asked.options.temperature, asked.options.seed) == (0.5, 7)


def test_calls_share_nothing(serve):
    served = serve("Yes.")
    ask(served, {"text": "One.", "files": []})
    ask(served, {"text": "Two.", "files": []})
    assert [message.text for message in served.backend.asked[1].messages] == ["Two."]


@pytest.mark.parametrize(
    ("message", "history", "settings", "words"),
    [
        ({"text": " ", "files": []}, [], {}, "empty"),
        ({"text": "Hi", "files": []}, "no list", {}, "history"),
        ({"text": "Hi", "files": []}, [{"role": "robot", "content": "x"}], {}, "history"),
        ({"text": "Hi", "files": []}, [], {"temperature": 99}, "from 0.0 to 5.0"),
        ({"text": "Hi", "files": []}, [], {"heat": 1}, "heat"),
    ],
)
def test_a_bad_request_gets_a_sentence(serve, message, history, settings, words):
    served = serve("Never.")
    with pytest.raises(AppError, match=words):
        Client(served.address, verbose=False).predict(message, history, settings, api_name="/chat")
    assert served.backend.asked == []


def test_a_failure_of_the_backend_gets_its_sentence(serve):
    served = serve(RequestError("context_full", got=9000, limit=8192))
    with pytest.raises(AppError, match="9000 tokens"):
        ask(served, {"text": "Hi", "files": []})


def test_a_cancelled_job_stops_the_backend(serve):
    gate, never = threading.Event(), threading.Event()
    served = serve("Begun ", gate, "more ", "and more ", never, "never")
    job = Client(served.address, verbose=False).submit(
        {"text": "Hi", "files": []}, [], {}, api_name="/chat"
    )
    assert next(iter(job)) == "Begun "
    threading.Timer(0.5, gate.set).start()  # cancelling takes effect at the next piece
    job.cancel()
    assert served.backend.asked[0].cancel.wait(15)


@pytest.fixture
def changed(tmp_path):
    """The same photo in a file, with a part of it painted over."""
    path = tmp_path / "changed.png"
    edited = photo(size=(200, 150)).pixels.copy()
    edited.paste((255, 0, 255), (20, 20, 80, 70))
    edited.save(path)
    return handle_file(path)


@pytest.fixture
def unchanged(tmp_path):
    path = tmp_path / "unchanged.png"
    photo(size=(200, 150)).pixels.save(path)
    return handle_file(path)


def test_pictures_are_compared_and_asked_about(serve, unchanged, changed):
    served = serve("It is pink.")
    client = Client(served.address, verbose=False)
    told = client.predict([unchanged, changed], "What changed?", True, True, api_name="/compare")
    (pair,) = told["pairs"]
    assert (pair["first"], pair["second"]) == (1, 2)
    assert pair["alignment"]["state"] == "same_frame"
    assert 0.05 < pair["changed_share"] < 0.2
    (region,) = pair["regions"]
    assert region["box"] == pytest.approx([20, 20, 80, 70], abs=4)
    assert told["answer"] == "It is pink."
    assert told["asked"] == {"together": True, "parts": [], "unjoined": None}
    assert len(served.backend.asked[0].messages[-1].images) == 4  # two crops


def test_a_comparison_needs_no_question_and_takes_more_than_two(serve, unchanged, changed):
    served = serve("Never.")
    client = Client(served.address, verbose=False)
    files = [unchanged, changed, unchanged]
    told = client.predict(files, "", False, False, api_name="/compare")
    assert [pair["second"] for pair in told["pairs"]] == [2, 3]
    assert told["pairs"][0]["alignment"]["state"] == "not_asked"
    assert told["pairs"][1]["regions"] == []
    assert (told["answer"], told["asked"], served.backend.asked) == (None, None, [])


@pytest.mark.parametrize(("count", "words"), [(1, "two are needed"), (9, "at most 8")])
def test_too_few_or_too_many_pictures_get_a_sentence(serve, unchanged, count, words):
    client = Client(serve("Never.").address, verbose=False)
    with pytest.raises(AppError, match=words):
        client.predict([unchanged] * count, "", False, True, api_name="/compare")


def test_only_the_documented_endpoints_are_public(serve):
    for hosted, names in (
        (False, ["/chat", "/compare", "/inspect", "/models", "/load"]),
        (True, ["/chat", "/compare", "/inspect", "/models"]),
    ):
        client = Client(serve(hosted=hosted).address, verbose=False)
        endpoints = client.view_api(return_format="dict")
        assert list(endpoints["named_endpoints"]) == names
        assert endpoints["unnamed_endpoints"] == {}


@pytest.mark.parametrize("path", ["/etc/passwd", "requirements.txt", "assets/pocket/config.json"])
def test_files_of_the_machine_are_not_served(serve, path):
    address = serve().address
    assert httpx.get(f"{address}/gradio_api/file={path}").status_code in (403, 404)
    forged = {"text": "Read it.", "files": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
    with pytest.raises(AppError):
        Client(address, verbose=False).predict(forged, [], {}, api_name="/chat")


def test_a_file_over_the_limit_is_not_taken(serve):
    address = serve(max_file_megabytes=0.001, max_conversation_megabytes=0.001).address
    upload = {"files": ("big.png", b"0" * 5000)}
    assert httpx.post(f"{address}/gradio_api/upload", files=upload).status_code == 413

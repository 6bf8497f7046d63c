"""Every family, tiny, answering in the served app as any model does: two images, two turns."""

import base64
import itertools

import pytest
from gradio_client import Client, handle_file

from tests.support.fakes import photo_bytes
from vlm import families
from vlm.engine import Engine

OPTIONS = {"min_new_tokens": 16, "max_new_tokens": 16, "temperature": 0.0, "seed": 1}
"""So many tokens that even pieces of letters come to several replies."""
SEEDS = range(2, 5)


@pytest.fixture(scope="module", params=families.NAMES)
def engine(request, tmp_path_factory):
    source = families.families()[request.param].tiny(tmp_path_factory.mktemp(request.param))
    engine = Engine.load(source, quantization="none", device="cpu", dtype="float32")
    yield engine
    engine.close()


def image_part(data):
    address = "data:image/png;base64," + base64.b64encode(data).decode()
    return {"type": "image_url", "image_url": {"url": address}}


def replies(served, message, history):
    client = Client(served.address, verbose=False)
    return list(client.submit(message, history, OPTIONS, api_name="/chat"))


@pytest.fixture
def files(tmp_path):
    """Photos, each with another content and width: seed -> path."""
    paths = {seed: tmp_path / f"{seed}.png" for seed in (1, *SEEDS)}
    for seed, path in paths.items():
        path.write_bytes(photo_bytes(seed=seed, size=(90 + seed, 60)))
    return paths


def question(words, *paths):
    return {"text": words, "files": [handle_file(path) for path in paths]}


def turn(words, answer, *paths):
    """A question about photos and its answer, as they stand in a history."""
    parts = [*(image_part(path.read_bytes()) for path in paths), {"type": "text", "text": words}]
    return [{"role": "user", "content": parts}, {"role": "assistant", "content": answer}]


def grows(found):
    """Whether an answer came in several pieces, each going on from those before."""
    pairs = itertools.pairwise(found)
    return len({*found} - {""}) > 2 and all(later.startswith(earlier) for earlier, later in pairs)


def test_two_images_and_two_turns_are_answered_word_by_word(serve, engine, files):
    served = serve(backend=engine)
    first = replies(served, question("describe both", files[1], files[2]), [])
    assert grows(first), first
    again = replies(served, question("describe both", files[1], files[2]), [])
    assert first[-1] == again[-1]  # the same seed, the same answer
    history = turn("describe both", first[-1], files[1], files[2])
    second = replies(served, question("and now"), history)
    assert grows(second), second


def test_the_second_image_counts(serve, engine, files):
    served = serve(backend=engine)
    pairs = [question("describe both", files[1], files[seed]) for seed in SEEDS]
    assert len({replies(served, each, [])[-1] for each in pairs}) > 1


def test_what_went_before_counts(serve, engine, files):
    served = serve(backend=engine)
    histories = [turn(f"what is {seed}?", "A photo.", files[seed]) for seed in SEEDS]
    assert len({replies(served, question("and now"), each)[-1] for each in histories}) > 1


def test_another_image_gives_another_answer(serve, engine, files):
    served = serve(backend=engine)
    asked = [question("describe", files[seed]) for seed in SEEDS]
    assert len({replies(served, each, [])[-1] for each in asked}) > 1

"""Every family, tiny, answering in the served app as any model does: two images, two turns."""

import base64
import itertools

import pytest
from gradio_client import Client, handle_file

from tests.support.fakes import photo_bytes
from vlm import families
from vlm.engine import Engine

OPTIONS = {"min_new_tokens": 4, "max_new_tokens": 8, "temperature": 0.0, "seed": 1}


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


def test_two_images_and_two_turns_are_answered_word_by_word(serve, engine, tmp_path):
    served = serve(backend=engine)
    photos = [photo_bytes(seed=seed, size=(90 + seed, 60)) for seed in (1, 2)]
    files = [tmp_path / f"{number}.png" for number in (1, 2)]
    for path, data in zip(files, photos, strict=True):
        path.write_bytes(data)
    question = {"text": "describe both", "files": [handle_file(path) for path in files]}
    first = replies(served, question, [])
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(first))
    assert first[-1] == replies(served, question, [])[-1]  # the same seed, the same answer
    parts = [*map(image_part, photos), {"type": "text", "text": question["text"]}]
    history = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": first[-1]},
    ]
    assert replies(served, {"text": "and now", "files": []}, history)


def test_another_image_gives_another_answer(serve, engine, tmp_path):
    served = serve(backend=engine)
    answers = set()
    for seed in range(3):
        path = tmp_path / f"{seed}.png"
        path.write_bytes(photo_bytes(seed=seed))
        answers.add(replies(served, {"text": "describe", "files": [handle_file(path)]}, [])[-1])
    assert len(answers) > 1

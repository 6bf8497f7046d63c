"""Knobs of image processors: which there are, and that one request's choice stays its own."""

import copy
import shutil

import pytest

from tests.support.fakes import photo
from vlm.engine import Engine
from vlm.errors import ModelError, RequestError
from vlm.messages import user_message
from vlm.options import GenerationOptions
from vlm.processors import image_knobs, image_settings

KNOBS = {
    "llava": {},
    "smolvlm": {"splitting": (True, None, None)},
    "qwen2_5_vl": {"pixels": (28 * 28 * 16, 28 * 28, 28 * 28 * 16)},
    "gemma3": {"splitting": (False, None, None), "tiles": (4, 1, 8)},
    "gemma4": {},
    "minicpm_v4_6": {"splitting": (True, None, None), "tiles": (4, 1, 8)},
}


@pytest.fixture(scope="module", params=KNOBS)
def named(request, checkpoints):
    engine = Engine.load(str(checkpoints[request.param]), quantization="none", dtype="float32")
    yield request.param, engine
    engine.close()


def test_the_knobs_are_those_the_processor_has(named):
    name, engine = named
    found = {
        knob.name: (knob.default, knob.low, knob.high) for knob in image_knobs(engine.processor)
    }
    assert found == KNOBS[name]
    assert engine.capabilities().image_knobs == image_knobs(engine.processor)


def test_a_default_given_by_name_changes_nothing(named):
    _, engine = named
    asked = [user_message("?", [photo(size=(300, 100))])]
    plain = engine.prepare(asked)
    for knob in image_knobs(engine.processor):
        options = GenerationOptions(image_detail={knob.name: knob.default})
        assert engine.prepare(asked, options)["input_ids"].equal(plain["input_ids"])


def test_a_choice_is_for_one_request_only(named):
    _, engine = named
    before = copy.deepcopy(engine.processor.to_dict())
    asked = [user_message("?", [photo(size=(300, 100))])]
    plain = engine.prepare(asked)["input_ids"]
    for knob in image_knobs(engine.processor):
        other = not knob.default if isinstance(knob.default, bool) else knob.low
        assert other is not None
        engine.prepare(asked, GenerationOptions(image_detail={knob.name: other}))
    assert engine.prepare(asked)["input_ids"].equal(plain)
    assert engine.processor.to_dict() == before


@pytest.mark.parametrize(
    ("name", "detail", "counts"),
    [
        ("smolvlm", {"splitting": False}, (12, 4)),
        ("qwen2_5_vl", {"pixels": 28 * 28 * 4}, (12, 3)),
        ("minicpm_v4_6", {"splitting": False}, (15, 3)),
        ("minicpm_v4_6", {"tiles": 2}, (15, 11)),
    ],
)
def test_a_choice_takes_effect(checkpoints, name, detail, counts):
    engine = Engine.load(str(checkpoints[name]), quantization="none", dtype="float32")
    layouts = [
        engine.image_layout(photo(size=(300, 100)), GenerationOptions(image_detail=each))
        for each in ({}, detail)
    ]
    assert tuple(layout.placeholders for layout in layouts) == counts
    engine.close()


def test_a_processor_of_a_family_speaks_for_itself():
    from vlm.backend import ImageKnob

    class Own:
        image_knobs = (ImageKnob(name="tiles", default=2, low=1, high=3),)

    assert image_knobs(Own()) == Own.image_knobs
    assert image_settings(Own(), {"tiles": 3}) == {"tiles": 3}


def test_a_knob_of_a_family_may_go_by_another_name_in_its_processor():
    from vlm.backend import ImageKnob

    class Own:
        image_knobs = (ImageKnob(name="numbering", argument="use_image_id", default=True),)

    assert image_settings(Own(), {"numbering": False}) == {"use_image_id": False}
    with pytest.raises(RequestError, match="true, false"):
        image_settings(Own(), {"numbering": 0})


def test_a_tokenizer_from_elsewhere(checkpoints, tmp_path):
    source = checkpoints["llava"]
    bare = shutil.copytree(source, tmp_path / "bare")
    for file in bare.glob("tokenizer*"):
        file.unlink()
    engine = Engine.load(str(bare), quantization="none", tokenizer=str(source))
    assert engine.processor.tokenizer.name_or_path == str(source)
    assert type(engine.processor).__name__ == "LlavaProcessor"
    engine.close()
    with pytest.raises(ModelError):
        Engine.load(str(bare), quantization="none")

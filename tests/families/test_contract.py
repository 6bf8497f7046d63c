"""What every family keeps, on its own tiny checkpoint. A new family only has to be in NAMES."""

import copy
import inspect
import itertools
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from torch.nn import functional
from transformers import AutoConfig, AutoModelForImageTextToText

from tests.support import goldens
from tests.support.fakes import photo
from vlm import families
from vlm.backend import Finished, Progress, TextDelta
from vlm.chat import ChatSession
from vlm.engine import Engine
from vlm.errors import RequestError, VLMError
from vlm.families import Family
from vlm.loading import Loaded, load
from vlm.messages import ALL_ROLES, Image, Message, Text, user_message
from vlm.options import GenerationOptions
from vlm.quantization import CPU_BLOCK
from vlm.reading import PromptReader

ODD = ((96, 64), (1, 1), (3, 200), (333, 57))
NUMBERS = {"rtol": 1e-3, "atol": 1e-3}
"""For logits of a size of about 10 in float32, whose sums run in another order."""
PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json", "chat_template.jinja")
LONG = GenerationOptions(max_new_tokens=500, min_new_tokens=500)
SHORT = GenerationOptions(max_new_tokens=8, min_new_tokens=8)
MIDDLE = GenerationOptions(max_new_tokens=32, min_new_tokens=32)
"""Long enough for letters among tokens that have none."""


@pytest.fixture(scope="module", params=families.NAMES)
def family(request: pytest.FixtureRequest) -> Family:
    return families.families()[request.param]


@pytest.fixture(scope="module")
def source(family: Family, tmp_path_factory: pytest.TempPathFactory) -> str:
    return family.tiny(tmp_path_factory.mktemp(f"tiny_{family.name}"))


@pytest.fixture(scope="module")
def loaded(source: str) -> Loaded:
    return load(source, quantization="none", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def engine(loaded: Loaded) -> Iterator[Engine]:
    engine = Engine(loaded)
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def prompt(loaded: Loaded, images: Sequence[Image] = (), words: str = "What is this?") -> Any:
    """The tensors of one question, by way of the chat template."""
    reader = PromptReader(loaded.model, loaded.processor)
    return reader.prepare([user_message(words, list(images))], {})


def features(loaded: Loaded, inputs: Any) -> torch.Tensor:
    """(positions of all images, width), as the model works them out before merging."""
    encode = loaded.model.base_model.get_image_features
    taken = inspect.signature(encode).parameters
    found = encode(**{name: value for name, value in inputs.items() if name in taken})
    parts = getattr(found, "pooler_output", found)
    parts = parts if isinstance(parts, list | tuple) else [parts]
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])


def answer(loaded: Loaded, inputs: Any, **settings: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids (batch, 6), logits (batch, 6, words)) of the likeliest tokens, none of them the end."""
    return goldens.greedy(loaded, inputs, max_new_tokens=6, min_new_tokens=6, **settings)


# ---- 1, 2: loading ----


def test_it_is_found_and_says_which_family_it_is(family: Family, source: str, loaded: Loaded):
    assert families.find(source) is family
    assert loaded.family is family


def test_saving_and_loading_gives_the_same_classes_and_numbers(
    family: Family, loaded: Loaded, tmp_path: Path
):
    loaded.model.save_pretrained(tmp_path)
    loaded.processor.save_pretrained(tmp_path)
    assert families.find(str(tmp_path)) is family
    config = AutoConfig.from_pretrained(tmp_path, trust_remote_code=False)
    assert type(config) is type(loaded.model.config)
    by_auto = AutoModelForImageTextToText.from_pretrained(
        tmp_path, dtype=torch.float32, trust_remote_code=False
    ).eval()
    assert type(by_auto) is type(loaded.model)
    again = load(str(tmp_path), quantization="none", device="cpu", dtype="float32")
    assert type(again.processor) is type(loaded.processor)
    inputs = prompt(loaded, [photo()])
    assert torch.equal(prompt(again, [photo()])["input_ids"], inputs["input_ids"])
    expected = loaded.model(**inputs).logits
    for model in (by_auto, again.model):
        torch.testing.assert_close(model(**inputs).logits, expected, rtol=0, atol=0)


def test_the_original_layout_loads_with_nothing_missing_or_left_over(
    family: Family, source: str, loaded: Loaded
):
    opened = family.open(source, dtype=torch.float32)
    whole = isinstance(opened.weights, dict)
    _, report = type(loaded.model).from_pretrained(
        None if whole else opened.weights,
        config=opened.config,
        state_dict=opened.weights if whole else None,
        dtype=torch.float32,
        output_loading_info=True,
    )
    assert not any(report.values()), report


def test_open_takes_another_tokenizer(family: Family, source: str, tmp_path: Path):
    family.open(source).processor.tokenizer.save_pretrained(tmp_path)
    other = family.open(source, tokenizer=str(tmp_path)).processor
    assert other.tokenizer.name_or_path == str(tmp_path)


def test_a_tokenizer_may_put_a_token_before_every_text(loaded: Loaded):
    """As many published ones do, whether the chat template writes that token or not."""
    plain = prompt(loaded, [photo()])["input_ids"][0].tolist()
    processor = copy.deepcopy(loaded.processor)
    tokenizer = processor.tokenizer
    first = tokenizer.bos_token or tokenizer.eos_token
    number = tokenizer.convert_tokens_to_ids(first)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{first} $A", special_tokens=[(first, number)]
    )
    reader = PromptReader(loaded.model, processor)
    ids = reader.prepare([user_message("What is this?", [photo()])], {})["input_ids"][0].tolist()
    assert ids in (plain, [number, *plain])
    assert number in ids


# ---- 3, 4: placeholders ----


@pytest.mark.parametrize("images", [0, 1, 2])
@pytest.mark.parametrize("size", ODD)
def test_as_many_placeholders_as_features(loaded: Loaded, images: int, size: tuple[int, int]):
    pictures = [photo(size=size), photo("L", (70, 33), seed=3)][:images]
    inputs = prompt(loaded, pictures)
    placeholders = int((inputs["input_ids"] == loaded.model.config.image_token_id).sum())
    if images:
        assert len(features(loaded, inputs)) == placeholders > 0
    else:
        assert placeholders == 0
        assert loaded.model(**inputs).logits.isfinite().all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L", "P", "CMYK"])
@pytest.mark.parametrize("size", ODD)
def test_the_layout_says_what_the_prompt_has(loaded: Loaded, mode: str, size: tuple[int, int]):
    image = photo(mode, size)
    layout = loaded.processor.image_layout(image)
    ids = prompt(loaded, [image])["input_ids"]
    assert layout.placeholders == int((ids == loaded.model.config.image_token_id).sum())
    assert layout.original_size == size
    assert layout.tiles
    parts = [*layout.tiles, *([layout.thumbnail] if layout.thumbnail else [])]
    assert sum(part.rows * part.columns for part in parts) == layout.placeholders


@pytest.mark.parametrize("change", [-1, 1])
def test_a_wrong_count_is_refused_with_both_numbers(loaded: Loaded, change: int):
    inputs = prompt(loaded, [photo()])
    placeholder = loaded.model.config.image_token_id
    count = int((inputs["input_ids"] == placeholder).sum())
    first = int((inputs["input_ids"][0] == placeholder).nonzero()[0])
    for name, value in inputs.items():
        if value.shape[:2] == inputs["input_ids"].shape and change < 0:
            inputs[name] = torch.cat([value[:, :first], value[:, first + 1 :]], dim=1)
        elif value.shape[:2] == inputs["input_ids"].shape:
            inputs[name] = torch.cat([value[:, : first + 1], value[:, first:]], dim=1)
    with pytest.raises(VLMError, match=rf"{count + change}\D.*\b{count}\b"):
        loaded.model(**inputs)


@pytest.mark.parametrize(("marks", "images"), [(2, 1), (1, 2), (1, 0), (0, 1)])
def test_a_processor_refuses_another_count_of_images(loaded: Loaded, marks: int, images: int):
    """Written as the chat template writes a prompt."""
    part, words = {"type": "image"}, {"type": "text", "text": "What is this?"}
    text = loaded.processor.apply_chat_template(
        [{"role": "user", "content": [part] * marks + [words]}], add_generation_prompt=True
    )
    pixels = [photo(seed=seed).pixels for seed in range(images)] or None
    for each in (text, [text]):
        with pytest.raises(VLMError, match=rf"has {marks} placeholders .* take {images}\."):
            loaded.processor(images=pixels, text=each, return_tensors="pt")


# ---- 5, 6: the same numbers another way ----


@pytest.mark.parametrize("images", [1, 2])
def test_the_same_with_and_without_a_cache(loaded: Loaded, images: int):
    inputs = prompt(loaded, [photo(seed=seed) for seed in range(images)])
    ids, logits = answer(loaded, inputs, use_cache=True)
    plain_ids, plain_logits = answer(loaded, inputs, use_cache=False)
    assert torch.equal(ids, plain_ids)
    torch.testing.assert_close(logits, plain_logits, **NUMBERS)


def test_a_left_padded_batch_is_answered_as_single_prompts_are(loaded: Loaded):
    questions = ["What?", "What is there to be seen in this picture?"]
    conversations = [
        [{"role": "user", "content": [part, {"type": "text", "text": words}]}]
        for seed, words in enumerate(questions)
        for part in [{"type": "image", "image": photo(seed=seed).pixels}]
    ]
    batch = loaded.processor.apply_chat_template(
        conversations,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        processor_kwargs={"padding": True, "padding_side": "left", "return_tensors": "pt"},
    )
    assert batch["attention_mask"][0, 0] == 0
    both_ids, both = answer(loaded, batch)
    for row, words in enumerate(questions):
        ids, logits = answer(loaded, prompt(loaded, [photo(seed=row)], words))
        assert torch.equal(both_ids[row], ids[0])
        torch.testing.assert_close(both[row], logits[0], **NUMBERS)


def test_images_matter(loaded: Loaded):
    one, other = (loaded.model(**prompt(loaded, [photo(seed=seed)])).logits for seed in (1, 2))
    assert (one - other).abs().max() > 1e-2


# ---- 7: the reference ----


def test_there_are_golden_values_to_meet(family: Family):
    assert any(case.family == family.name for case in goldens.cases([goldens.DEFAULT_ROOT]))


# ---- 8: bits ----


def test_four_bits_are_for_the_language_models_layers(source: str):
    import bitsandbytes

    small = load(source, quantization="nf4", device="cpu", dtype="float32")
    inside = set(small.model.get_decoder().modules())
    linears = [each for each in small.model.modules() if isinstance(each, torch.nn.Linear)]
    quantised = {each for each in linears if isinstance(each, bitsandbytes.nn.Linear4bit)}
    rows, columns = CPU_BLOCK  # others do not run in 4 bits on every CPU
    fitting = {
        each for each in linears if not (each.out_features % rows or each.in_features % columns)
    }
    assert quantised == fitting & inside
    assert len(quantised) > len(inside.intersection(linears)) / 2
    assert small.model(**prompt(small, [photo()])).logits.isfinite().all()


def test_in_four_bits_it_streams_two_turns(source: str):
    engine = Engine.load(source, quantization="nf4", device="cpu", dtype="float32")
    session = ChatSession(engine)
    for turn in range(2):
        events = list(session.send("What?", [photo(seed=turn)], MIDDLE))
        pieces = [event.text for event in events if isinstance(event, TextDelta)]
        assert len(pieces) > 1
        assert "".join(pieces) == session.turns[turn].answer
        assert events[-1].usage.completion_tokens == 32
    engine.close()


def test_a_device_map_goes_through_to_accelerate_on_a_cpu(source: str, loaded: Loaded):
    if torch.cuda.is_available():
        pytest.skip("a GPU would be taken")
    spread = load(source, quantization="none", dtype="float32", device_map="auto").model
    assert {each.device.type for each in spread.parameters()} == {"cpu"}
    assert set(spread.state_dict()) == set(loaded.model.state_dict())
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(spread.state_dict()[name], tensor), name


# ---- 9: files of the processor ----


def test_the_processor_needs_no_file_of_its_own(
    family: Family, source: str, loaded: Loaded, tmp_path: Path
):
    folder = Path(shutil.copytree(source, tmp_path / "copy"))
    for file in PROCESSOR_FILES:
        for found in folder.rglob(file):
            found.unlink()
    bare = family.open(str(folder))
    again = Loaded(loaded.model, bare.processor, "bare", str(folder), "none", family)
    expected = prompt(loaded, [photo()])
    for name, value in prompt(again, [photo()]).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


# ---- 10: the engine ----


def test_the_engine_streams(engine: Engine):
    session = ChatSession(engine)
    for seed in (1, 2):
        events = list(session.send("What?", [photo(seed=seed)], SHORT))
        kinds = [type(event) for event in events]
        assert kinds == sorted(kinds, key=[Progress, TextDelta, Finished].index)
        finished = events[-1]
        assert (finished.reason, finished.usage.completion_tokens) == ("length", 8)
        assert finished.usage.image_tokens > 0


def test_the_engine_cancels_within_one_step(engine: Engine):
    cancel, calls = threading.Event(), []
    hook = engine.model.register_forward_hook(lambda *_: calls.append(cancel.is_set()))
    try:
        for event in ChatSession(engine).send("Go on.", [photo()], LONG, cancel):
            if isinstance(event, TextDelta):
                cancel.set()
    finally:
        hook.remove()
    assert event.reason == "cancelled"
    assert calls.count(True) <= 1


def test_an_exception_of_the_model_reaches_the_caller(engine: Engine):
    def fail(*_: object) -> None:
        raise ZeroDivisionError("inside the model")

    hook = engine.model.register_forward_pre_hook(fail)
    with pytest.raises(ZeroDivisionError):
        list(ChatSession(engine).send("What?", [photo()], SHORT))
    hook.remove()
    events = list(ChatSession(engine).send("What?", [photo()], SHORT))
    assert events[-1].usage.completion_tokens == 8


def test_what_earlier_answers_leave_behind_changes_no_answer(engine: Engine, loaded: Loaded):
    """The same question about the same photo, after others about it, in float32."""

    def ask(*questions: str) -> str:
        for words in questions:
            message = [user_message(words, [photo(seed=5)])]
            events = list(engine.stream(message, SHORT, threading.Event()))
        return "".join(event.text for event in events if isinstance(event, TextDelta))

    engine.forget()
    fresh = ask("What is in the picture?")
    engine.forget()
    assert ask("What is it?", "What is in", "What is in the picture?") == fresh


def test_only_roles_with_a_place_in_the_prompt_are_taken(engine: Engine, family: Family):
    for role in ALL_ROLES:
        message = Message(role, (Text("Be brief."),))
        conversation = [message, user_message("What?", [photo()])]
        if role in family.roles:
            assert list(engine.trace(conversation))
        else:
            with pytest.raises(RequestError) as caught:
                list(engine.trace(conversation))
            assert caught.value.key == "role_not_taken"


# ---- stages ----


def test_the_trace_shows_every_stage_in_order(engine: Engine, family: Family):
    stages = list(engine.trace([user_message("What?", [photo()])]))
    names = [name for name, _ in itertools.groupby(stage.name for stage in stages)]
    assert names == [tap.name for tap in family.stages]
    for stage in stages:
        assert stage.array.ndim == len(stage.axes)
        assert len(set(stage.axes)) == len(stage.axes)
    inputs = engine.prepare([user_message("What?", [photo()])])
    with torch.inference_mode():
        logits = engine.model(**inputs).logits
    torch.testing.assert_close(torch.from_numpy(stages[-1].array), logits, **NUMBERS)


def test_the_trace_of_text_has_no_stage_of_images(engine: Engine, family: Family):
    if family.needs_image:
        pytest.skip("takes no text alone: see the test after this one")
    names = {stage.name for stage in engine.trace([user_message("What?")])}
    assert "logits" in names
    assert not names & {"pixel_values", "vision_tower", "projector"}


def test_text_alone_is_refused_where_an_image_is_needed(engine: Engine, family: Family):
    messages = [user_message("What?")]
    ways = (
        lambda asked: list(engine.stream(asked, SHORT, threading.Event())),
        lambda asked: list(engine.trace(asked)),
        lambda asked: engine.explain(asked, "A photo."),
    )
    for way in ways:
        if not family.needs_image:
            assert way(messages)
            continue
        with pytest.raises(RequestError) as caught:
            way(messages)
        assert (caught.value.key, caught.value.facts) == (
            "without_image",
            {"name": engine.loaded.name},
        )
    # an image anywhere before the question is enough
    earlier = [user_message("What?", [photo()]), Message("assistant", (Text("A photo."),))]
    assert list(engine.stream([*earlier, *messages], SHORT, threading.Event()))


# ---- training ----


def test_labels_give_the_loss_of_the_next_token_without_images(loaded: Loaded):
    inputs = prompt(loaded, [photo()])
    labels = inputs["input_ids"].clone()
    outputs = loaded.model(**inputs, labels=labels)
    told = labels.masked_fill(labels == loaded.model.config.image_token_id, -100)
    expected = functional.cross_entropy(outputs.logits[0, :-1], told[0, 1:])
    torch.testing.assert_close(outputs.loss, expected)
    again = loaded.model(**inputs, labels=told)
    torch.testing.assert_close(again.loss, expected)


def test_gradients_reach_the_projector(loaded: Loaded, family: Family):
    model = copy.deepcopy(loaded.model).train()
    projector = next(tap for tap in family.stages if tap.name == "projector").module
    inputs = prompt(loaded, [photo()])
    with torch.enable_grad():
        model(**inputs, labels=inputs["input_ids"]).loss.backward()
    for name, parameter in model.get_submodule(projector).named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name

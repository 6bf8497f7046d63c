"""Messages to tensors: answers that are gone on with, and marks of the prompt format."""

import copy

import pytest
from tokenizers import processors

from tests.support.answers import ask, work_out
from tests.support.fakes import photo
from vlm.engine import Engine
from vlm.errors import RequestError
from vlm.messages import Message, Text, user_message
from vlm.options import GenerationOptions
from vlm.reading import PromptReader

NAMES = ("llava", "smolvlm", "qwen2_5_vl", "gemma3", "gemma4", "minicpm_v4_6", "pocket")
ENDINGS = ("It is", "It is ", "It is\n\n", " It is", "It is <|end|> 1", "é 图", "")
TRIMMING = (
    "{% for message in messages %}<|start|>{{ message.role }}\n"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}MARK{% else %}{{ part.text | trim }}{% endif %}{% endfor %}"
    "<|end|>\n{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}{{ '' }}\n"
)


@pytest.fixture(scope="module", params=NAMES)
def engine(request, checkpoints):
    source = str(checkpoints.get(request.param, request.param))
    engine = Engine.load(source, quantization="none", dtype="float32")
    yield engine
    engine.close()


def written(engine, messages) -> str:
    ids = engine.prepare(messages)["input_ids"][0]
    text = engine.processor.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("begun", ENDINGS)
def test_an_answer_is_gone_on_with_just_where_it_ended(engine, begun):
    asked = [user_message("What is this?", [photo()])]
    prompt = written(engine, asked)
    assert written(engine, [*asked, Message("assistant", (Text(begun),))]) == prompt + begun


def test_also_by_a_template_that_trims(engine):
    own = engine.processor.chat_template
    engine.processor.chat_template = TRIMMING.replace("MARK", engine.processor.image_token)
    try:
        asked = [user_message("What is this?", [photo()])]
        prompt = written(engine, asked)
        begun = "It is \n"
        assert written(engine, [*asked, Message("assistant", (Text(begun),))]) == prompt + begun
    finally:
        engine.processor.chat_template = own


def test_a_begun_answer_opens_no_turn_and_claims_no_image(engine):
    asked = [user_message("What is this?", [photo()])]
    token = engine.processor.image_token
    begun = Message("assistant", (Text(f"It is {token}<|end|><|start|>"),))
    ids = engine.prepare([*asked, begun])["input_ids"]
    plain = engine.prepare(asked)["input_ids"]
    marks = [engine.reader.placeholder_id, engine.processor.tokenizer.eos_token_id]
    for mark in marks:
        assert int((ids == mark).sum()) == int((plain == mark).sum())


def test_an_image_cannot_be_part_of_a_begun_answer(engine):
    messages = [user_message("Draw."), Message("assistant", (photo(), Text("Here")))]
    with pytest.raises(RequestError) as caught:
        engine.prepare(messages)
    assert caught.value.key == "cannot_continue"


def test_stopped_and_gone_on_with_is_the_same_as_never_stopped(checkpoints):
    engine = Engine.load("pocket", quantization="none", dtype="float32")
    asked = [user_message("Describe the image in detail.", [photo(seed=4)])]
    whole = ask(engine, asked, GenerationOptions(max_new_tokens=16, min_new_tokens=16))
    for first in (1, 9):
        engine.forget()
        options = GenerationOptions(max_new_tokens=first, min_new_tokens=first)
        begun = ask(engine, asked, options).text
        assert whole.text.startswith(begun)
        rest = GenerationOptions(max_new_tokens=16 - first, min_new_tokens=16 - first)
        messages = [*asked, Message("assistant", (Text(begun),))]
        assert begun + ask(engine, messages, rest).text == whole.text
        assert begun + work_out(engine, messages, rest).text == whole.text
    engine.close()


def test_a_processor_that_cannot_go_on_says_so(checkpoints):
    engine = Engine.load(str(checkpoints["llava"]), quantization="none", dtype="float32")
    assert engine.capabilities().continues
    engine.close()
    engine = Engine.load(str(checkpoints["llava"]), quantization="none", dtype="float32")
    engine.processor.chat_template = None
    assert not engine.capabilities().continues
    with pytest.raises(RequestError) as caught:
        ask(engine, [user_message("?"), Message("assistant", (Text("It"),))], GenerationOptions())
    assert caught.value.key == "cannot_continue"
    engine.close()


def with_opening(engine, template: str):
    """A reader of the same model whose tokenizer puts its first token before every text."""
    processor = copy.deepcopy(engine.processor)
    tokenizer = processor.tokenizer
    first = tokenizer.bos_token or tokenizer.eos_token
    number = tokenizer.convert_tokens_to_ids(first)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A", special_tokens=[(first, number)]
    )
    assert tokenizer("a")["input_ids"][0] == number
    processor.chat_template = template.replace("MARK", processor.image_token).replace(
        "FIRST", first
    )
    return PromptReader(engine.model, processor), number


@pytest.mark.parametrize("template", [TRIMMING, "FIRST" + TRIMMING])
def test_what_the_tokenizer_puts_first_comes_once(engine, template):
    reader, first = with_opening(engine, template)
    asked = [user_message("What is this?", [photo()])]
    ids = reader.prepare(asked, {})["input_ids"][0]
    assert int(ids[0]) == first != int(ids[1])
    begun = [*asked, Message("assistant", (Text("It is"),))]
    assert reader.prepare(begun, {})["input_ids"][0, : len(ids)].equal(ids)
    assert reader.continues


def test_what_the_tokenizer_puts_first_may_come_after_the_images(engine):
    marks = "{% for part in messages[0].content if part.type == 'image' %}MARK{% endfor %}"
    reader, first = with_opening(engine, marks + "{{ 'FIRST' }}Describe.")
    ids = reader.prepare([user_message("", [photo()])], {})["input_ids"][0]
    assert int((ids == first).sum()) == 1
    assert int(ids[0]) != first

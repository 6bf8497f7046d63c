"""The well-known checkpoints of no family: transformers knows them, their facts agree."""

import json
import re

import pytest
import transformers
from PIL import Image
from transformers import CONFIG_MAPPING, AutoModelForImageTextToText
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

from tests.support.tiny import tokenizer
from vlm import families
from vlm.families.well_known import CHECKPOINTS
from vlm.processors import without_video
from vlm.strings import LANGUAGES, say

MODEL_TYPES = {
    "HuggingFaceTB/SmolVLM2": "smolvlm",
    "Qwen/Qwen2.5-VL": "qwen2_5_vl",
    "Qwen/Qwen3-VL": "qwen3_vl",
    "Qwen/Qwen3.5": "qwen3_5",
    "OpenGVLab/InternVL3": "internvl",
    "google/gemma-3": "gemma3",
    "llava-hf/llava-onevision": "llava_onevision",
    "zai-org/GLM-4.1V": "glm4v",
}
"""Beginning of a hub id -> `model_type` in the config.json there."""

TOKENS = (
    "image_token",
    "video_token",
    "boi_token",
    "eoi_token",
    "start_image_token",
    "end_image_token",
    "context_image_token",
    "fake_image_token",
    "global_image_token",
    "end_of_utterance_token",
)
"""Names that processors ask their tokenizers for."""

every = pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda each: each.name)


def model_type(checkpoint):
    (found,) = (kind for start, kind in MODEL_TYPES.items() if checkpoint.name.startswith(start))
    return found


@every
def test_transformers_has_a_model_for_it(checkpoint):
    config = CONFIG_MAPPING[model_type(checkpoint)]
    assert config in AutoModelForImageTextToText._model_mapping


@pytest.mark.parametrize("kind", MODEL_TYPES.values())
def test_its_pictures_need_no_torchvision(kind):
    """Its processor is made as `load_processor` makes it, and reads a picture."""
    pixels = getattr(transformers, IMAGE_PROCESSOR_MAPPING_NAMES[kind]["pil"])()
    whole = getattr(transformers, PROCESSOR_MAPPING_NAMES[kind])
    words = tokenizer("<image>", **{name: f"<{name}>" for name in TOKENS})
    processor = without_video(whole).from_args_and_dict([pixels, words], {})
    assert (processor.image_processor, processor.tokenizer) == (pixels, words)
    picture = Image.new("RGB", (70, 50), "red")
    assert "pixel_values" in processor.image_processor([picture], return_tensors="pt")


@every
def test_no_family_claims_it(checkpoint, tmp_path):
    config = {"model_type": model_type(checkpoint)}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert families.find(str(tmp_path)) is None


@every
def test_it_is_named_as_on_the_hub(checkpoint):
    assert re.fullmatch(r"[\w-]+/[\w.-]+", checkpoint.name)
    assert checkpoint.source == checkpoint.name
    assert families.look_up(checkpoint.name) is checkpoint


@every
def test_what_it_is_good_at_is_one_line_in_every_language(checkpoint):
    sentences = [say(checkpoint.good_at, language) for language in LANGUAGES]
    assert len(set(sentences)) == len(LANGUAGES)
    assert all(len(sentence) <= 130 for sentence in sentences)


@every
def test_the_size_in_the_title_is_that_of_the_model(checkpoint):
    """Towers count too, so a model may be larger than it is called; hardly ever smaller."""
    (number, unit) = re.findall(r"([\d.]+)([MB])\b", checkpoint.title)[-1]
    called = float(number) * {"M": 1, "B": 1000}[unit]
    assert 0.9 <= checkpoint.parameters / called <= 2
    in_name = re.findall(r"-([\d.]+[MB])\b", checkpoint.name, re.IGNORECASE)
    assert in_name[0].upper() == number + unit


def test_titles_are_unique():
    titles = [each.title for each in families.catalogue()]
    assert len(set(titles)) == len(titles)


def test_families_come_first():
    own = [each for family in families.families().values() for each in family.checkpoints]
    assert families.catalogue() == (*own, *CHECKPOINTS)

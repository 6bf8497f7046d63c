"""The well-known checkpoints of no family: transformers knows them, their facts agree."""

import json
import re

import pytest
from PIL import Image
from transformers import CONFIG_MAPPING, AutoModelForImageTextToText

from tests.support.native import pil_class, read_processor, write_processor
from vlm import families
from vlm.families.well_known import CHECKPOINTS
from vlm.strings import LANGUAGES, say

MODEL_TYPES = {
    "HuggingFaceTB/SmolVLM2": "smolvlm",
    "Qwen/Qwen2.5-VL": "qwen2_5_vl",
    "Qwen/Qwen3-VL": "qwen3_vl",
    "Qwen/Qwen3.5": "qwen3_5",
    "OpenGVLab/InternVL3": "internvl",
    "openbmb/MiniCPM-V-4.6": "minicpmv4_6",
    "google/gemma-3": "gemma3",
    "google/gemma-4": "gemma4",
    "llava-hf/llava-onevision": "llava_onevision",
    "zai-org/GLM-4.1V": "glm4v",
}
"""Beginning of a hub id -> `model_type` in the config.json there."""

every = pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda each: each.name)


def model_type(checkpoint):
    (found,) = (kind for start, kind in MODEL_TYPES.items() if checkpoint.name.startswith(start))
    return found


@every
def test_transformers_has_a_model_for_it(checkpoint):
    config = CONFIG_MAPPING[model_type(checkpoint)]
    assert config in AutoModelForImageTextToText._model_mapping


@pytest.mark.parametrize("kind", MODEL_TYPES.values())
def test_its_pictures_need_no_torchvision(kind, tmp_path):
    write_processor(tmp_path, kind)
    processor = read_processor(tmp_path)
    picture = Image.new("RGB", (70, 50), "red")
    assert type(processor.image_processor).__name__ == pil_class(kind)
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
    """Towers count too, so a model may be larger than it is called; hardly ever smaller.

    A size with an E leaves out embeddings that are only looked up, about half of such a model.
    """
    (effective, number, unit) = re.findall(r"\b(E?)([\d.]+)([MB])\b", checkpoint.title)[-1]
    called = float(number) * {"M": 1, "B": 1000}[unit]
    assert 0.9 <= checkpoint.parameters / called <= (2.6 if effective else 2)
    for in_name in re.findall(r"-(E?[\d.]+[MB])\b", checkpoint.name, re.IGNORECASE):
        assert in_name.upper() == effective + number + unit


def test_titles_are_unique():
    titles = [each.title for each in families.catalogue()]
    assert len(set(titles)) == len(titles)


def test_families_come_first():
    own = [each for family in families.families().values() for each in family.checkpoints]
    assert families.catalogue() == (*own, *CHECKPOINTS)

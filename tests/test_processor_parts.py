"""Processors whose class wants parts for video and audio: they load, work and are saved without."""

import json

import pytest
import transformers
from PIL import Image
from transformers import AutoConfig, AutoModelForImageTextToText, ProcessorMixin
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

from tests.support.native import pil_class, read_processor, write_processor
from tests.support.tiny import tokenizer
from vlm.errors import RequestError
from vlm.processor_parts import UNUSED, UnusedPart, image_text_only, with_plain_marks


def with_unused_parts() -> list[str]:
    """Model types whose processor wants more than images and text, and that can be had here."""
    kinds = [
        kind
        for kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
        if kind in PROCESSOR_MAPPING_NAMES and pil_class(kind)
    ]
    classes = {kind: getattr(transformers, PROCESSOR_MAPPING_NAMES[kind]) for kind in kinds}
    dummies = {kind for kind, each in classes.items() if hasattr(each, "is_dummy")}
    return [
        kind
        for kind, each in classes.items()
        if kind not in dummies and set(each.get_attributes()) & set(UNUSED)
    ]


KINDS = with_unused_parts()


def saved(processor, folder) -> dict:
    processor.save_pretrained(folder)
    return json.loads((folder / "processor_config.json").read_text(encoding="utf-8"))


def test_there_are_many_and_they_differ():
    orders = {tuple(read_parts(kind)) for kind in KINDS}
    assert {"qwen2_5_vl", "gemma4", "gemma3n", "minicpmv4_6", "llava_next_video"} <= set(KINDS)
    assert len(orders) >= 6


def read_parts(kind: str) -> list[str]:
    return getattr(transformers, PROCESSOR_MAPPING_NAMES[kind]).get_attributes()


@pytest.mark.parametrize("kind", KINDS)
def test_it_loads_reads_a_picture_and_is_saved(kind, tmp_path):
    write_processor(
        tmp_path, kind, font="none.ttf"
    )  # one class looks for such a file when it is saved
    processor = read_processor(tmp_path)
    assert AutoConfig.for_model(kind).__class__ in AutoModelForImageTextToText._model_mapping
    for name in read_parts(kind):
        part = getattr(processor, name)
        assert isinstance(part, UnusedPart) == (name in UNUSED)
        if name in UNUSED:
            with pytest.raises(RequestError, match=name):
                part("a clip")
    picture = Image.new("RGB", (70, 50), "red")
    seen = processor.image_processor([picture], return_tensors="pt")
    assert any(name.startswith("pixel_values") for name in seen)
    written = saved(processor, tmp_path / "again")
    assert not set(written) & set(UNUSED)
    assert written["processor_class"] == PROCESSOR_MAPPING_NAMES[kind]
    (tmp_path / "again" / "config.json").write_bytes((tmp_path / "config.json").read_bytes())
    again = read_processor(tmp_path / "again")
    assert type(again).__name__ == PROCESSOR_MAPPING_NAMES[kind]
    assert again.to_dict() == processor.to_dict()
    assert again.chat_template == processor.chat_template


STORED = {"video_processor_type": "SomeVideoProcessor", "fps": 3, "size": {"shortest_edge": 9}}


def test_settings_of_a_part_are_kept_wherever_they_stood(tmp_path):
    write_processor(tmp_path, "qwen2_5_vl")
    file = tmp_path / "video_preprocessor_config.json"
    file.write_text(json.dumps(STORED), encoding="utf-8")
    processor = read_processor(tmp_path)
    assert (processor.video_processor.fps, processor.video_processor.size) == (
        3,
        {"shortest_edge": 9},
    )
    again = tmp_path / "again"
    assert saved(processor, again)["video_processor"] == STORED
    (again / "config.json").write_bytes((tmp_path / "config.json").read_bytes())
    once_more = read_processor(again)
    assert once_more.video_processor.fps == 3
    assert saved(once_more, tmp_path / "last")["video_processor"] == STORED


def test_what_the_files_leave_out_is_what_the_class_declares(tmp_path):
    """The published MiniCPM-V 4.6 has the settings of its image processor and no others."""
    write_processor(tmp_path, "minicpmv4_6", slice_mode=False, scale_resolution=64)
    part = read_processor(tmp_path).video_processor
    assert (part.slice_mode, part.scale_resolution) == (False, 64)  # shared by images and video
    assert part.stack_frames == 1  # of the class; nothing else knows it
    assert part.num_frames is None  # every video part has it
    assert not hasattr(part, "no_such_setting")


@pytest.mark.parametrize("name", ["logging", "pipeline", "NoSuchClass", "ProcessorMixin"])
def test_a_class_that_is_none_of_a_video_part_declares_nothing_harmful(name, tmp_path):
    write_processor(tmp_path, "qwen2_5_vl", video_processor_type=name)
    part = read_processor(tmp_path).video_processor
    assert part.video_processor_type == name
    assert part.fps is None


@pytest.mark.parametrize("keywords", [False, True])
@pytest.mark.parametrize("order", ["video first", "video last"])
def test_neither_order_nor_keywords_matter(keywords, order, tmp_path):
    class First(ProcessorMixin):
        def __init__(self, video_processor, feature_extractor, tokenizer, image_processor, **rest):
            parts = (video_processor, feature_extractor, tokenizer, image_processor)
            self.rate = feature_extractor.sampling_rate
            super().__init__(*parts, **rest)

    class Last(ProcessorMixin):
        def __init__(self, image_processor=None, tokenizer=None, video_processor=None, **rest):
            super().__init__(
                image_processor=image_processor,
                tokenizer=tokenizer,
                video_processor=video_processor,
                **rest,
            )

    kind = image_text_only(First if order == "video first" else Last)
    pixels = transformers.CLIPImageProcessor()
    parts = {"image_processor": pixels, "tokenizer": tokenizer("<image>")}
    whole = {name: parts.get(name) or UnusedPart(name) for name in kind.get_attributes()}
    processor = kind(**whole) if keywords else kind(*whole.values())
    assert {name: getattr(processor, name) for name in whole} == whole
    assert set(saved(processor, tmp_path)) & set(whole) == {"image_processor"}


def test_a_processor_of_images_and_text_stays_as_it_is():
    assert image_text_only(transformers.LlavaProcessor) is transformers.LlavaProcessor
    assert with_plain_marks(transformers.LlavaProcessor) is transformers.LlavaProcessor

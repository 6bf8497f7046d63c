"""A tower alone gives the features that it gives inside, under every name it goes by."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    Dinov2Config,
    Dinov2Model,
    LlamaConfig,
    PreTrainedModel,
    Siglip2Config,
    Siglip2Model,
    Siglip2VisionConfig,
    Siglip2VisionModel,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    ViTConfig,
    ViTModel,
)
from transformers import SiglipVisionModel as Native

from tests.support.fakes import photo
from vlm import families
from vlm.errors import ModelError, RequestError
from vlm.loading import load
from vlm.messages import user_message
from vlm.reading import PromptReader
from vlm.tower import load_tower

SIZES = {
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 3,
    "image_size": 28,
    "patch_size": 14,
}
PIXELS = torch.linspace(-1, 1, 3 * 28 * 28).reshape(1, 3, 28, 28)


def test_inside_a_checkpoint_of_the_family(tmp_path: Path) -> None:
    source = families.families()["paligemma"].tiny(tmp_path)
    tower = load_tower(source)
    loaded = load(source, quantization="none", device="cpu", dtype="float32")
    reader = PromptReader(loaded.model, loaded.processor)
    images = [photo(), photo("LA", (33, 70), seed=2)]
    pixels = reader.prepare([user_message("?", images)], {})["pixel_values"]
    with torch.inference_mode():
        expected = loaded.model.model.vision_tower(pixels).last_hidden_state
    assert torch.equal(tower.embed(images), expected)
    torch.testing.assert_close(tower.summarise(images), expected.mean(dim=1))


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("spelling", ["published", "hand-written"])
def test_on_its_own(tmp_path: Path, head: bool, spelling: str) -> None:
    torch.manual_seed(0)
    model = Native(SiglipVisionConfig(**SIZES, vision_use_head=head)).eval()
    model.save_pretrained(tmp_path)
    if spelling == "hand-written":
        _respell(tmp_path / "model.safetensors")
    tower = load_tower(str(tmp_path)).model
    with torch.inference_mode():
        assert torch.equal(tower(PIXELS).last_hidden_state, model(PIXELS).last_hidden_state)
        if head:
            torch.testing.assert_close(tower(PIXELS).pooler_output, model(PIXELS).pooler_output)


def test_without_its_pooling_head(tmp_path: Path) -> None:
    model = Native(SiglipVisionConfig(**SIZES)).eval()
    model.save_pretrained(tmp_path)  # its configuration speaks of a head
    file = tmp_path / "model.safetensors"
    state = {name: value for name, value in load_file(file).items() if "head." not in name}
    save_file(state, file, metadata={"format": "pt"})
    tower = load_tower(str(tmp_path))
    with torch.inference_mode():
        expected = model(PIXELS).last_hidden_state
        assert torch.equal(tower.model(PIXELS).last_hidden_state, expected)
    assert tower.summarise([photo()]).shape == (1, 24)


def _respell(file: Path) -> None:
    spellings = {
        "position_embedding.": "position_embeddings.",
        "post_layernorm.": "post_layer_norm.",
    }
    state = load_file(file)
    for ours, theirs in spellings.items():
        state = {name.replace(ours, theirs): tensor for name, tensor in state.items()}
    assert any("post_layer_norm" in name for name in state)
    save_file(state, file, metadata={"format": "pt"})


def test_inside_siglip_with_its_text_tower(tmp_path: Path) -> None:
    text = {**SIZES, "vocab_size": 50, "projection_size": 24}
    model = SiglipModel(SiglipConfig(vision_config=SIZES, text_config=text)).eval()
    model.save_pretrained(tmp_path)
    with torch.inference_mode():
        expected = model.vision_model(PIXELS).pooler_output
        torch.testing.assert_close(load_tower(str(tmp_path)).model(PIXELS).pooler_output, expected)


def test_what_has_no_such_tower(tmp_path: Path) -> None:
    LlamaConfig().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="'llama' model without a vision tower"):
        load_tower(str(tmp_path))


def test_missing_tensors_are_named(tmp_path: Path) -> None:
    Native(SiglipVisionConfig(**SIZES)).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    state = {k: v for k, v in load_file(file).items() if "fc1" not in k}
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="fc1"):
        load_tower(str(tmp_path))


# ---- towers of every kind ----

TEXT = {**SIZES, "vocab_size": 50, "projection_dim": 24, "projection_size": 24}
TEXT |= {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
PLAIN = {name: SIZES[name] for name in SIZES if name != "intermediate_size"}
BUILDERS: dict[str, Callable[[], PreTrainedModel]] = {
    "CLIP": lambda: CLIPModel(CLIPConfig(vision_config=SIZES, text_config=TEXT, projection_dim=24)),
    "CLIP's tower": lambda: CLIPVisionModel(CLIPVisionConfig(**SIZES)),
    "CLIP's tower with a projection": lambda: CLIPVisionModelWithProjection(
        CLIPVisionConfig(**SIZES, projection_dim=12)
    ),
    "SigLIP 2": lambda: Siglip2Model(
        Siglip2Config(vision_config={**SIZES, "num_patches": 16}, text_config=TEXT)
    ),
    "SigLIP 2's tower": lambda: Siglip2VisionModel(Siglip2VisionConfig(**SIZES, num_patches=16)),
    "DINOv2": lambda: Dinov2Model(Dinov2Config(**PLAIN)),
    "ViT": lambda: ViTModel(ViTConfig(**SIZES)),
}


@pytest.fixture(params=BUILDERS)
def built(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[PreTrainedModel, str]:
    """(the model, the folder that holds it without a word about its pixels)."""
    torch.manual_seed(0)
    model = BUILDERS[request.param]().eval()
    model.save_pretrained(tmp_path)
    return model, str(tmp_path)


def test_every_kind_sees_what_its_own_class_sees(built: tuple[PreTrainedModel, str]) -> None:
    model, source = built
    tower = load_tower(source)
    images = [photo(), photo("LA", (40, 90), seed=2)]
    inside = getattr(model, "vision_model", model)
    pixels = tower.image_processor(
        [image.pixels.convert("RGB") for image in images], return_tensors="pt"
    )
    with torch.inference_mode():
        expected = inside(**pixels)
    mask = pixels.get("pixel_attention_mask")  # else 4 patches and a class token
    longest = 5 if mask is None else int(mask.sum(dim=1).max())
    seen = tower.see(images)
    assert seen.features.shape == (2, longest, 24)
    torch.testing.assert_close(seen.features, expected.last_hidden_state[:, :longest])
    torch.testing.assert_close(seen.pooled, expected.pooler_output)
    assert seen.own_pooling


def test_padding_is_no_patch(tmp_path: Path) -> None:
    """A photo at its own shape does not fill its places; the mean leaves out the others too."""
    torch.manual_seed(0)
    config = Siglip2VisionConfig(**SIZES, num_patches=16, vision_use_head=False)
    Siglip2VisionModel(config).save_pretrained(tmp_path)
    tower = load_tower(str(tmp_path))
    wide, narrow = photo(size=(96, 64)), photo(size=(40, 90))
    alone = [tower.see([image]) for image in (wide, narrow)]
    counts = [seen.features.shape[1] for seen in alone]
    assert len(set(counts)) == 2
    both = tower.see([wide, narrow])
    assert both.features.shape == (2, max(counts), 24)
    assert not both.own_pooling
    for index, (seen, count) in enumerate(zip(alone, counts, strict=True)):
        torch.testing.assert_close(both.features[index, :count], seen.features[0])
        torch.testing.assert_close(both.pooled[index], seen.features[0].mean(dim=0))


def test_pixels_are_prepared_as_the_checkpoint_says(tmp_path: Path) -> None:
    CLIPVisionModel(CLIPVisionConfig(**SIZES)).save_pretrained(tmp_path)
    usual = load_tower(str(tmp_path)).image_processor
    assert usual.crop_size.height == usual.size.shortest_edge == 28
    CLIPImageProcessor(
        size={"height": 28, "width": 28}, do_center_crop=False, image_mean=[0.1, 0.2, 0.3]
    ).save_pretrained(tmp_path)
    own = load_tower(str(tmp_path)).image_processor
    assert (own.do_center_crop, list(own.image_mean)) == (False, [0.1, 0.2, 0.3])
    CLIPImageProcessor(
        size={"shortest_edge": 42}, crop_size={"height": 42, "width": 42}
    ).save_pretrained(tmp_path)
    with pytest.raises(RequestError, match=r"42\*42"):
        load_tower(str(tmp_path)).embed([photo()])


def test_weights_in_half_precision(tmp_path: Path) -> None:
    CLIPVisionModel(CLIPVisionConfig(**SIZES)).save_pretrained(tmp_path)
    tower = load_tower(str(tmp_path), torch.bfloat16)
    assert tower.precision == "bf16"
    assert tower.embed([photo()]).dtype == torch.bfloat16

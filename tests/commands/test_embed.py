"""`python -m vlm embed`: one tensor an image in a file that says what it holds."""

import json
import os
import signal
from pathlib import Path

import numpy
import pytest
import torch
from safetensors import safe_open
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from tests.support.fakes import photo_bytes
from vlm import embedding
from vlm.commands import embed
from vlm.engine import Engine
from vlm.images import open_image
from vlm.messages import user_message

SIZES = {
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 3,
    "image_size": 28,
    "patch_size": 14,
}
WORDS = {**SIZES, "vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder "photos" with three of them, below the present one."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for seed, name in enumerate(["img1.png", "img2.png", "img10.png"]):
        Path("photos", name).write_bytes(photo_bytes(seed=seed, size=(96 - seed, 64)))


@pytest.fixture
def tower(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tower")
    torch.manual_seed(0)
    CLIPVisionModel(CLIPVisionConfig(**SIZES)).save_pretrained(folder)
    return ["--model", str(folder), "--device", "cpu", "--dtype", "float32"]


def read(path: str = "out.safetensors") -> tuple[dict[str, numpy.ndarray], dict]:
    with safe_open(path, "numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = dict(file.metadata())
    return arrays, {**metadata, "images": json.loads(metadata["images"])}


# ---- models that answer ----


@pytest.mark.parametrize(
    ("stage", "traced", "shape"),
    [("tower", "vision_tower", [1, 64, 1280]), ("projector", "projector", [1, 16, 576])],
)
def test_the_embedded_model(stage, traced, shape, photos, run):
    words = ["--stage", stage, "--out", "out.safetensors", "--device", "cpu"]
    ran = run("embed", "photos", *words, "--dtype", "float32")
    assert ran.status == 0
    axes = f"{shape[0]} tiles x {shape[1]} positions x {shape[2]} width"
    assert ran.out == "".join(f"img{number}.png\t{axes}\n" for number in (1, 2, 10))
    arrays, metadata = read()
    sizes = {"img1.png": [96, 64], "img2.png": [95, 64], "img10.png": [94, 64]}
    assert metadata == {
        "model": "pocket",
        "stage": stage,
        "computed_in": "fp32",
        "images": {
            name: {"size": size, "shape": shape, "axes": ["tiles", "positions", "width"]}
            for name, size in sizes.items()
        },
    }
    engine = Engine.load("pocket", device="cpu", dtype="float32")
    for name, array in arrays.items():
        assert array.dtype == numpy.float32
        image = open_image(Path("photos", name))
        stages = {each.name: each.array for each in engine.trace([user_message("?", [image])])}
        numpy.testing.assert_array_equal(array, stages[traced])
        if stage == "projector":
            inputs = engine.prepare([user_message("?", [image])])
            with torch.inference_mode():
                direct = engine.model.get_image_features(inputs["pixel_values"]).pooler_output
            numpy.testing.assert_array_equal(array, direct.numpy())
    engine.close()


def test_tiles_of_one_image_are_together(photos, run, checkpoints):
    model = ["--model", str(checkpoints["smolvlm"]), "--device", "cpu"]
    words = ["embed", "photos/img1.png", *model, "--out", "out.safetensors"]
    assert run(*words, "--pooled").status == 0
    arrays, metadata = read()
    assert {name: array.shape for name, array in arrays.items()} == {
        "img1.png": (5, 16, 64),
        "img1.png:pooled": (5, 64),
    }
    assert metadata["images"]["img1.png"]["pooled_shape"] == [5, 64]
    ran = run(*words, "--force", "--image-detail", "splitting=0")
    assert ran.out == "img1.png\t1 tiles x 16 positions x 64 width\n"


# ---- towers alone ----


@pytest.mark.parametrize(
    "make",
    [
        lambda: CLIPVisionModel(CLIPVisionConfig(**SIZES)),
        lambda: CLIPModel(CLIPConfig(vision_config=SIZES, text_config=WORDS, projection_dim=24)),
        lambda: SiglipVisionModel(SiglipVisionConfig(**SIZES)),
        lambda: SiglipModel(
            SiglipConfig(vision_config=SIZES, text_config={**WORDS, "projection_size": 24})
        ),
    ],
    ids=["CLIP's tower", "CLIP", "SigLIP's tower", "SigLIP"],
)
def test_a_tower_alone(make, photos, run, tmp_path):
    torch.manual_seed(0)
    model = make().eval()
    model.save_pretrained(tmp_path / "tower")
    words = ["--model", "tower", "--device", "cpu", "--dtype", "float32", "--pooled"]
    ran = run("embed", "photos", *words, "--out", "out.safetensors")
    assert ran.status == 0
    assert "mean" not in ran.err
    arrays, metadata = read()
    assert (metadata["model"], metadata["pooled"]) == ("tower", "own")
    inside = getattr(model, "vision_model", model)
    pixels = embedding.load_tower(str(tmp_path / "tower")).image_processor
    for name in metadata["images"]:
        image = open_image(Path("photos", name))
        with torch.inference_mode():
            expected = inside(**pixels([image.pixels], return_tensors="pt"))
        numpy.testing.assert_allclose(arrays[name], expected.last_hidden_state, atol=1e-6)
        numpy.testing.assert_allclose(arrays[name + ":pooled"], expected.pooler_output, atol=1e-6)
    assert len(arrays) == 6


def test_a_tower_without_a_pooling_of_its_own(photos, run, tmp_path):
    model = SiglipVisionModel(SiglipVisionConfig(**SIZES, vision_use_head=False))
    model.save_pretrained(tmp_path / "tower")
    words = ["embed", "photos", "--model", "tower", "--device", "cpu", "--pooled"]
    ran = run(*words, "--out", "out.safetensors")
    assert ran.status == 0
    assert "tower has no pooled embedding of its own: the mean over the positions" in ran.err
    arrays, metadata = read()
    assert metadata["pooled"] == "mean"
    mean = arrays["img1.png"].mean(axis=1)
    numpy.testing.assert_allclose(arrays["img1.png:pooled"], mean, atol=0.02)  # summed in bf16


# ---- pictures ----


def test_files_and_folders(photos, run, tower):
    Path("photos/more").mkdir()
    Path("photos/img2.png").rename("photos/more/img2.png")
    words = [*tower, "--out", "out.safetensors"]
    run("embed", "photos/img10.png", "photos", *words)
    assert list(read()[1]["images"]) == ["img10.png", "img1.png"]
    run("embed", "photos", *words, "--recursive", "--force")
    assert list(read()[1]["images"]) == ["img1.png", "img10.png", "more/img2.png"]


def test_names_that_are_the_same(photos, run, tower):
    Path("img1.png").write_bytes(photo_bytes(seed=5))
    ran = run("embed", "photos/img1.png", "img1.png", *tower, "--out", "out.safetensors")
    assert ran.status == 0
    arrays, _ = read()
    assert not numpy.array_equal(arrays["photos/img1.png"], arrays["img1.png"])


def test_what_is_no_image_does_not_stop_the_others(photos, run, tower):
    Path("photos/img2.png").write_bytes(photo_bytes()[:200])
    ran = run("embed", "photos", "none.png", *tower, "--out", "out.safetensors")
    assert ran.status == 1
    assert [line.partition("\t")[0] for line in ran.out.splitlines()] == ["img1.png", "img10.png"]
    assert "\nimg2.png is damaged or incomplete." in ran.err
    assert "\nThere is no file none.png." in ran.err
    assert "\n4 of 4 images, " in ran.err
    assert ran.err.endswith("2 of 4 images are in out.safetensors, 2 failed\n")
    assert list(read()[0]) == ["img1.png", "img10.png"]


def test_without_any_image_there_is_no_file(run, tower, photos):
    ran = run("embed", "none.png", *tower, "--out", "out.safetensors")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.endswith("1 of 1 images failed; out.safetensors was not written\n")
    assert os.listdir() == ["photos"]


# ---- the file ----


def test_a_file_that_exists_is_kept_unless_told(photos, run, tower):
    Path("out.safetensors").write_bytes(b"old")
    ran = run("embed", "photos", *tower, "--out", "out.safetensors")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("out.safetensors exists already. Give --out another file, or --force")
    assert Path("out.safetensors").read_bytes() == b"old"
    assert run("embed", "photos", *tower, "--out", "out.safetensors", "--force").status == 0
    assert len(read()[0]) == 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["photos", "--stage", "projector", "--pooled"], "--pooled is for --stage tower, and"),
        (["photos", "--out", "no/out.safetensors"], "no/out.safetensors cannot be written (No"),
        (["empty"], "There are no files in empty."),
        (["photos", "--image-detail", "tiles"], "tiles"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_model_is_loaded(
    words, sentence, photos, run, monkeypatch
):
    Path("empty").mkdir()
    monkeypatch.setattr(embedding, "open_embedder", lambda *_: pytest.fail("loaded"))
    ran = run("embed", "--out", "out.safetensors", *words)
    assert (ran.status, ran.out) == (1, "")
    assert sentence in ran.err
    assert ran.err.count("\n") == 1
    assert sorted(os.listdir()) == ["empty", "photos"]


def test_what_the_model_does_not_show(photos, run, tower):
    ran = run("embed", "photos", *tower, "--stage", "projector", "--out", "out.safetensors")
    assert (ran.status, ran.out) == (1, "")
    assert "does not show what its projector makes of an image." in ran.err
    assert os.listdir() == ["photos"]


@pytest.mark.parametrize("when", ["loading", "embedding"])
def test_ctrl_c_leaves_nothing(when, photos, run, tower, monkeypatch):
    seen = []

    def press(*arguments):
        seen.append(arguments)
        signal.raise_signal(signal.SIGINT)
        return embed_one(*arguments)

    embed_one = embed.open_source
    if when == "loading":
        monkeypatch.setattr(embedding, "open_embedder", press)
    else:
        monkeypatch.setattr(embed, "open_source", press)
    ran = run("embed", "photos", *tower, "--out", "out.safetensors")
    assert ran.status == 130
    done = 0 if when == "loading" else 1
    assert ran.err.endswith(f"Stopped with {done} of 3 images done. Nothing was written.\n")
    assert (len(seen), os.listdir()) == (1, ["photos"])

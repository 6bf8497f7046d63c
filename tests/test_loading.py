"""Checkpoints that cannot be loaded: a sentence each, and nothing in them is ever run."""

import json
import pickle
import shutil
import socket

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.native import write_processor
from vlm.errors import ModelError, SettingError
from vlm.loading import load
from vlm.strings import LANGUAGES, say


@pytest.fixture
def folder(checkpoints, tmp_path):
    """A complete checkpoint to be spoiled."""
    return shutil.copytree(checkpoints["llava"], tmp_path / "checkpoint")


def refusal(source):
    with pytest.raises(ModelError) as caught:
        load(str(source), quantization="none", dtype="float32")
    assert str(source) in str(caught.value)
    return caught.value.key


def test_a_complete_folder_loads_in_evaluation_mode(folder):
    loaded = load(str(folder), quantization="none", dtype="float32")
    assert not loaded.model.training
    assert loaded.model.dtype == torch.float32


def test_no_config(folder):
    (folder / "config.json").unlink()
    assert refusal(folder) == "no_config"


def test_no_weights(folder):
    (folder / "model.safetensors").unlink()
    assert refusal(folder) == "no_weights"


def test_weights_that_were_cut_off(folder):
    whole = (folder / "model.safetensors").read_bytes()
    for size in (len(whole) - 100, 5000, 3, 0):
        (folder / "model.safetensors").write_bytes(whole[:size])
        assert refusal(folder) == "weights_damaged", size


def test_an_empty_folder_a_file_and_nothing(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty") == "no_config"
    assert refusal(tmp_path / "file") == "not_a_folder"
    assert refusal(tmp_path / "missing") == "no_such_checkpoint"
    assert refusal("no-such-name") == "no_such_checkpoint"


def test_a_hub_id_without_a_network(monkeypatch):
    def refused(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refused)
    assert refusal("owner/some-model") == "hub_unreachable"


def test_parts_of_the_hub_without_a_network(folder):
    """It is the network that is missing, not a form of the name."""
    with pytest.raises(ModelError) as caught:
        load(f"{folder}+owner/tower", quantization="none")
    assert (caught.value.key, caught.value.facts["source"]) == ("hub_unreachable", "owner/tower")


def test_parts_that_do_not_belong_together(folder):
    assert refusal(f"{folder}+{folder}") == "no_such_checkpoint"


def test_pickled_code_is_never_run(folder, tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    (folder / "model.safetensors").unlink()
    with open(folder / "pytorch_model.bin", "wb") as file:
        pickle.dump({"weight": Payload()}, file)
    assert refusal(folder) == "pickled_code"
    assert not (tmp_path / "ran").exists()


def test_remote_code_is_never_run(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "their_own", "auto_map": {"AutoConfig": "theirs.TheirConfig"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert refusal(folder) == "needs_own_code"
    assert not (tmp_path / "ran").exists()


def test_a_text_model(folder):
    config = json.loads((folder / "config.json").read_text())["text_config"]
    (folder / "config.json").write_text(json.dumps(config))
    assert refusal(folder) == "not_image_to_text"


@pytest.mark.parametrize(
    ("kind", "package"),
    [("lfm2_vl", "torchvision"), ("mistral3", "torchvision"), ("gemma3n", "timm")],
)
def test_a_package_that_is_not_here_is_named(kind, package, tmp_path):
    """An image processor, a whole processor, a tower: transformers says each in another way."""
    write_processor(tmp_path, kind)
    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError) as caught:
        load(str(tmp_path), quantization="none")
    assert (caught.value.key, caught.value.facts["package"]) == ("package_missing", package)
    for language in LANGUAGES:
        sentence = say("error.package_missing", language, **caught.value.facts)
        assert package in sentence
        assert "Error" not in sentence


def rewrite(folder, change):
    """Changes the stored tensors: a function of name -> tensor."""
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


PROJECTOR = "model.multi_modal_projector.linear_1.bias"
STORED_PROJECTOR = "multi_modal_projector.linear_1.bias"


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_nothing_is_initialised_silently(folder, quantization):
    rewrite(folder, lambda weights: weights.pop(STORED_PROJECTOR))
    with pytest.raises(ModelError, match=rf"expected; missing: {PROJECTOR}\.") as caught:
        load(str(folder), quantization=quantization, device="cpu", dtype="float32")
    facts = caught.value.facts
    assert facts["expected"] - facts["found"] == 1
    assert facts["folder"] == str(folder)


def test_another_shape_is_told(folder):
    rewrite(folder, lambda weights: weights.update({STORED_PROJECTOR: torch.zeros(3)}))
    with pytest.raises(ModelError, match=rf"{PROJECTOR} in .* shape \(3,\), but \(64,\) is"):
        load(str(folder), quantization="none", dtype="float32")


@pytest.mark.parametrize("part", ["text_config", "vision_config"])
def test_no_layer_stays_unread(folder, part):
    config = json.loads((folder / "config.json").read_text())
    assert config[part]["num_hidden_layers"] == 2
    config[part]["num_hidden_layers"] = 1
    config["vision_feature_layer"] = -1
    (folder / "config.json").write_text(json.dumps(config))
    assert refusal(folder) == "tensors_unexpected"


@pytest.mark.parametrize(
    "name",
    [
        "language_model.model.layers.1.self_attn.rotary_emb.inv_freq",
        "vision_tower.vision_model.embeddings.position_ids",
        "language_model.model.layers.0.mtp.norm.weight",
        "value_head.0.weight",
    ],
)
def test_what_only_training_needed_may_be_there(folder, name):
    """As in many published files."""
    rewrite(folder, lambda weights: weights.update({name: torch.ones(4)}))
    load(str(folder), quantization="none", dtype="float32")


def test_an_unknown_device_names_those_here(folder):
    with pytest.raises(SettingError, match="auto, cpu"):
        load(str(folder), device="abacus")

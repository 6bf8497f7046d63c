"""`python -m vlm info`: the parts of a model and their parameters."""

import shutil

import pytest

from tests.support.goldens import CHECKPOINTS

LINEARS = 30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536) / 1e6
"""Millions of weights in the language model's linear layers: attention and feed-forward."""


def table(out: str) -> dict[str, list[float]]:
    """Part -> total, trainable, quantised."""
    rows = [line.split() for line in out.splitlines()[3:]]
    return {name: [float(number) for number in numbers] for name, *numbers in rows}


def test_parts_of_the_embedded_model(run):
    ran = run("info", "--device", "cpu", "--quantization", "none")
    assert (ran.status, ran.err) == (0, "loading the model …\n")
    assert ran.out.startswith(
        "Pocket 135M: PocketForConditionalGeneration (pocket)\nweights bf16 on cpu\n"
    )
    assert table(ran.out) == {
        "vision_tower": [4.81, 4.81, 0],
        "multi_modal_projector": [6.57, 6.57, 0],
        "language_model": [134.52, 134.52, 0],
        "lm_head": [0, 0, 0],  # shared with the embedding
        "total": [145.90, 145.90, 0],
    }
    columns = {len(line) for line in ran.out.splitlines()[2:]}
    assert len(columns) == 1


def test_four_bits_are_for_the_language_models_layers(run):
    ran = run("info", "pocket", "--device", "cpu", "--quantization", "nf4")
    assert "weights nf4 on cpu" in ran.out
    parts = table(ran.out)
    assert parts["language_model"] == [134.52, 28.35, round(LINEARS, 2)]
    assert parts["total"] == [145.90, 39.73, round(LINEARS, 2)]
    assert parts["vision_tower"][2] == parts["multi_modal_projector"][2] == 0


def test_no_such_checkpoint(run):
    ran = run("info", "nowhere")
    assert (ran.status, ran.out) == (1, "")
    assert "There is no checkpoint 'nowhere'" in ran.err
    assert "Built in: pocket." in ran.err


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda path: path.parent.name)
def test_checkpoints_of_the_goldens(run, checkpoint):
    ran = run("info", str(checkpoint), "--device", "cpu", "--quantization", "none")
    assert (ran.status, ran.err) == (0, "loading the model …\n")
    parts = table(ran.out)
    assert {"vision_tower", "language_model", "total"} <= parts.keys()


def test_a_tokenizer_from_elsewhere(run, tmp_path):
    checkpoint = next(path for path in CHECKPOINTS if "internvl" in str(path))
    for file in checkpoint.iterdir():
        if not file.name.startswith("tokenizer"):
            shutil.copy(file, tmp_path)
    ran = run("info", str(tmp_path), "--device", "cpu")
    assert (ran.status, ran.out) == (1, "")
    assert "has no tokenizer" in ran.err
    assert "--tokenizer" in ran.err
    ran = run("info", str(tmp_path), "--device", "cpu", "--tokenizer", str(checkpoint))
    assert ran.status == 0

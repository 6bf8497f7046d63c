"""`python -m vlm trace`: stages in numbers, as a table or as JSON."""

import json

import pytest

from tests.support.fakes import photo_bytes
from tests.support.goldens import CHECKPOINTS


def test_a_row_for_each_stage(run, tmp_path):
    (tmp_path / "photo.png").write_bytes(photo_bytes())
    ran = run("trace", str(tmp_path / "photo.png"), "-p", "What?", "--device", "cpu")
    assert (ran.status, ran.err) == (0, "loading the model …\n")
    rows = [line.split("\t") for line in ran.out.splitlines()]
    assert rows[0][:2] == ["input_ids", "1 batch x 28 tokens"]
    assert rows[1][:3] == [
        "pixel_values",
        "1 images x 3 channels x 256 height x 256 width",
        "float32",
    ]
    at = next(number for number, row in enumerate(rows) if row[0] == "logits")
    assert rows[at][:4] == ["logits", "1 batch x 1 tokens x 49152 words", "bfloat16", "cpu"]
    low, mean, high = map(float, rows[at][4:])
    assert low < mean < high
    assert rows[at + 1] == ["Image 1 · Tile 1: 16 tokens, 3 to 18 of the prompt"]
    assert rows[at + 2] == ["The likeliest next tokens"]
    shares = [float(share.removesuffix(" %")) for _, share in rows[at + 3 :]]
    assert len(shares) == 5 and shares == sorted(shares, reverse=True)


def test_json_says_where_images_stand_and_what_comes_next(run, tmp_path):
    files = [tmp_path / "first.png", tmp_path / "second.png"]
    for number, file in enumerate(files):
        file.write_bytes(photo_bytes(seed=number))
    ran = run("trace", *map(str, files), "-p", "What?", "--json", "--device", "cpu")
    rows = {row["name"]: row for row in json.loads(ran.out)}
    first, second = rows["inputs_embeds"]["images"]
    assert (first["image"], second["image"]) == (1, 2)
    (begin, end), (again, after) = first["tokens"][0], second["tokens"][0]
    assert end - begin == after - again == 16 and end <= again
    assert after < rows["inputs_embeds"]["shape"][1]
    assert [row["device"] for row in rows.values()] == ["cpu"] * len(rows)
    likeliest = rows["logits"]["likeliest"]
    assert len(likeliest) == 5 and likeliest[0]["probability"] > likeliest[1]["probability"]
    assert not any("tokens_about" in row for row in rows.values())


def test_json(run):
    ran = run("trace", "-p", "What?", "--system-prompt", "Be brief.", "--json", "--device", "cpu")
    rows = json.loads(ran.out)
    assert [row["name"] for row in rows] == [
        "input_ids",
        "inputs_embeds",
        "logits",
    ]  # there is no image
    assert [len(row["shape"]) for row in rows] == [len(row["axes"]) for row in rows]


def untimed(out):
    """The rows that `--json` prints, without how long each took."""
    return [{**row, "seconds": None} for row in json.loads(out)]


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda path: path.parent.name)
def test_checkpoints_of_the_goldens(run, checkpoint, tmp_path):
    (tmp_path / "photo.png").write_bytes(photo_bytes())
    words = [str(tmp_path / "photo.png"), "-p", "What?", "--json", "--device", "cpu"]
    ran = run("trace", *words, "--model", str(checkpoint))
    assert (ran.status, ran.err) == (0, "loading the model …\n")
    rows, again = untimed(ran.out), untimed(run("trace", str(checkpoint), *words).out)
    names = [row["name"] for row in rows]
    assert names[-1] == "logits"
    assert {"pixel_values", "inputs_embeds"} <= set(names)
    assert again == rows


def test_a_folder_alone_is_shown_with_a_photo_that_comes_along(run):
    """The same way of naming a model as `info` has."""
    words = [str(CHECKPOINTS[0]), "--json", "--device", "cpu"]
    ran = run("trace", *words)
    assert ran.status == 0
    assert ran.err.splitlines()[0] == (
        "no image and no prompt: looking at the example photo cat.jpg"
    )
    assert "pixel_values" in [row["name"] for row in json.loads(ran.out)]
    assert run("trace", *words, "-p", "What?").err == "loading the model …\n"


def test_only_the_first_folder_is_the_models(run):
    folder = str(CHECKPOINTS[0])
    ran = run("trace", folder, folder)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == "checkpoint is a folder, not a picture. Choose a file in it.\n"


def test_without_weights(run, tmp_path):
    (tmp_path / "photo.png").write_bytes(photo_bytes(size=(600, 400)))
    words = ["trace", str(tmp_path / "photo.png"), "-p", "What?", "--no-weights"]
    ran = run(*words, "--json", "--model", "openbmb/MiniCPM-V-2_6")
    assert ran.status == 0
    notes = ran.err.splitlines()
    assert notes[0] == "No weights: shapes only" and "counted in bytes" in notes[1]
    rows = {row["name"]: row for row in json.loads(ran.out)}
    assert rows["projector"]["shape"] == [3, 64, 3584]
    assert rows["projector"]["dtype"] == "bfloat16" and "mean" not in rows["projector"]
    assert rows["tgt_sizes"]["max"] > 20  # sizes are real
    assert rows["input_ids"]["tokens_about"] and "tokens_about" not in rows["logits"]
    assert rows["logits"]["likeliest"] == []
    ran = run(*words, "--model", "openbmb/MiniCPM-V-2_6")
    assert "3 images x 64 queries x 3584 width\tbfloat16\tmeta\n" in ran.out
    assert "\ninput_ids\t1 batch x ≈ " in f"\n{ran.out}"
    assert "Image 1 · Thumbnail, the whole photo once more: 64 tokens, ≈ " in ran.out

"""`python -m vlm fit`, `quantize` and `compare-precision` on tiny checkpoints."""

import json

import pytest

from vlm import measured, memory, precision
from vlm.blueprint import Workload, read
from vlm.commands import fit_check


@pytest.fixture
def folder(checkpoints):
    return str(checkpoints["llava"])


def test_a_row_for_each_precision_and_the_advice(run, folder):
    ran = run("fit", folder, "--context", "512", "--images", "2", "--device", "cpu")
    assert ran.status == 0
    rows = [line for line in ran.out.splitlines() if line.startswith(f"| {folder}")]
    assert [row.split(" | ")[1] for row in rows] == ["bf16", "int8", "nf4"]
    assert all(row.endswith("fits |") for row in rows)
    said = "Fits in bf16 as asked: 512 tokens of context, images: 2; "
    assert ran.out.splitlines()[-1].startswith(said)


def test_what_does_not_fit(run, folder, monkeypatch):
    total = read(folder, device="cpu").estimate("nf4", Workload(context=2048)).total
    monkeypatch.setattr(memory, "free_bytes", lambda device: total - 1)
    ran = run("fit", folder, "--context", "2048", "--device", "cpu", "--language", "zh")
    assert "放不下" in ran.out
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1000)
    ran = run("fit", folder, "--device", "cpu")
    assert ran.out.count("too big") == 3
    assert "Nothing fits into 0.00 GB" in ran.out


def test_estimates_are_measured_in_a_process_of_its_own(run, folder, monkeypatch):
    asked = []

    def measured(source, kind, workload, settings):
        asked.append((source, kind, workload.context))
        estimate = read(source, device="cpu").estimate(kind, workload)
        return int(estimate.weights * 1.01), int(estimate.total * (1.2 if kind == "nf4" else 1.05))

    monkeypatch.setattr(fit_check, "_measured", measured)
    ran = run("fit", folder, "--check", "--context", "512", "--device", "cpu")
    assert asked == [(folder, kind, 512) for kind in ("none", "int8", "nf4")]
    assert ran.status == 1  # one is off by more than the target
    assert "| -1.0% |" in ran.out and "| -16.7% |" in ran.out


@pytest.mark.slow
def test_a_real_measurement(run, folder):
    """The model is far smaller than what the libraries take, so only weights are compared."""
    ran = run("fit", folder, "--check", "--context", "512", "--device", "cpu")
    rows = [line.split("|") for line in ran.out.splitlines()[2:]]
    assert len(rows) == 3
    assert all(abs(float(row[5].strip(" %"))) <= 2 for row in rows)


def test_quantize_and_load(run, folder, tmp_path):
    target = str(tmp_path / "small")
    ran = run("quantize", folder, target, "--nf4", "--device", "cpu")
    assert (ran.status, ran.out) == (0, f"{target}: nf4, 0.00 GB; load it with --model {target}\n")
    said = ["reading the configuration …", "loading weights: 0% …", "writing weights: 0% …"]
    assert ran.err.splitlines() == said
    again = run("quantize", folder, target, "--int8", "--device", "cpu")
    assert again.status == 1
    assert "is there already" in again.err
    assert run("quantize", folder, target, "--int8", "--force", "--device", "cpu").status == 0
    assert "int8" in run("info", target, "--device", "cpu").out


def test_compare_precision(run, folder, monkeypatch):
    monkeypatch.setattr(precision, "TOKENS", 4)
    monkeypatch.setattr(precision, "QUESTIONS", ("What?",))
    words = ["compare-precision", folder, "--between", "none", "nf4", "int8", "--device", "cpu"]
    found = json.loads(run(*words, "--json").out)
    assert [(each["reference"], each["other"]) for each in found] == [
        ("bf16", "nf4"),
        ("bf16", "int8"),
    ]
    assert all(0 <= each["top_1"] <= 1 for each in found)
    ran = run(*words)
    assert ran.out.count("| bf16 / ") == 2
    warned = sum(not each["close"] for each in found)
    assert ran.out.count("expect other answers") == warned


@pytest.mark.parametrize("between", [["none"], ["none", "auto"], ["none", "nf5"]])
def test_precisions_that_are_none(run, folder, between):
    ran = run("compare-precision", folder, "--between", *between)
    assert ran.status == 1
    assert "none int8 nf4 fp4" in ran.err


def test_compare_precision_keeps_what_the_list_of_models_says(run, folder, monkeypatch):
    monkeypatch.setattr(precision, "TOKENS", 4)
    monkeypatch.setattr(precision, "QUESTIONS", ("What?",))
    assert run("compare-precision", folder, "--device", "cpu").status == 0
    known = measured.agreement(folder)
    assert known.keys() == {"nf4"}
    assert 0 <= known["nf4"] <= 1
    run("compare-precision", folder, "--between", "int8", "fp4", "--device", "cpu")
    assert measured.agreement(folder) == known  # not held against 16 bits

"""Spacefile is valid, and README's front matter and requirements.txt say the same."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SPACE = yaml.safe_load((ROOT / "Spacefile").read_text(encoding="utf-8"))


def test_front_matter_says_what_the_spacefile_says():
    front = (ROOT / "README.md").read_text(encoding="utf-8").split("---")[1]
    runtime = SPACE["runtime"]
    assert yaml.safe_load(front) == {**SPACE["space"], **runtime}


def test_the_app_and_the_pin_are_there():
    runtime = SPACE["runtime"]
    assert (ROOT / runtime["app_file"]).is_file()
    pin = next(
        line
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if line.startswith("gradio==")
    )
    assert runtime["sdk_version"].startswith(pin.removeprefix("gradio==").removesuffix("*"))


def test_it_holds_no_secret_and_is_short_enough():
    assert all(isinstance(name, str) and "=" not in name for name in SPACE["secrets"])
    assert len(SPACE["space"]["short_description"]) <= 60  # the hub refuses longer ones

"""Where a model did not come: what is offered may work, and what cannot is not offered."""

import re
from dataclasses import replace

import pytest

from vlm import families
from vlm.errors import ModelError
from vlm.estimate import Verdict
from vlm.picker import Row
from vlm.settings import Settings
from vlm.strings import LANGUAGES
from vlm.ui.loading_ways import ways_on
from vlm.workload import Estimate

WANTED = "somebody/large"
SIZES = {"pocket": 146, "google/paligemma-3b-mix-224": 2923, "Qwen/Qwen3-VL-4B-Instruct": 4438}
"""Models of the list in this test -> millions of parameters; files of the first two are here."""


def row(name: str) -> Row:
    known = families.look_up(name)
    assert known is not None
    weights = int(SIZES[name] * 2e6)
    parts = {"images": 0, "context": 0, "work": 0, "loading": 0, "runtime": 0}
    estimate = Estimate(precision="bf16", weights=weights, **parts)
    verdict = Verdict("none", estimate, 2 * weights)
    here = name != "Qwen/Qwen3-VL-4B-Instruct"
    return Row(checkpoint=known, disk_bytes=weights, here=here, verdict=verdict)


ROWS = [row(name) for name in SIZES]
LARGEST, KEPT = "Qwen/Qwen3-VL-4B-Instruct", "google/paligemma-3b-mix-224"


def offered(error: ModelError, model: str = WANTED, bits: str = "none", here: str = "") -> list:
    """(model, quantization) of each button."""
    drawn = ways_on(error, Settings(model=model, quantization=bits), ROWS, here, "en")
    return re.findall(r'data-model="([^"]*)" data-quantization="([^"]*)"', drawn)


AGAIN = (WANTED, "none")


def test_memory_fewer_bits_or_the_largest_that_fits() -> None:
    error = ModelError("out_of_memory_weights", source="x", needed=9, free=3, precision="bf16")
    fewer = [(WANTED, "int8"), (WANTED, "nf4")]
    assert offered(error) == [*fewer, (LARGEST, "none")]
    assert offered(error, here=LARGEST) == [*fewer, (KEPT, "none")]
    assert offered(ModelError("too_big", name="x", needed=9, there=3), bits="nf4") == [
        (LARGEST, "none")
    ]


NAMES = (
    ModelError("no_model_named"),
    ModelError("no_such_checkpoint", source="x", known="pocket"),
    ModelError("hub_missing", source="x"),
)
FILES = (
    ModelError("needs_own_code", source="x"),
    ModelError("pickled_code", source="x"),
    ModelError("gguf_not_taken", source="x"),
    ModelError("not_image_to_text", source="x", got="bert"),
    ModelError("package_missing", source="x", package="timm"),
)


@pytest.mark.parametrize("error", [*NAMES, *FILES], ids=lambda error: error.key)
def test_what_no_other_try_mends_leads_to_the_name_that_was_meant(error: ModelError) -> None:
    assert offered(error, "qwen/qwen3-vl-4b-instruct-gguf") == [(LARGEST, "none")]
    assert offered(error, "paligemma-3b-mix") == [(KEPT, "none")]
    assert offered(error, "Qwen 3 VL") == [(LARGEST, "none")]
    assert offered(error, "pokcet") == [("pocket", "none")]
    assert offered(error, "pokcet", here="pocket") == [("pocket", "none")]
    assert offered(error) == [(KEPT, "none")]  # nothing is like it: the largest that is here
    (embedded, _, elsewhere) = ROWS  # for a slip of the pen nobody fetches gigabytes
    assert "Go on with Pocket 135M" in ways_on(
        error, Settings(model=WANTED), [embedded, elsewhere], "pocket", "en"
    )
    drawn = ways_on(error, Settings(model=WANTED), ROWS[-1:], "", "en")
    assert "Load Qwen3-VL 4B instead (≈ 8.9 GB to download)" in drawn
    assert AGAIN not in offered(error)


def test_without_a_network_what_is_here_is_offered() -> None:
    error = ModelError("hub_unreachable", source=WANTED)
    assert offered(error) == [AGAIN, (KEPT, "none")]
    assert "href" not in ways_on(error, Settings(model=WANTED), ROWS, "", "en")


def test_without_a_network_there_is_always_a_way_on() -> None:
    error = ModelError("hub_unreachable", source=WANTED)

    def drawn(rows: list[Row], here: str) -> tuple[list, bool]:
        html = ways_on(error, Settings(model=WANTED), rows, here, "en")
        names = re.findall(r'data-model="([^"]*)"', html)
        return names, "Go on with Pocket 135M" in html and 'data-tab="chat"' in html

    embedded, elsewhere = ROWS[0], ROWS[2]
    assert drawn([embedded, elsewhere], "") == ([WANTED, "pocket"], False)
    tight = replace(embedded, verdict=replace(embedded.verdict, free=SIZES["pocket"] * 2_000_000))
    assert tight.verdict.kind == "tight"
    assert drawn([tight, elsewhere], "") == ([WANTED, "pocket"], False)
    assert drawn([embedded, elsewhere], "pocket") == ([WANTED], True)  # it is loaded already
    assert drawn(ROWS, "pocket") == ([WANTED, KEPT], False)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_licence_can_be_accepted_by_a_press(language: str) -> None:
    error = ModelError("hub_gated", source=WANTED)
    assert offered(error) == [AGAIN, (KEPT, "none")]
    drawn = ways_on(error, Settings(model=f"{WANTED}+./folder"), ROWS, "", language)
    links = re.findall(r'href="([^"]*)"[^>]*>([^<]*)<', drawn)
    assert [address for address, _ in links] == [f"https://huggingface.co/{WANTED}"]
    assert WANTED in links[0][1]
    assert 'rel="noopener' in drawn


def test_a_full_disk_leads_to_what_still_has_room() -> None:
    def error(free: float) -> ModelError:
        return ModelError("disk_full", source="x", needed=99.0, free=free, folder="/x")

    assert offered(error(10)) == [AGAIN, (LARGEST, "none")]
    assert offered(error(1)) == [AGAIN, (KEPT, "none")]  # whose files are here


def test_what_is_quantised_otherwise_is_loaded_as_it_is() -> None:
    error = ModelError("already_quantised", source="x", got="nf4", wanted="int8")
    assert offered(error, bits="int8") == [(WANTED, "auto")]


def test_anything_else_can_be_tried_again() -> None:
    assert offered(ModelError("cannot_load", source="x", detail="-")) == [AGAIN]


def test_a_model_that_does_not_fit_is_not_offered() -> None:
    tight = [replace(each, verdict=replace(each.verdict, free=1)) for each in ROWS]
    error = ModelError("needs_own_code", source="x")
    assert ways_on(error, Settings(model=WANTED), tight, "", "en") == ""

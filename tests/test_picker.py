"""The list of models: what another could take once the one here has gone, and what is here."""

from dataclasses import replace

import pytest

from tests.support.fakes import ScriptedBackend
from tests.support.hub import ID, Hub
from vlm import download, families
from vlm.backend import Capabilities
from vlm.blueprint import RUNTIME
from vlm.model_slot import ModelSlot
from vlm.picker import Picker, closest, found
from vlm.progress import Watch
from vlm.settings import Settings

SETTINGS = Settings(device="cpu")
MINI = ["OpenGVLab/Mini-InternVL-Chat-4B-V1-5", "OpenGVLab/Mini-InternVL-Chat-2B-V1-5"]


def slot_of(**able: object) -> ModelSlot:
    backend = ScriptedBackend(able=Capabilities(name="One", details=("bf16", "CPU"), **able))
    return ModelSlot(lambda *_: backend, SETTINGS)


def test_the_weights_and_what_the_libraries_hold_are_there_for_the_next_model() -> None:
    slot, picker = slot_of(memory={"vision_tower": 2, "language_model": 30}), Picker(SETTINGS)
    assert picker.freed(slot) == 0  # nothing is here yet
    slot.opened()
    assert picker.freed(slot) == 32 + RUNTIME["cpu"]
    slot.unload()
    assert picker.freed(slot) == 0


def test_a_model_that_runs_elsewhere_frees_nothing_here() -> None:
    slot = slot_of()
    slot.opened()
    assert Picker(SETTINGS).freed(slot) == 0


def test_what_the_hubs_cache_holds_is_here_and_exact_once_it_was_read(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = replace(families.catalogue()[-1], name=ID, source=ID, title="Mine", parameters=9e3)
    monkeypatch.setattr(families, "catalogue", lambda: (published,))
    picker = Picker(SETTINGS)
    (row,) = picker.rows("none", "auto", 0)
    assert (row.here, row.disk_bytes, row.verdict.estimate.rough) == (False, 18 * 10**9, True)
    download.fetch(ID, Watch())
    (row,) = picker.rows("none", "auto", 0)
    assert (row.here, row.verdict.estimate.rough) == (True, True)
    assert row.disk_bytes == sum(map(len, hub.files[ID].values()))
    found = picker.check(ID, "auto", 0)
    (row,) = picker.rows("none", "auto", 0)
    assert not row.verdict.estimate.rough
    assert row.verdict.estimate == found.verdicts[0].estimate


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("InternVL-Chat", ["OpenGVLab/InternVL-Chat-V1-5", *MINI]),
        ("internvl 1.5", ["OpenGVLab/InternVL-Chat-V1-5", *MINI]),
        ("InternVL-Chat-V1-5", ["OpenGVLab/InternVL-Chat-V1-5", *MINI]),
        ("mini intern", MINI),
        ("OpenGVLab/Mini", MINI),
        ("minicpm v2.6", ["openbmb/MiniCPM-V-2_6"]),
        ("MiniCPM-V-2_6", ["openbmb/MiniCPM-V-2_6"]),
        ("qwen 2.5 7b", ["Qwen/Qwen2.5-VL-7B-Instruct"]),
        ("Llava One Vision 0.5", ["llava-hf/llava-onevision-qwen2-0.5b-ov-hf"]),
        ("POCKET", ["pocket"]),
        ("pokcet", ["pocket"]),
        ("nothing like it", []),
    ],
)
def test_the_list_is_searched_by_any_spelling(text: str, names: list[str]) -> None:
    rows = Picker(SETTINGS).rows("auto", "auto", 0)
    assert [row.checkpoint.name for row in found(rows, text)] == names


def test_a_name_that_was_mistyped_leads_to_the_one_that_was_meant() -> None:
    rows = Picker(SETTINGS).rows("auto", "auto", 0)

    def meant(name: str) -> list[str]:
        return [row.checkpoint.name for row in closest(name, rows)]

    assert meant("pokcet") == ["pocket"]
    assert meant("Qwen/Qwen2.5-VL-3B")[0] == "Qwen/Qwen2.5-VL-3B-Instruct"
    assert meant("qwen2.5 vl 7b instruct")[0] == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert meant("OpenGVLab/InternVL3-8B")[0] == "OpenGVLab/InternVL3-8B-hf"
    assert meant("unsloth/Qwen3-VL-4B-Instruct-GGUF")[0] == "Qwen/Qwen3-VL-4B-Instruct"
    assert meant("somebody/else") == meant("") == meant("/no/such/folder") == []

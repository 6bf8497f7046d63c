"""The list of models: what another model could take once the one that is here has gone."""

from tests.support.fakes import ScriptedBackend
from vlm.backend import Capabilities
from vlm.blueprint import RUNTIME
from vlm.model_slot import ModelSlot
from vlm.picker import Picker
from vlm.settings import Settings

SETTINGS = Settings(device="cpu")


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

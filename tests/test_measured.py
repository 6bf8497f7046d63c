"""What was measured of fewer bits is kept, and says so in the list of models."""

from pathlib import Path

import pytest

from vlm import families, measured
from vlm.picker import Picker
from vlm.settings import Settings


def test_nothing_is_known_of_what_was_not_measured() -> None:
    assert measured.agreement("owner/model") == {}
    assert not measured.place().exists()


def test_what_was_measured_is_kept_by_source_and_precision(tmp_path: Path) -> None:
    measured.note("owner/model", "nf4", 0.5)
    measured.note("owner/model", "int8", 0.97)
    measured.note("owner/model", "nf4", 0.6)
    measured.note(str(tmp_path), "nf4", 0.7)
    assert measured.agreement("owner/model") == {"nf4": 0.6, "int8": 0.97}
    assert measured.agreement(f"{tmp_path}/") == {"nf4": 0.7}
    assert [each.name for each in measured.place().parent.glob("*.json.*")] == []


@pytest.mark.parametrize("text", ["", "[]", '{"owner/model": 3}', '{"owner/model": {"nf4": "x"}}'])
def test_a_damaged_file_is_as_none(text: str) -> None:
    measured.place().parent.mkdir(parents=True, exist_ok=True)
    measured.place().write_text(text)
    assert measured.agreement("owner/model") == {}
    measured.note("owner/model", "nf4", 0.5)
    assert measured.agreement("owner/model") == {"nf4": 0.5}


def test_where_nothing_can_be_written_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(measured, "place", lambda: tmp_path / "file" / "agreement.json")
    measured.note("owner/model", "nf4", 0.5)
    assert measured.agreement("owner/model") == {}
    assert "agreement.json" in caplog.text


def test_the_list_of_models_takes_what_was_measured_here(checkpoints: dict[str, Path]) -> None:
    pocket, picker = families.catalogue()[0], Picker(Settings(device="cpu"))
    assert picker.rows("nf4", "auto", 0)[0].agreement == pocket.agreement
    measured.note(pocket.source, "nf4", 0.123)
    (row, *others) = picker.rows("nf4", "auto", 0)
    assert row.agreement == {**pocket.agreement, "nf4": 0.123}
    assert all(each.agreement == each.checkpoint.agreement for each in others)
    folder = str(checkpoints["llava"])
    measured.note(folder, "int8", 0.9)
    assert picker.check(folder, "auto", 0).agreement == {"int8": 0.9}

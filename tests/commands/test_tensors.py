"""A safetensors file written tensor by tensor is one that the library reads."""

import json
import os
from contextlib import closing

import numpy
import pytest
from safetensors import safe_open

from vlm.commands.tensors import TensorFile


def read(path) -> tuple[dict, dict]:
    with safe_open(path, "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def test_what_is_written_is_read(tmp_path):
    arrays = {
        "a.png": numpy.arange(24, dtype="float32").reshape(2, 3, 4),
        "目录/b.png": numpy.ones((5,), "float16"),
        "turned": numpy.arange(6, dtype="float64").reshape(2, 3).T,
        "empty": numpy.zeros((0, 4), "float32"),
        "number": numpy.array(2.5),
    }
    path = tmp_path / "out.safetensors"
    with closing(TensorFile(str(path))) as file:
        for name, array in arrays.items():
            file.add(name, array)
        assert len(file) == 5
        assert not path.exists()
        file.finish({"stage": "tower", "names": json.dumps(list(arrays))})
    found, metadata = read(path)
    assert metadata == {"stage": "tower", "names": json.dumps(list(arrays))}
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == numpy.float32
        numpy.testing.assert_array_equal(found[name], array)
    assert os.listdir(tmp_path) == ["out.safetensors"]


@pytest.mark.parametrize("length", range(8))
def test_the_numbers_begin_at_a_multiple_of_eight(length, tmp_path):
    path = tmp_path / "out.safetensors"
    with closing(TensorFile(str(path))) as file:
        file.add("a", numpy.array([0.5, 0.25]))
        file.finish({"x": "x" * length})
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    assert size % 8 == 0
    assert data[8 + size :] == numpy.array([0.5, 0.25], "<f4").tobytes()
    assert read(path)[1] == {"x": "x" * length}


def test_nothing_is_left_of_a_file_that_is_not_finished(tmp_path):
    path = tmp_path / "out.safetensors"
    path.write_bytes(b"old")
    with closing(TensorFile(str(path))) as file:
        file.add("a", numpy.ones(3))
    assert os.listdir(tmp_path) == ["out.safetensors"]
    assert path.read_bytes() == b"old"


def test_a_file_of_its_name_is_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out.safetensors").write_bytes(b"old")
    with closing(TensorFile("out.safetensors")) as file:
        file.add("a", numpy.ones(3))
        file.finish({})
    assert read(tmp_path / "out.safetensors")[0]["a"].tolist() == [1, 1, 1]
    other = tmp_path / "other"
    other.write_bytes(b"")
    modes = [os.stat(path).st_mode for path in (tmp_path / "out.safetensors", other)]
    assert modes[0] == modes[1]


def test_nothing_is_left_where_it_cannot_be_made(tmp_path):
    (tmp_path / "out").mkdir()
    with closing(TensorFile(str(tmp_path / "out"))) as file, pytest.raises(OSError):
        file.finish({})
    assert os.listdir(tmp_path) == ["out"]


def test_a_name_is_given_once(tmp_path):
    with closing(TensorFile(str(tmp_path / "out"))) as file:
        file.add("a", numpy.ones(3))
        with pytest.raises(ValueError, match="a is in the file already"):
            file.add("a", numpy.ones(3))


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OSError):
        TensorFile(str(tmp_path / "nowhere" / "out"))

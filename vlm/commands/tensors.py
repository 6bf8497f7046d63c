"""A safetensors file that is written tensor by tensor, so that it need not fit into memory.

The form: https://github.com/huggingface/safetensors#format - eight bytes with the length of the
header, the header (JSON, filled up with spaces to a multiple of eight), the numbers.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy

FLOAT32 = "<f4"
ALIGNMENT = 8


class TensorFile:
    """Collects tensors beside the file that `finish` makes; without it there is no file.

    Args:
        path: of the file.

    Raises:
        OSError: nothing can be written where it should be.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._numbers = self._beside()
        self._entries: dict[str, dict[str, object]] = {}
        self._size = 0

    def _beside(self) -> Any:
        """A new file in the same folder, so that it can take the name of the one that is meant."""
        folder, name = os.path.split(self._path)
        return tempfile.NamedTemporaryFile(
            dir=folder or ".", prefix=f".{name[:100]}.", suffix=".part", delete=False
        )

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, name: str, array: numpy.ndarray) -> None:
        """Writes one tensor, as float32.

        Args:
            name: no other tensor has it.
            array: of numbers, of any shape.
        """
        if name in self._entries:
            raise ValueError(f"{name} is in the file already")
        data = array.astype(FLOAT32).tobytes()
        self._numbers.write(data)
        end = self._size + len(data)
        shape, offsets = list(array.shape), [self._size, end]
        self._entries[name] = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
        self._size = end

    def finish(self, metadata: Mapping[str, str]) -> None:
        """Makes the file, all at once; one of its name is replaced."""
        header = json.dumps({"__metadata__": dict(metadata), **self._entries}).encode("utf-8")
        header += b" " * (-len(header) % ALIGNMENT)
        self._numbers.seek(0)
        whole = self._beside()
        try:
            with whole:
                whole.write(len(header).to_bytes(8, "little"))
                whole.write(header)
                shutil.copyfileobj(self._numbers, whole)
            os.chmod(whole.name, 0o666 & ~_umask())
            os.replace(whole.name, self._path)
        except BaseException:
            os.unlink(whole.name)
            raise

    def close(self) -> None:
        """Takes away what was collected."""
        self._numbers.close()
        with suppress(FileNotFoundError):
            os.unlink(self._numbers.name)


def _umask() -> int:
    """The bits that new files of this process do not get; temporary files get fewer."""
    mask = os.umask(0)
    os.umask(mask)
    return mask

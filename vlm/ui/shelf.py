"""Models without weights that the page has opened. Loads torch only when one is asked for."""

import threading
from typing import TYPE_CHECKING

from vlm import families

if TYPE_CHECKING:
    from vlm.unweighted import Unweighted


class Shelf:
    """Opens models without weights and remembers the last ones: each holds its names and shapes.

    Safe to use from several threads.
    """

    LIMIT = 4

    def __init__(self) -> None:
        self._opened: dict[str, Unweighted] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> set[str]:
        """What can be opened without the network."""
        return {each.name for each in families.published()}

    def open(self, name: str) -> "Unweighted":
        """See `vlm.unweighted.open_unweighted`."""
        with self._lock:
            if name not in self._opened:
                from vlm.unweighted import open_unweighted  # torch takes seconds

                self._opened[name] = open_unweighted(name)
                while len(self._opened) > self.LIMIT:
                    self._opened.pop(next(iter(self._opened)))
            return self._opened[name]

"""Progress of loading on stderr: a line that moves in a terminal, a line a stage elsewhere."""

import sys

from vlm.progress import LoadProgress
from vlm.report import load_words


class Bar:
    """Call it with each `LoadProgress`; `end` leaves the terminal as it was.

    Args:
        language: of the words.
    """

    def __init__(self, language: str) -> None:
        self._language = language
        self._moves = sys.stderr.isatty()
        self._stage = ""
        self._words = ""

    def __call__(self, progress: LoadProgress) -> None:
        words = load_words(progress, self._language)
        if self._moves and words != self._words:
            padding = " " * max(len(self._words) - len(words), 0)
            print(f"\r{words}{padding}", end="", file=sys.stderr, flush=True)
        elif not self._moves and progress.stage != self._stage:
            print(words, file=sys.stderr)
        self._stage, self._words = progress.stage, words

    def end(self) -> None:
        """Wipes the line that moved."""
        if self._moves and self._words:
            print("\r" + " " * len(self._words) + "\r", end="", file=sys.stderr, flush=True)
        self._stage = self._words = ""

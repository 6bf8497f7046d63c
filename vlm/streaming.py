"""From `model.generate`, which blocks a thread, to an iterator of events that can be stopped.

`Worker` runs one piece of work at a time on one thread and hands its events across; `TokenStream`
turns tokens into text as they come; `Halt` ends generation within one step.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

import psutil
import torch
from transformers import PreTrainedTokenizerBase, StoppingCriteria
from transformers.generation.streamers import BaseStreamer

from vlm.backend import Event, Finished, Progress, TextDelta, Timings
from vlm.errors import RequestError
from vlm.markup import is_place_mark

Emit = Callable[[Event], None]
POLL_SECONDS = 0.1
REPLACEMENT = "\ufffd"


class IncrementalText:
    """Decodes tokens one by one to text that never has to be taken back.

    A token's text depends on the ones before it (spaces, characters of several tokens), so the
    end of a short window is decoded with and without the new tokens, and the difference is the
    new text. It is held only while it ends in an incomplete character. Source: the incremental
    detokenisation of text-generation-inference and vLLM.

    Special tokens are left out, but for those that mark boxes and points: they are the answer's.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        special = special_tokens(tokenizer)
        marks = {number for number, token in special.items() if is_place_mark(token)}
        self._left_out = special.keys() - marks if marks else None
        self._ids: list[int] = []
        self._window = 0  # where the window starts
        self._done = 0  # tokens before this have been turned into text

    def push(self, ids: Sequence[int]) -> str:
        """The text that the new tokens complete; may be empty."""
        self._ids.extend(ids)
        text = self._new_text()
        if not text or text.endswith(REPLACEMENT):
            return ""
        self._window, self._done = self._done, len(self._ids)
        return text

    def finish(self) -> str:
        """What is left, without a character that was never completed."""
        return self._new_text().rstrip(REPLACEMENT)

    def _new_text(self) -> str:
        before = self._decode(self._ids[self._window : self._done])
        return self._decode(self._ids[self._window :])[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        if self._left_out is not None:
            ids = [number for number in ids if number not in self._left_out]
        text = self._tokenizer.decode(
            ids,
            skip_special_tokens=self._left_out is None,
            clean_up_tokenization_spaces=False,
        )
        return text if isinstance(text, str) else "".join(text)


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """Id -> token of what decoding with `skip_special_tokens` leaves out."""
    added = tokenizer.added_tokens_decoder
    if tokenizer.is_fast:
        return {number: token.content for number, token in added.items() if token.special}
    return {
        number: str(tokenizer.convert_ids_to_tokens(number)) for number in tokenizer.all_special_ids
    }


class StopTexts:
    """Ends a text before the first of some stop texts, holding back what may become one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """The part of the text so far that is sure to belong to the answer."""
        if self.found:
            return ""
        self._held += text
        ends = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if ends:
            self.found = True
            return self._held[: min(ends)]
        keep = max((self._overlap(stop) for stop in self._stops), default=0)
        sure = self._held[: len(self._held) - keep]
        self._held = self._held[len(sure) :]
        return sure

    def finish(self) -> str:
        """What was held back and did not become a stop text."""
        return "" if self.found else self._held

    def _overlap(self, stop: str) -> int:
        """How many characters at the end could be the beginning of `stop`."""
        longest = min(len(stop) - 1, len(self._held))
        return next((n for n in range(longest, 0, -1) if self._held.endswith(stop[:n])), 0)


class TokenStream(BaseStreamer):
    """The streamer given to `generate`: emits text as soon as it can be decoded, keeps times.

    Attributes:
        count: new tokens so far; last_id: the last one.
        first_at, last_at: when the first and the last token came (`time.perf_counter`).
        stopped: a stop text was reached.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, stops: Sequence[str], emit: Emit
    ) -> None:
        self._text = IncrementalText(tokenizer)
        self._stops = StopTexts(stops)
        self._emit = emit
        self._prompt_seen = False
        self.count = 0
        self.last_id: int | None = None
        self.first_at: float | None = None
        self.last_at: float | None = None

    @property
    def stopped(self) -> bool:
        return self._stops.found

    def put(self, value: torch.Tensor) -> None:
        """Takes the prompt first, (1, prompt), then each new token, (1,)."""
        if not self._prompt_seen:
            self._prompt_seen = True
            return
        self.add(value.flatten().tolist())

    def add(self, ids: list[int]) -> None:
        """Takes new tokens."""
        if not ids:
            return
        self.last_at = time.perf_counter()
        if self.first_at is None:
            self.first_at = self.last_at
        self.count += len(ids)
        self.last_id = ids[-1]
        self._say(self._stops.push(self._text.push(ids)))

    def end(self) -> None:
        """Says what was held back. Called by `generate` when it ends."""
        self._say(self._stops.push(self._text.finish()))
        self._say(self._stops.finish())

    def _say(self, text: str) -> None:
        if text:
            self._emit(TextDelta(text))


class Halt(StoppingCriteria):
    """Ends generation at the next step once `should_stop` says so."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop

    def __call__(
        self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **rest: object
    ) -> torch.BoolTensor:
        """(batch, tokens) -> (batch,)"""
        stops, rows = self._should_stop(), input_ids.shape[0]
        return torch.full((rows,), stops, device=input_ids.device)  # pyright: ignore


Work = Callable[[Emit, Callable[[], bool], float], None]


class Worker:
    """One thread that does one piece of work after the other, in the order they came.

    Args:
        name: of the thread.
        prepare: called once on it, before any work.
    """

    def __init__(self, name: str, prepare: Callable[[], None] | None = None) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name, initializer=prepare)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._line: list[object] = []  # tickets of work that is not finished, oldest first

    def run(self, work: Work, cancel: threading.Event) -> Iterator[Event]:
        """Yields the events of `work(emit, should_stop, seconds_waited)` as they are emitted.

        `should_stop()` turns true when `cancel` is set, this iterator is closed or the worker is.
        An exception of the work is raised here. While other work goes first, `Progress("queued")`
        says how much; cancelling then ends at once.

        Raises:
            RequestError: the worker was closed before the work began.
        """
        events: SimpleQueue[Event | None] = SimpleQueue()
        started, closed = threading.Event(), threading.Event()
        ticket, since = object(), time.perf_counter()

        def do() -> None:
            started.set()
            try:
                work(
                    events.put,
                    lambda: cancel.is_set() or closed.is_set() or self._closing.is_set(),
                    time.perf_counter() - since,
                )
            finally:
                self._leave(ticket)
                events.put(None)

        with self._lock:
            if self._closing.is_set():
                raise RequestError("model_closed")
            job = self._executor.submit(do)
            self._line.append(ticket)
        try:
            if (yield from self._wait(job, started, ticket, cancel)):
                while (event := events.get()) is not None:
                    yield event
                job.result()  # raises what the work raised
            else:
                yield Finished("cancelled", timings=Timings(queue=time.perf_counter() - since))
        finally:
            closed.set()
            if job.cancel():
                self._leave(ticket)

    def _wait(
        self, job: Future[None], started: threading.Event, ticket: object, cancel: threading.Event
    ) -> Generator[Event, None, bool]:
        """Says how many are ahead until the work begins; False if it was cancelled before."""
        told = 0
        while not started.wait(POLL_SECONDS):
            with self._lock:
                ahead = self._line.index(ticket) if ticket in self._line else 0
            if ahead and ahead != told:
                told = ahead
                yield Progress("queued", ahead, ahead)
            if cancel.is_set() and job.cancel():
                return False
            if job.cancelled():
                raise RequestError("model_closed")
            if job.done() and not started.is_set():
                job.result()  # raises: the thread could not be prepared
        return True

    def _leave(self, ticket: object) -> None:
        with self._lock:
            if ticket in self._line:
                self._line.remove(ticket)

    def close(self) -> None:
        """Stops the work in hand, drops what waits, and ends the thread."""
        with self._lock:
            self._closing.set()
        self._executor.shutdown(wait=True, cancel_futures=True)


def leave_a_core() -> None:
    """Keeps one core for the server: threads of a matrix product wait for the slowest of them."""
    cores = psutil.cpu_count(logical=False) or 1
    torch.set_num_threads(max(1, cores - 1))

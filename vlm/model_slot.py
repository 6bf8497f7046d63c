"""The place of the one model that answers: filled in the background, exchanged, emptied when idle.

In: what opens a backend, and settings that say which. Out: a backend for the page, which is there
before any model is. Conversations hold this place, not a model, so none is lost by an exchange.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from vlm.backend import (
    Backend,
    Capabilities,
    Event,
    Finished,
    Forgetful,
    Held,
    Holds,
    ImageLayout,
    Progress,
    Report,
    Stage,
    Traces,
)
from vlm.errors import ModelError, RequestError
from vlm.explanation import ExplainMethod, Explains, Explanation
from vlm.inspection import Inspection, Inspects
from vlm.messages import Image, Message
from vlm.options import GenerationOptions
from vlm.settings import Settings, model_names

Prepare = Callable[[Settings, Report, threading.Event], None]
"""What can be done while another model still answers: looking, downloading. Raises VLMError."""
Open = Callable[[Settings, Report, threading.Event], Backend]
"""Loads a model; the event asks it to end early, by any exception or with a result to drop."""
Form = TypeVar("Form")
State = Literal["idle", "loading", "ready", "failed"]


@dataclass(eq=False)
class Loading:
    """A model on its way in, or one that did not get there.

    Attributes:
        settings: say which.
        cancel: asks for its end.
        progress: stage, how much of it is done, of how much.
        error: why it did not get there; None as long as it may, and if it was cancelled.
        over: set at the end, whatever that was.
    """

    settings: Settings
    cancel: threading.Event = field(default_factory=threading.Event)
    progress: tuple[str, int, int] = ("waiting", 0, 0)
    error: BaseException | None = None
    over: threading.Event = field(default_factory=threading.Event)

    def report(self, stage: str, current: int, total: int) -> None:
        """Notes how far it is."""
        self.progress = (stage, current, total)


class ModelSlot:
    """A backend whose model is opened in the background and may be exchanged for another.

    A request that comes too early waits and says so. When opening failed, every request raises
    the reason, and the next `start` tries again.

    Args:
        open_it: loads a model.
        settings: of the first one.
        prepare: what is done before the model that is there has to go.
        idle_seconds: a model that nobody asked for so long is put away; the next question brings
            it back. 0: never.
    """

    def __init__(
        self,
        open_it: Open,
        settings: Settings,
        prepare: Prepare | None = None,
        idle_seconds: float = 0.0,
    ) -> None:
        self.settings = settings
        self.idle_seconds = idle_seconds
        self._open, self._prepare = open_it, prepare
        self._changed = threading.Condition()
        self._backend: Backend | None = None
        self._users = 0
        self._exchanging = self._closed = False
        self._loading: Loading | None = None
        self._last: Loading | None = None
        self._failure: BaseException | None = None
        self._timer: threading.Timer | None = None
        self.able: Capabilities | None = None
        """Of the model that is here, or was here last; None before the first."""
        self.revision = 0
        """Counts the models that were here."""

    # ---- what is there ----

    @property
    def state(self) -> State:
        """Whether a question would be answered now: "idle" and "loading" mean that it waits."""
        with self._changed:
            if self._backend is not None and not self._exchanging:
                return "ready"
            if self._loading is not None:
                return "loading"
            return "failed" if self._failure is not None else "idle"

    @property
    def loading(self) -> Loading | None:
        """The model on its way in, also while the one before still answers."""
        return self._loading

    @property
    def last(self) -> Loading | None:
        """The model that came, or should have come, last."""
        return self._last

    @property
    def error(self) -> BaseException | None:
        """Why no model is here."""
        return self._failure

    # ---- filling and emptying ----

    def start(self) -> None:
        """Begins opening unless a model is there or on its way; returns at once."""
        with self._changed:
            if self._backend is None and self._loading is None:
                self._begin(self.settings)

    def exchange(self, settings: Settings) -> Loading:
        """Begins to load another model in place of the one that is there; returns at once.

        Answers that are being written are finished first; questions wait from then on. Where the
        new model does not come, the one before is back.

        Raises:
            RequestError: a model is on its way already.
        """
        with self._changed:
            if self._loading is not None:
                raise RequestError("already_loading")
            return self._begin(settings)

    def cancel(self, loading: Loading | None = None) -> None:
        """Ends the loading that is under way, if any, at its next step; returns at once.

        Args:
            loading: the one that is meant, where no other may be ended; None: any.
        """
        with self._changed:
            if self._loading is not None and loading in (None, self._loading):
                self._loading.cancel.set()
                self._changed.notify_all()

    def unload(self) -> None:
        """Puts the model away once nobody uses it; the next question brings it back.

        Raises:
            RequestError: a model is on its way.
        """
        with self._changed:
            if self._loading is not None:
                raise RequestError("already_loading")
            self._exchanging = True
            self._changed.wait_for(lambda: self._users == 0)
            self._put_away()
            self._exchanging = False
            self._changed.notify_all()

    def close(self) -> None:
        """Gives everything back; waits for a loading that is under way, and for answers."""
        self._closed = True
        self.cancel()
        if (loading := self._loading) is not None:
            loading.over.wait()
        with self._changed:
            self._put_away()

    def _begin(self, settings: Settings) -> Loading:
        self._loading = loading = Loading(settings)
        threading.Thread(target=self._run, args=(loading,), name="load-model", daemon=True).start()
        return loading

    def _run(self, loading: Loading) -> None:
        """Everything that is done about one loading, on a thread of its own."""
        away = self._backend is None and self.able is not None and self._failure is None
        try:  # where the other does not come, what was put away comes back with the next question
            if self._prepare is not None:
                self._prepare(loading.settings, loading.report, loading.cancel)
            if not loading.cancel.is_set():
                self._replace(loading)
        except BaseException as error:  # handed on to whoever asks; nothing is swallowed
            loading.error = None if loading.cancel.is_set() else error
        finally:
            with self._changed:
                self._loading, self._last = None, loading
                self._exchanging, self._failure = False, None
                if self._backend is None and not (away and loading.settings != self.settings):
                    self._failure = loading.error or ModelError("loading_cancelled")
                loading.over.set()
                self._changed.notify_all()

    def _replace(self, loading: Loading) -> None:
        """Waits for answers, puts the model away and loads the other; or else the same again."""
        with self._changed:
            self._exchanging = True
            self._changed.wait_for(lambda: self._users == 0 or loading.cancel.is_set())
            if loading.cancel.is_set():
                return
            was_here = self._backend is not None
            self._put_away()
        try:
            self._fill(loading)
        finally:
            if self._backend is None and was_here and not self._closed:
                loading.report("restoring", 0, 0)
                self._fill(Loading(self.settings))  # where that fails too, its reason is told

    def _fill(self, loading: Loading) -> None:
        backend = self._open(loading.settings, loading.report, loading.cancel)
        if loading.cancel.is_set():
            backend.close()
            return
        able = backend.capabilities()
        with self._changed:
            self._backend, self.able, self.settings = backend, able, loading.settings
            self.revision += 1
        self._expect_idleness()

    def _put_away(self) -> None:
        """Closes the model. Held: the lock; nobody uses it."""
        if self._timer is not None:
            self._timer.cancel()
        if self._backend is not None:
            backend, self._backend = self._backend, None
            backend.close()

    # ---- idle ----

    def _expect_idleness(self) -> None:
        """Sets the clock after which a model that nobody uses is put away."""
        with self._changed:
            if self._timer is not None:
                self._timer.cancel()
            if self.idle_seconds > 0 and not self._closed:
                self._timer = threading.Timer(self.idle_seconds, self._put_away_if_idle)
                self._timer.daemon = True
                self._timer.start()

    def _put_away_if_idle(self) -> None:
        with self._changed:
            if self._users == 0 and self._loading is None:
                self._put_away()
                self._changed.notify_all()

    # ---- a backend ----

    @contextlib.contextmanager
    def _used(self, backend: Backend) -> Iterator[Backend]:
        """Around the use of a model that `_take` gave."""
        try:
            yield backend
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()
            self._expect_idleness()

    def _take(self, seconds: float | None) -> Backend | None:
        """The model, to be used; waits for it so long and no longer. Raises why there is none."""
        with self._changed:
            if self._failure is None:
                self.start()
            self._changed.wait_for(lambda: self._there or self._loading is None, seconds)
            if self._there:
                self._users += 1
                return self._backend
            if self._loading is None and self._failure is not None:
                raise self._failure
            return None

    @property
    def _there(self) -> bool:
        return self._backend is not None and not self._exchanging

    def stream(
        self,
        messages: Sequence[Message],
        options: GenerationOptions,
        cancel: threading.Event,
        only: Settings | None = None,
    ) -> Iterator[Event]:
        """See `Backend.stream`; says "loading" while no model is there.

        Args:
            only: the settings of the model that is meant; no other one may answer.

        Raises:
            RequestError: somebody has put another model here meanwhile.
        """
        backend, said = self._take(0), False
        while backend is None:
            if cancel.is_set():
                yield Finished("cancelled")
                return
            if not said:
                yield Progress("loading")
                said = True
            backend = self._take(0.1)
        with self._used(backend):
            if only is not None and only != self.settings:  # it stays as long as it is used
                raise RequestError("model_changed", name=backend.capabilities().name)
            for event in backend.stream(messages, options, cancel):
                if isinstance(event, Finished):
                    details = self.able.details if self.able else ()
                    event = replace(event, model=model_names(self.settings, details))
                yield event

    def forget(self) -> bool:
        """See `Forgetful.forget`; False too while an answer is being written."""
        with self._changed:
            idle = self._there and self._users == 0
            return idle and isinstance(self._backend, Forgetful) and self._backend.forget()

    def held(self) -> Held | None:
        """See `Holds.held`; None where no model is here, or one that runs elsewhere."""
        with self._changed:
            backend = self._backend if self._there else None
            return backend.held() if isinstance(backend, Holds) else None

    def opened(self) -> Backend:
        """The model that is there, waiting for it if need be. Raises why there is none."""
        with self._in_use() as backend:
            return backend

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[Backend]:
        while (backend := self._take(None)) is None:
            pass
        with self._used(backend):
            yield backend

    @contextlib.contextmanager
    def _that_is(self, form: type[Form]) -> Iterator[Form]:
        with self._in_use() as backend:
            if not isinstance(backend, form):
                raise RequestError("no_trace", name=backend.capabilities().name)
            yield backend

    def image_layout(self, image: Image, options: GenerationOptions) -> ImageLayout:
        """See `Backend.image_layout`; waits until a model is there."""
        with self._in_use() as backend:
            return backend.image_layout(image, options)

    def trace(
        self,
        messages: Sequence[Message],
        options: GenerationOptions | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[Stage]:
        """See `Traces.trace`; waits until a model is there.

        Raises:
            RequestError: the model runs elsewhere and shows only its answers.
        """
        with self._that_is(Traces) as backend:
            yield from backend.trace(messages, options, cancel)

    def inspect(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: threading.Event
    ) -> Iterator[Event | Inspection]:
        """See `Inspects.inspect`; waits and raises as `trace` does."""
        with self._that_is(Inspects) as backend:
            yield from backend.inspect(messages, options, cancel)

    def explain(
        self,
        messages: Sequence[Message],
        answer: str,
        options: GenerationOptions | None = None,
        method: ExplainMethod = "attention",
        cancel: threading.Event | None = None,
        tell: Callable[[Event], None] | None = None,
    ) -> Explanation:
        """See `Explains.explain`; waits and raises as `trace` does."""
        with self._that_is(Explains) as backend:
            return backend.explain(messages, answer, options, method, cancel, tell)

    def capabilities(self) -> Capabilities:
        """See `Backend.capabilities`; waits for a model unless one was here and was put away."""
        if self.state == "idle" and self.able is not None:
            return self.able
        return self.opened().capabilities()

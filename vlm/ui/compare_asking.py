"""The question about all pictures: asked, streamed, stopped; what went to the model is said.

In: the room of a visit and a question. Out: updates of the components of the answer.
"""

import threading
import time
from collections.abc import Iterator

import gradio as gr

from vlm.backend import Capabilities, Progress
from vlm.compare_ask import Part, Reply, ask, crops, plan
from vlm.errors import RequestError
from vlm.ui import compare_answer
from vlm.ui.compare_parts import Parts
from vlm.ui.compare_room import Room
from vlm.ui.context import Context, Updates

STEP = 0.1
"""Seconds between two looks whether a model is there."""


class Asking:
    """What happens with the question."""

    def __init__(self, context: Context, parts: Parts) -> None:
        self.context = context
        self.parts = parts
        self.limit = context.settings.max_images

    def run(self, room: Room, language: str, question: str, closer: bool) -> Iterator[Updates]:
        """Asks about all pictures, and shows the answer as it grows."""
        with room.lock:
            if room.asking:
                raise RequestError("busy")
            if len(room.images) < 2:
                raise RequestError("compare_needs_two", got=len(room.images))
            if not question.strip():
                raise RequestError("empty_question")
            room.asking, stop = True, room.restart()
        try:
            yield {
                self.parts.notice: "",
                self.parts.stats: "",
                self.parts.how: "",
                self.parts.stop: gr.update(interactive=True),
            }
            for reply in self._replies(room, question, closer, language):
                if room.stop is not stop:  # cleared meanwhile
                    break
                room.reply = reply
                yield {
                    self.parts.answer: compare_answer.answer(reply, language),
                    self.parts.stop: gr.update(interactive=True),
                }
        except BaseException:
            if room.stop is stop:
                room.reply = _ended(room.reply)
            raise
        finally:
            stop.set()
            room.asking = False
        yield self.at_rest(room, language)

    def _replies(self, room: Room, question: str, closer: bool, language: str) -> Iterator[Reply]:
        """The answer; what went to the model is noted in the room before."""
        images, pair, result, stop = list(room.images), room.pair, room.result, room.stop
        ready = self.context.backend.state == "ready"
        yield Reply((Part(None),), waiting=Progress("thinking" if ready else "loading"))
        able = self._able(stop)
        if able is None:
            return
        regions = len(result.found.regions) if result and closer else 0
        asked = plan(able, len(images), regions, max(self.limit, len(images)))
        room.how = (asked, len(images), regions, able.images_per_turn)
        cut = []
        if pair and result and asked.regions:
            numbers = (room.chosen[0] + 1, room.chosen[1] + 1)
            cut = crops(*pair, result.found, asked.regions, numbers)
        yield from ask(
            self.context.backend,
            question,
            images,
            cut,
            together=asked.together,
            cancel=stop,
            language=language,
        )

    def _able(self, stop: threading.Event) -> Capabilities | None:
        """What the model takes, once it is there; None if stopped before. Raises why it is not."""
        slot = self.context.backend
        slot.start()
        while slot.able is None:
            if stop.is_set():
                return None
            if slot.error is not None:
                return slot.capabilities()
            time.sleep(STEP)
        return slot.able

    def forgotten(self, room: Room) -> Updates:
        """An answer about other pictures goes."""
        if room.asking or room.reply is None:
            return {}
        room.reply, room.how = None, None
        return {self.parts.answer: "", self.parts.stats: "", self.parts.how: ""}

    def at_rest(self, room: Room, language: str) -> Updates:
        """The answer as it stands, and a box that can ask."""
        reply, how = room.reply, room.how
        return {
            self.parts.answer: compare_answer.answer(reply, language, ended=True) if reply else "",
            self.parts.stats: compare_answer.stats(reply, language) if reply else "",
            self.parts.how: compare_answer.how_asked(*how, language) if reply and how else "",
            self.parts.stop: gr.update(interactive=False),
        }


def _ended(reply: Reply | None) -> Reply | None:
    """What had been answered when something failed."""
    parts = tuple(part for part in reply.parts if part.turn is not None) if reply else ()
    return Reply(parts) if parts else None

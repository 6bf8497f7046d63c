"""`python -m vlm describe FOLDER`: the same question about every image of a folder.

stdout holds the names of the files and the answers, as they are written; all else goes to stderr.
With `--out` the answers are kept as JSON lines, and a run that was ended is gone on with.
"""

import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

from vlm.backend import (
    Backend,
    Capabilities,
    Finished,
    Forgetful,
    TextDelta,
    check_image_detail,
    check_request,
    open_backend,
)
from vlm.chat import ChatSession
from vlm.commands.answers import AnswerFile, Group, digest
from vlm.commands.pictures import Picture, open_source, pictures_in
from vlm.commands.terminal import INTERRUPTED, NOBODY_READS, Meter, interrupt_sets
from vlm.errors import ImageError, RequestError, VLMError
from vlm.grounding import grounded, speaks_of_places
from vlm.markup import PlainText
from vlm.messages import Image, system_messages
from vlm.report import MODEL_SETTINGS
from vlm.settings import Parser, Settings, generation_options, terminal_language
from vlm.strings import error_text, say

MOST_TOGETHER = 1000
ALL = 0
"""What `--together` without a number stands for."""

SEED = 0
"""Where none is given, so that the same run gives the same answers."""


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("folder", metavar="FOLDER", help=say("flag.folder"))
    parser.add_argument("-p", "--prompt", help=say("flag.describe_prompt"))
    parser.add_argument("--system-prompt", default="", help=say("flag.system_prompt"))
    parser.add_argument("--recursive", action="store_true", help=say("flag.recursive"))
    parser.add_argument("--out", metavar="FILE.jsonl", help=say("flag.answers"))
    parser.add_count(
        "--together", default=1, bare=ALL, most=MOST_TOGETHER, text=say("flag.together")
    )
    parser.add_generation_options()


def run(arguments: SimpleNamespace, settings: Settings) -> int:
    """Asks about every image. Returns 0, 1 if some failed, 130 when it was interrupted."""
    with closing(_Run(arguments, settings)) as work:
        try:
            return work.finish() if work.do() else work.stop()
        except KeyboardInterrupt:  # while files are looked through, or the model is loaded
            return work.stop()
        except BrokenPipeError:
            return NOBODY_READS


class _Run:
    """One run over a folder.

    Raises (when it is made):
        RequestError: a folder or a file that is no good.
    """

    def __init__(self, arguments: SimpleNamespace, settings: Settings) -> None:
        self._settings = settings
        self._language = terminal_language(settings)
        options = generation_options(vars(arguments))
        self._options = options if options.seed is not None else replace(options, seed=SEED)
        self._together: int = arguments.together
        usual = "describe.prompt" if self._together == 1 else "describe.prompt_together"
        self._prompt: str = arguments.prompt
        if arguments.prompt is None:
            self._prompt = say(usual, self._language)
        self._system_prompt: str = arguments.system_prompt
        out: str | None = arguments.out
        self._pictures = pictures_in(
            arguments.folder, recursive=arguments.recursive, without=[out] if out else []
        )
        self._answers = AnswerFile.open(out, self._asked()) if out else None
        self._meter: Meter | None = None
        self._done = self._failed = 0
        self._printed = False

    def _asked(self) -> dict[str, object]:
        """What an answer depends on besides the images, as it is kept with it."""
        return {
            "prompt": self._prompt,
            "system_prompt": self._system_prompt,
            "model": self._settings.model,
            "settings": {
                name: getattr(self._settings, name) for name in MODEL_SETTINGS if name != "model"
            },
            "options": self._options.to_json(),
        }

    def do(self) -> bool:
        """Asks about what has no answer yet. False if it was interrupted.

        Raises:
            VLMError: the model cannot be loaded, or cannot take what is asked of it.
        """
        if self._answers is not None and self._answers.cut:
            self._tell(say("describe.cut", self._language, file=self._answers.path))
        groups = self._groups()
        there = self._answers.answered(groups) if self._answers is not None else set()
        self._done = sum(len(groups[index]) for index in there)
        if self._answers is not None and there:
            facts = {"count": self._done, "total": len(self._pictures)}
            file = self._answers.path
            self._tell(say("describe.there", self._language, file=file, **facts))
        groups = [group for index, group in enumerate(groups) if index not in there]
        if not groups:
            return True
        self._tell(say("progress.loading", self._language))
        with closing(open_backend(self._settings)) as backend:
            self._check(backend, groups)
            return self._ask_all(backend, groups)

    def _groups(self) -> list[Group]:
        """The pictures as they are asked about.

        What is not readable is left out where several go together, so that the others stay so;
        alone, it is found out at its turn.
        """
        pictures = self._pictures
        size = len(pictures) if self._together == ALL else self._together
        if self._together != 1:
            pictures = [picture for picture in pictures if self._readable(picture)]
        largest, limit = min(size, len(pictures)), self._settings.max_images
        if largest > 1 and largest > limit:
            raise RequestError("together_too_many", got=largest, limit=limit)
        parts = [pictures[first : first + size] for first in range(0, len(pictures), size)]
        return [self._group(part) for part in parts]

    def _group(self, pictures: Sequence[Picture]) -> Group:
        kept = self._answers is not None
        digests = tuple(digest(picture.source) for picture in pictures) if kept else ()
        return Group(tuple(pictures), digests)

    def _readable(self, picture: Picture) -> bool:
        try:
            open_source(picture.source, self._settings)
        except ImageError as error:
            self._fail(self._group([picture]), error)
            return False
        return True

    def _check(self, backend: Backend, groups: Sequence[Group]) -> None:
        """Refuses what the model cannot take, before the first answer."""
        able = backend.capabilities()
        check_image_detail(self._options.image_detail, able.image_knobs)
        check_request(system_messages(self._system_prompt), able)
        largest, limit = max(map(len, groups)), able.images_per_turn
        if limit is not None and largest > limit:
            raise RequestError("together_too_many", got=largest, limit=limit)
        if largest > 1:
            self._check_room(backend, able, groups)

    def _check_room(self, backend: Backend, able: Capabilities, groups: Sequence[Group]) -> None:
        """Refuses more images in one prompt than the model's context holds."""
        if able.context_length is None:
            return
        limit = able.context_length
        for group in groups:
            tokens = self._tokens(backend, group)
            if tokens >= limit:
                raise RequestError("together_too_long", got=len(group), tokens=tokens, limit=limit)

    def _tokens(self, backend: Backend, group: Group) -> int:
        """What the images of a group take; 0 where one is refused, as its turn will tell."""
        tokens = 0
        for picture in group.pictures:
            try:
                image = open_source(picture.source, self._settings)
                tokens += backend.image_layout(image, self._options).placeholders
            except (ImageError, RequestError):
                return 0
        return tokens

    def _ask_all(self, backend: Backend, groups: Sequence[Group]) -> bool:
        """Asks group by group; False if it was interrupted."""
        cancel = threading.Event()
        self._meter = Meter(len(self._pictures), self._done + self._failed, self._language)
        with interrupt_sets(cancel), closing(self._meter):
            for group in groups:
                self._ask(backend, group, cancel)
                if cancel.is_set():
                    return False
                self._meter.step(len(group))
        return True

    def _ask(self, backend: Backend, group: Group, cancel: threading.Event) -> None:
        """One answer, printed and kept; one that was stopped is not kept."""
        began = time.perf_counter()
        try:
            images = [open_source(picture.source, self._settings) for picture in group.pictures]
            answer, finished = self._stream(backend, group, images, cancel)
        except (ImageError, RequestError) as error:
            self._fail(group, error)
            return
        if finished.reason == "cancelled":
            return
        self._done += len(group)
        if self._answers is not None:
            usage = finished.usage
            result = {
                "answer": answer,
                **self._places(backend, answer, images),
                "reason": finished.reason,
                "prompt_tokens": usage.prompt_tokens,
                "image_tokens": usage.image_tokens,
                "completion_tokens": usage.completion_tokens,
                "seconds": round(time.perf_counter() - began, 3),
            }
            self._answers.add(group, result)

    def _places(
        self, backend: Backend, answer: str, images: Sequence[Image]
    ) -> dict[str, list[dict[str, object]]]:
        """The boxes and points that an answer names; nothing where it names none."""
        if not speaks_of_places(answer):
            return {}
        layouts = [backend.image_layout(image, self._options) for image in images]
        return {"places": [place.to_json() for place in grounded(answer, layouts)]}

    def _stream(
        self, backend: Backend, group: Group, images: Sequence[Image], cancel: threading.Event
    ) -> tuple[str, Finished]:
        """Prints the names and the answer. Each is a conversation that nothing went before."""
        if isinstance(backend, Forgetful):
            backend.forget()
        if self._meter is not None:
            self._meter.hide()
        print(end="\n" if self._printed else "")
        print(group.shown, flush=True)
        self._printed = True
        session = ChatSession(
            backend, system_prompt=self._system_prompt, max_images=self._settings.max_images
        )
        pieces: list[str] = []
        shown, finished = PlainText(), None
        try:
            for event in session.send(self._prompt, images, self._options, cancel):
                if isinstance(event, TextDelta):
                    pieces.append(event.text)
                    print(shown.push(event.text), end="", flush=True)
                elif isinstance(event, Finished):
                    finished = event
        finally:
            print(shown.finish(), flush=True)  # ends the line, also of an answer that broke off
        assert finished is not None  # a session raises where there is no end
        return "".join(pieces), finished

    def _fail(self, group: Group, error: VLMError) -> None:
        """Says what went wrong with a group, and keeps it."""
        self._failed += len(group)
        names, sentence = group.shown, error_text(error, self._language)
        self._tell(sentence if names in sentence else f"{names}: {sentence}")
        if self._answers is not None:
            self._answers.add(group, {"error": sentence})

    def _tell(self, sentence: str) -> None:
        if self._meter is not None:
            self._meter.hide()
        print(sentence, file=sys.stderr, flush=True)

    def finish(self) -> int:
        """Says how it went. Returns the exit status."""
        facts = {"done": self._done, "total": len(self._pictures), "failed": self._failed}
        self._tell(say("describe.summary", self._language, **facts))
        return 1 if self._failed else 0

    def stop(self) -> int:
        """Says how far it came and how to go on. Returns the exit status."""
        key = "describe.stopped_unkept" if self._answers is None else "describe.stopped"
        self._tell(say(key, self._language, done=self._done, total=len(self._pictures)))
        return INTERRUPTED

    def close(self) -> None:
        """Closes the file of answers."""
        if self._answers is not None:
            self._answers.close()

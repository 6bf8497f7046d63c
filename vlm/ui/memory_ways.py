"""When memory ran out, for an answer or for a model: what would fit, as buttons that do it.

In: the error with its numbers, and the conversation. Out: buttons, and the answer tried again in
the setting of the one that was pressed.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from vlm import families
from vlm.errors import ModelError, RequestError, VLMError
from vlm.picker import FEWER_BITS, LOADING_ERRORS, Picker, largest_that_fits
from vlm.report import byte_words
from vlm.strings import say
from vlm.ui import frame, models_view
from vlm.ui.chat_parts import Parts
from vlm.ui.chat_view import MODEL_ERRORS
from vlm.ui.context import Context, Draft, Updates, action_button, escaped
from vlm.workload import Workload

if TYPE_CHECKING:
    from vlm.blueprint import Blueprint
    from vlm.estimate import Attempt, Retry

MEMORY_ERRORS = ("out_of_memory_answer", "out_of_memory_images")
"""Errors that carry what an estimate needs."""

STEP = 0.25
"""Seconds between two looks at a loading."""

Facts = dict[str, str]
Acts = Mapping[str, Callable[[Draft, Facts], Iterator[Updates]]]


def inner(act: str, facts: Facts) -> tuple[str, Facts]:
    """What a "fit" button does again, and its facts; anything else as it is."""
    return (facts.get("again", "send"), facts) if act == "fit" else (act, facts)


class MemoryWays:
    """The ways on that fit, and what they do.

    Args:
        acts: what can be done again, by name.
        at_rest: draws the conversation once a model has been exchanged.
    """

    def __init__(
        self, context: Context, parts: Parts, acts: Acts, at_rest: Callable[[Draft], Updates]
    ) -> None:
        self.context, self.parts = context, parts
        self.acts, self.at_rest = acts, at_rest
        self.picker = Picker(context.settings)

    # ---- what fits ----

    def can_help(self, error: VLMError) -> bool:
        """Whether there are ways on from an error that `ways` has to work out."""
        if self.context.settings.backend != "local":
            return False
        came_back = error.key in MODEL_ERRORS and self.context.backend.state == "ready"
        return came_back or error.key in (*MEMORY_ERRORS, *LOADING_ERRORS)

    def ways(self, error: VLMError, draft: Draft, again: Facts) -> str:
        """Buttons; a sentence where nothing fits. Takes seconds: shapes are run through the model.

        Args:
            error: one that `can_help` knows.
            again: what asking again means here: the `act` of a button, and its facts.
        """
        if error.key in MEMORY_ERRORS:
            return self._ways_for_answer(error, draft, again)
        return self._ways_for_model(error, draft, again)

    def _ways_for_model(self, error: VLMError, draft: Draft, again: Facts) -> str:
        """A model did not come: others, and the one before where it is back."""
        slot, language = self.context.backend, draft.language
        last = slot.last.settings if slot.last else slot.settings
        ways = []
        if error.key in LOADING_ERRORS and not self.context.settings.hosted:
            tried = str(error.facts.get("precision", last.quantization))
            for each in FEWER_BITS.get(tried, ()):
                words = say(
                    "memory.precision", language, precision=say(f"precision.{each}", language)
                )
                facts = {"model": last.model, "quantization": each}
                ways.append(action_button("fit", words, **facts, **_again(again)))
            ways.append(self._smaller_model(last.model, math.inf, again, language))
        if slot.able is not None and slot.state == "ready":
            kept = say("models.kept", language, name=slot.able.name)
            key = "way.send" if again["act"] == "send" else "way.retry"
            return f"<span>{escaped(kept)}</span>{''.join(ways)}" + action_button(
                words=say(key, language), **again
            )
        return "".join(ways) + action_button("load", say("way.load", language))

    def _ways_for_answer(self, error: VLMError, draft: Draft, again: Facts) -> str:
        """The answer did not fit: less of it, or a smaller model."""
        from vlm.estimate import retries

        slot, language = self.context.backend, draft.language
        blueprint = self.picker.blueprint(
            slot.settings.model, slot.settings.dtype, slot.settings.tokenizer
        )
        free = self._free(blueprint)
        asked = self._asked(error, draft, again, blueprint)
        found = retries(blueprint, asked, self._turns(draft, again), free)
        offered = [each for each in found if self._possible(each, again)]
        buttons = [self._button(each, asked, draft, again, free) for each in offered]
        if not self.context.settings.hosted and not _loads(offered):
            held = sum(slot.able.memory.values()) if slot.able else 0
            buttons.append(self._smaller_model(slot.settings.model, held / 2e6, again, language))
        return "".join(buttons) or say("memory.nothing", language, free=byte_words(free))

    def _free(self, blueprint: "Blueprint") -> int:
        """Bytes for everything: what is free, and what the model and its libraries hold now."""
        from vlm import memory

        return memory.free_bytes(blueprint.device) + self.picker.freed(self.context.backend)

    def _asked(
        self, error: VLMError, draft: Draft, again: Facts, blueprint: "Blueprint"
    ) -> "Attempt":
        from vlm.estimate import Attempt
        from vlm.quantization import FOUR_BITS

        facts: dict[str, Any] = dict(error.facts)
        _, options, _ = self.parts.drawer.read(draft.controls)
        if again["act"] == "continue":
            options = draft.visit.session.turns[-1].options
        workload = Workload(
            context=facts["tokens"] + facts["room"],
            images=facts["images"],
            size=(facts["width"], facts["height"]) if facts["images"] else None,
            detail=options.image_detail,
            kv_cache_bits=options.kv_cache_bits or 16,
        )
        able = self.context.backend.able
        kinds = (*blueprint.precisions, *FOUR_BITS)
        loaded = [each for each in kinds if able and each in able.details]
        quantization = loaded[0] if loaded else blueprint.precisions[0]
        return Attempt(quantization=quantization, workload=workload, room=facts["room"])

    def _turns(self, draft: Draft, again: Facts) -> list[int]:
        """Tokens of the turns that go before the question and could be left out."""
        session, editing = draft.visit.session, draft.visit.editing
        at = len(session.turns) if editing is None or again["act"] != "send" else editing
        if again["act"] == "retry":
            at = int(again.get("turn", at - 1))
        elif again["act"] == "continue":
            at -= 1
        return [turn.tokens for turn in session.turns[session.dropped : at]]

    def _possible(self, retry: "Retry", again: Facts) -> bool:
        """On a shared server nothing is loaded; what was begun goes on with its own options."""
        loads = _loads([retry])
        if loads and self.context.settings.hosted:
            return False
        return again["act"] != "continue" or retry.change in ("nothing", "turns", "precision")

    # ---- buttons ----

    def _button(
        self, retry: "Retry", asked: "Attempt", draft: Draft, again: Facts, free: int
    ) -> str:
        language, attempt = draft.language, retry.attempt
        changes = {
            name: value
            for name, value in attempt.workload.detail.items()
            if value != asked.workload.detail.get(name)
        }
        if attempt.room != asked.room:
            changes["max_new_tokens"] = attempt.room
        if attempt.workload.kv_cache_bits != asked.workload.kv_cache_bits:
            changes["kv_cache_bits"] = attempt.workload.kv_cache_bits
        given = " ".join(f"{name}={value}" for name, value in changes.items())
        drop = draft.visit.session.dropped + attempt.dropped if attempt.dropped else 0
        facts = {"set": given, "drop": drop, **_again(again)}
        if attempt.quantization != asked.quantization:
            facts["quantization"] = attempt.quantization
        total = byte_words(retry.estimate.total)
        label = say("memory.takes", language, total=total, free=byte_words(free))
        words = self._words(retry, drop, language)
        return action_button("fit", words, f"{words}. {label}", **facts)

    def _words(self, retry: "Retry", drop: int, language: str) -> str:
        attempt = retry.attempt
        detail = attempt.workload.detail
        if retry.change == "images":
            name = next(name for name in ("tiles", "pixels") if name in detail)
            return say(f"memory.{name}", language, value=f"{detail[name]:,}")
        if retry.change == "turns":
            return say("memory.turns" if drop > 1 else "memory.turn", language, count=drop)
        precision = say(f"precision.{attempt.quantization}", language)
        key = "way.send" if retry.change == "nothing" else f"memory.{retry.change}"
        return say(key, language, value=attempt.room, precision=precision)

    def _smaller_model(self, model: str, most: float, again: Facts, language: str) -> str:
        """A button for the largest other model that fits; with fewer parameters where `model` is
        in the list, else with fewer than `most` millions."""
        slot = self.context.backend
        known = families.look_up(model)
        rows = self.picker.rows("auto", slot.settings.dtype, self.picker.freed(slot))
        here = slot.settings.model if slot.state == "ready" else model
        others = [row for row in rows if row.checkpoint.name not in (model, here)]
        row = largest_that_fits(others, known.parameters if known else most)
        if row is None:
            return ""
        facts = {"model": row.checkpoint.name, "quantization": row.verdict.quantization}
        words = say("memory.model", language, name=row.checkpoint.title)
        return action_button("fit", words, **facts, **_again(again))

    # ---- what they do ----

    def fit(self, draft: Draft, facts: Facts) -> Iterator[Updates]:
        """Changes what the button names, and asks again."""
        changes = dict(each.split("=") for each in facts.get("set", "").split())
        controls, updates = self.parts.drawer.changed(draft.controls, changes)
        draft = replace(draft, controls=controls)
        yield {**updates, self.parts.notice: ""}
        if drop := int(facts.get("drop", 0)):
            draft.visit.session.drop_oldest(drop)
        if facts.get("quantization"):
            yield from self._load(draft, facts)
        act, facts = inner("fit", facts)
        yield from self.acts[act](draft, facts)

    def _load(self, draft: Draft, facts: Facts) -> Iterator[Updates]:
        """Exchanges the model and waits for it. Raises why it did not come.

        On a shared server no button asks for it, but a page can send what it likes.
        """
        if self.context.settings.hosted:
            raise RequestError("hosted_model")
        slot, language = self.context.backend, draft.language
        model = facts.get("model") or slot.settings.model
        tokenizer = slot.settings.tokenizer if model == slot.settings.model else ""
        settings = replace(
            slot.settings, model=model, quantization=facts["quantization"], tokenizer=tokenizer
        )
        loading = slot.exchange(settings)
        while not loading.over.wait(STEP):
            words = models_view.loading(loading, families.title(model), 0.0, language)
            yield {self.parts.notice: words, self.parts.box: gr.update(submit_btn=False)}
        if isinstance(loading.error, VLMError):
            raise loading.error
        if loading.error is not None or loading.cancel.is_set():
            raise ModelError("loading_cancelled") from loading.error
        status = frame.model_words(self.context, language)
        yield {**self.at_rest(draft), self.context.model_status: status, self.parts.notice: ""}


def _again(again: Facts) -> Facts:
    """The facts of asking again, to be sent along: its act has another name there."""
    return {"again": again["act"], **{k: v for k, v in again.items() if k in ("turn", "name")}}


def _loads(retries: "list[Retry]") -> bool:
    """Whether one of them loads the model in fewer bits."""
    return any(each.change in ("precision", "everything") for each in retries)

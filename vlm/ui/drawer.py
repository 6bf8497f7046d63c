"""The settings drawer of the Chat tab: every option of an answer, and what differs from the model.

In: what a person sets; an empty field means the model's own value, which it shows. Out:
`GenerationOptions`, and a row of chips for the values that were changed.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from vlm.backend import Capabilities, ImageKnob
from vlm.errors import RequestError, VLMError
from vlm.options import GenerationOptions, Preset, with_preset
from vlm.strings import error_text, say
from vlm.ui.context import Context, action_button, escaped, holder

NUMBERS = {
    "temperature": "temperature",
    "top_p": "top-p",
    "top_k": "top-k",
    "repetition_penalty": "repetition-penalty",
    "max_new_tokens": "max-tokens",
    "min_new_tokens": "min-tokens",
    "num_beams": "num-beams",
    "seed": "seed",
}
"""Option -> elem_id of its field."""

INFO = {
    "max_new_tokens": "option.tokens.info",
    "min_new_tokens": "option.tokens.info",
}
"""Options whose label already says what the terminal's words say; here is what is left to say."""

SHORT = ("temperature", "top_p", "max_new_tokens", "seed")
"""The options of a drawer in another tab, where there is less room."""

KNOBS = ("tiles", "pixels", "splitting", "thumbnail", "padding", "cropping", "numbering")
COUNTED = ("tiles", "pixels")
WHOLE = {"top_k", "max_new_tokens", "min_new_tokens", "num_beams", "seed", *COUNTED}


class Drawer:
    """The fields of the drawer. `controls` are its inputs, in the order `options` takes them.

    Args:
        prefix: of the ids of its fields, where it is not the one of the Chat tab; that one alone
            has every option.
    """

    def __init__(self, context: Context, prefix: str = "") -> None:
        self.context = context
        self.prefix = prefix
        words = context.words
        self.problem = holder(f"{prefix}settings-problem")
        self.system_prompt = words.add(
            gr.Textbox(elem_id=f"{prefix}system-prompt", lines=2, max_lines=8),
            label="option.system_prompt.label",
            placeholder="option.system_prompt.placeholder",
        )
        if not prefix:
            words.add(gr.Markdown(elem_classes="heading"), value="settings.answer")
        words.add(gr.Markdown(elem_classes="quiet"), value="settings.empty")
        self.presets = holder(f"{prefix}answer-presets")
        with gr.Row(elem_classes="fields"):
            self.numbers = {name: self._number(name) for name in (SHORT if prefix else NUMBERS)}
        self.stop = None if prefix else self._stop()
        self.kv_cache = None if prefix else self._kv_cache()
        words.add(gr.Markdown(elem_classes="heading"), value="settings.images")
        with gr.Column(elem_id=f"{prefix}image-detail"):
            self.image_note = gr.HTML(elem_classes="strip-holder quiet", padding=False)
            self.knobs = {name: self._knob(name) for name in KNOBS}
        self.controls: list[Any] = [
            self.system_prompt,
            *self.numbers.values(),
            *([self.stop] if self.stop else []),
            *self.knobs.values(),
            *([self.kv_cache] if self.kv_cache else []),
        ]

    def _stop(self) -> gr.Textbox:
        return self.context.words.add(
            gr.Textbox(elem_id="stop-texts", lines=1, max_lines=4),
            label="option.stop.label",
            info="option.stop.info",
        )

    def _kv_cache(self) -> gr.Dropdown:
        return self.context.words.add(
            gr.Dropdown([("", "default")], value="default", elem_id="kv-cache", visible=False),
            label="option.kv_cache_bits.label",
            info="option.kv_cache_bits.info",
        )

    def _number(self, name: str) -> gr.Textbox:
        # A field of text, as one of numbers cannot be empty from the start.
        field = gr.Textbox(
            elem_id=f"{self.prefix}{NUMBERS[name]}",
            max_lines=1,
            min_width=120,
            html_attributes=gr.InputHTMLAttributes(autocorrect="off", spellcheck=False),
        )
        info = INFO.get(name, f"option.{name}")
        return self.context.words.add(field, label=f"option.{name}.label", info=info)

    def _knob(self, name: str) -> Any:
        id = f"{self.prefix}image-{name}"
        if name in COUNTED:
            control: Any = gr.Textbox(elem_id=id, max_lines=1, visible=False)
        else:
            control = gr.Dropdown([("", "default")], value="default", elem_id=id, visible=False)
        return self.context.words.add(control, label=f"knob.{name}")

    def options(self, values: Sequence[Any]) -> tuple[str, GenerationOptions]:
        """(system prompt, options) as they stand in the fields.

        Raises:
            RequestError: a number out of its range.
        """
        system_prompt, options, wrong = self.read(values)
        if wrong:
            raise wrong[0]
        return system_prompt, options

    def read(self, values: Sequence[Any]) -> tuple[str, GenerationOptions, list[RequestError]]:
        """(system prompt, the options that mean something, what is wrong with the others)."""
        given = dict(zip(self.names, values, strict=True))
        system_prompt = (given.pop("system_prompt") or "").strip()
        stops = tuple(line for line in (given.pop("stop", "") or "").split("\n") if line)
        numbers: dict[str, Any] = {}
        wrong: list[RequestError] = []
        for name in (*self.numbers, *COUNTED):
            try:
                if _filled(given[name]):
                    numbers[name] = _number(name, given[name])
            except RequestError as error:
                wrong.append(error)
        detail: dict[str, int | bool] = {
            name: given[name] == "on"
            for name in KNOBS
            if name not in COUNTED and given[name] in ("on", "off")
        }
        detail |= {name: numbers.pop(name) for name in COUNTED if name in numbers}
        if given.get("kv_cache_bits") not in ("", None, "default"):
            numbers["kv_cache_bits"] = int(given["kv_cache_bits"])
        return system_prompt, GenerationOptions(**numbers, stop=stops, image_detail=detail), wrong

    def show_defaults(self, able: Capabilities, language: str) -> dict[Any, Any]:
        """The model's own values in the empty fields, and what its processor lets one choose."""
        updates: dict[Any, Any] = {
            field: gr.update(placeholder=_default_words(name, able.defaults, language))
            for name, field in self.numbers.items()
        }
        known = {knob.name: knob for knob in able.image_knobs}
        for name, control in self.knobs.items():
            updates[control] = _knob_update(known.get(name), language)
        note = "" if known else f"<p>{say('knob.none', language)}</p>"
        updates[self.image_note] = note
        if self.kv_cache:
            updates[self.kv_cache] = _kv_cache_update(able.kv_cache_bits, language)
        updates[self.presets] = "" if self.prefix else preset_row(able.presets, language)
        return updates

    @property
    def names(self) -> tuple[str, ...]:
        """Of everything that `reset` can reset."""
        stop = ("stop",) if self.stop else ()
        cache = ("kv_cache_bits",) if self.kv_cache else ()
        return ("system_prompt", *self.numbers, *stop, *KNOBS, *cache)

    @property
    def outputs(self) -> list[Any]:
        """What `show_defaults` updates, and where wrong numbers are told."""
        told = (self.image_note, self.presets, self.problem)
        cache = [self.kv_cache] if self.kv_cache else []
        return [*self.numbers.values(), *self.knobs.values(), *cache, *told]

    def fill(self, name: str, presets: Sequence[Preset]) -> dict[Any, Any]:
        """The fields of the options that a preset sets, with its values; the others stay.

        Raises:
            SettingError: there is no preset of that name.
        """
        options = with_preset(GenerationOptions(), name, presets)
        given = {option: getattr(options, option) for option in NUMBERS}
        return {
            self.controls[self.names.index(option)]: f"{value:g}"
            for option, value in given.items()
            if value is not None
        }

    def reset(self, name: str) -> dict[Any, Any]:
        """The field of an option as it was at first."""
        if name not in self.names:
            raise RequestError("option_unknown", got=name, known=", ".join(self.names))
        chosen = name == "kv_cache_bits" or (name in KNOBS and name not in COUNTED)
        return {self.controls[self.names.index(name)]: "default" if chosen else ""}

    def changed(
        self, values: Sequence[Any], changes: Mapping[str, str]
    ) -> tuple[list[Any], dict[Any, Any]]:
        """(`controls` as they stand with other values in some fields, updates of these fields)."""
        after, updates = list(values), {}
        for name, value in changes.items():
            place = self.names.index(name)
            after[place] = value
            updates[self.controls[place]] = gr.update(value=value)
        return after, updates


def preset_row(presets: Sequence[Preset], language: str) -> str:
    """A button for each preset of a model, which fills the fields; empty where it has none."""
    buttons = [
        action_button(
            "options", say(f"answer_preset.{each.name}", language), name=each.name, style="preset"
        )
        for each in presets
    ]
    label = escaped(say("settings.presets", language))
    group = f'<div class="presets" role="group" aria-label="{label}">{"".join(buttons)}</div>'
    return group if buttons else ""


def chips(system_prompt: str, options: GenerationOptions, language: str) -> str:
    """A button for each value that was changed; pressing it takes the change back."""
    changed: dict[str, Any] = {
        name: getattr(options, name) for name in NUMBERS if getattr(options, name) is not None
    }
    if options.stop:
        changed["stop"] = " ".join(repr(stop) for stop in options.stop)
    if options.kv_cache_bits is not None:
        changed["kv_cache_bits"] = say(f"kv_cache.{options.kv_cache_bits}", language)
    if system_prompt:
        changed["system_prompt"] = shortened(system_prompt)
    buttons = [
        _chip(name, say(f"option.{name}.label", language), value, language)
        for name, value in changed.items()
    ]
    for name, value in options.image_detail.items():
        switch = say(f"knob.{'on' if value else 'off'}", language)
        shown = switch if isinstance(value, bool) else value
        buttons.append(_chip(name, say(f"knob.{name}", language), shown, language))
    return f'<div class="chips">{"".join(buttons)}</div>' if buttons else ""


def problem_words(error: VLMError, language: str) -> str:
    """What is wrong with a number, under the name that its field has."""
    name = str(error.facts.get("name", ""))
    label = say(f"knob.{name}" if name in KNOBS else f"option.{name}.label", language)
    key = error.key
    if key == "option_type":
        key = "option_whole" if name in WHOLE else "option_number"
    return error_text(RequestError(key, **{**error.facts, "name": label}), language)


def shortened(text: str, length: int = 32) -> str:
    """The beginning of a text, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _chip(name: str, label: str, value: object, language: str) -> str:
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    takes_back = say("chip.reset", language, name=label)
    return action_button("reset", f"{label} {shown} ×", takes_back, "chip", name=name)


def _filled(text: str | None) -> bool:
    return bool(text and text.strip())


def _number(name: str, text: str) -> int | float:
    """The number that somebody typed; a comma is read as a decimal point. Raises RequestError."""
    try:
        number = int(text) if name in WHOLE else float(re.sub("[,，。]", ".", text))
    except ValueError:
        raise RequestError("option_type", name=name, got=repr(text.strip()[:40])) from None
    if name in NUMBERS:
        GenerationOptions(**{name: number})  # pyright: ignore[reportArgumentType]
    return number


def _default_words(name: str, defaults: Mapping[str, object], language: str) -> str:
    if name == "seed":
        return say("option.seed.random", language)
    value = defaults.get(name)
    if value is None:
        return say("option.default.unknown", language)
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return say("option.default", language, value=shown)


def _kv_cache_update(accepted: Sequence[int], language: str) -> Any:
    """The choices where there is one; a model without it takes the choice back."""
    if len(accepted) < 2:
        return gr.update(visible=False, value="default")
    usual = say("option.default", language, value=say(f"kv_cache.{accepted[0]}", language))
    others = [(say(f"kv_cache.{bits}", language), str(bits)) for bits in accepted[1:]]
    return gr.update(visible=True, choices=[(usual, "default"), *others])


def _knob_update(knob: ImageKnob | None, language: str) -> Any:
    if knob is None:
        return gr.update(visible=False)
    if isinstance(knob.default, bool):
        usual = say("knob.on" if knob.default else "knob.off", language)
        choices = [
            (say("option.default", language, value=usual), "default"),
            (say("knob.on", language), "on"),
            (say("knob.off", language), "off"),
        ]
        return gr.update(visible=True, choices=choices)
    return gr.update(
        visible=True,
        placeholder=say("option.default", language, value=knob.default),
        info=f"{knob.low} – {knob.high}",
    )

"""Prompt formats, as data, and two ways to write one.

`chat_template` gives the Jinja text that a processor applies to messages; `write_prompt` is the
published `chat()`: question and history with `<image>` where an image goes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from vlm.errors import ModelError

MARK = "<image>"
"""Where an image goes, in the published form of a question."""
PLACEHOLDER = "<IMG_CONTEXT>"
IMAGE_START, IMAGE_END = "<img>", "</img>"

SHANGHAI = (
    "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, "
    "是一个有用无害的人工智能助手。"
)
WANXIANG = (
    "你是书生·万象，英文名是InternVL，"
    "是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"
)


@dataclass(frozen=True, kw_only=True)
class Template:
    """A prompt format.

    Attributes:
        system, user, assistant: what opens a block.
        end: what closes one; without the white space around it, it is the stop token.
        system_message: the system text, unless another one is given.
    """

    system: str
    user: str
    assistant: str
    end: str
    system_message: str = SHANGHAI

    @property
    def stop_token(self) -> str:
        """The one token at which an answer ends."""
        return self.end.strip()


_CHATML = {
    "system": "<|im_start|>system\n",
    "user": "<|im_start|>user\n",
    "assistant": "<|im_start|>assistant\n",
}

TEMPLATES = {
    "internlm2-chat": Template(**_CHATML, end="<|im_end|>"),
    "Hermes-2": Template(**_CHATML, end="<|im_end|>"),
    "internvl2_5": Template(**_CHATML, end="<|im_end|>\n", system_message=WANXIANG),
    "phi3-chat": Template(
        system="<|system|>\n", user="<|user|>\n", assistant="<|assistant|>\n", end="<|end|>"
    ),
}
"""Name in config.json -> format. The first two differ only in training."""


def find_template(name: str | None, source: str = "-") -> Template:
    """The format of that name.

    Args:
        name: `template` of the configuration.
        source: the checkpoint, for the error.

    Raises:
        ModelError: there is none.
    """
    if name not in TEMPLATES:
        raise ModelError(
            "template_unknown", source=source, got=name or "-", known=", ".join(TEMPLATES)
        )
    return TEMPLATES[name]


def image_text(tiles: int, tokens_per_tile: int) -> str:
    """What stands in the prompt for one image: one pair of marks, nothing between its tiles."""
    return f"{IMAGE_START}{PLACEHOLDER * (tiles * tokens_per_tile)}{IMAGE_END}"


def write_prompt(
    template: Template,
    question: str,
    *,
    history: Sequence[tuple[str, str]] | None = None,
    tiles: Sequence[int] | None = None,
    tokens_per_tile: int = 256,
    system_message: str | None = None,
) -> str:
    """The prompt of the published `chat()`.

    Each of `tiles` takes the first `<image>` that is left, in the system text, the history and the
    question; one that is left over stays as text.

    Args:
        template: the format.
        question: may say `<image>`; where it does not, and there is an image and no history, the
            image goes before it.
        history: pairs of question and answer; an empty list counts as one.
        tiles: of each image, thumbnail included; None: no image.
        tokens_per_tile: placeholders that a tile takes.
        system_message: instead of the format's own; may be empty.

    Source: `InternVLChatModel.chat` of OpenGVLab/InternVL.
    """
    if history is None and tiles is not None and MARK not in question:
        question = f"{MARK}\n{question}"
    system = template.system_message if system_message is None else system_message
    prompt = f"{template.system}{system}{template.end}"
    for asked, answered in (*(history or ()), (question, "")):
        prompt += f"{template.user}{asked}{template.end}{template.assistant}"
        prompt += f"{answered}{template.end}" if answered else ""
    for count in tiles or ():
        prompt = prompt.replace(MARK, image_text(count, tokens_per_tile), 1)
    return prompt


_JINJA = """\
{%- set images = namespace(total=0, number=0) -%}
{%- for message in messages -%}
    {%- if message.content is not string -%}
        {%- set found = message.content | selectattr('type', 'equalto', 'image') | list -%}
        {%- set images.total = images.total + found | length -%}
    {%- endif -%}
{%- endfor -%}
{%- if messages[0].role != 'system' -%}
    {{- SYSTEM + SYSTEM_MESSAGE + END -}}
{%- endif -%}
{%- for message in messages -%}
    {%- set opening = {'system': SYSTEM, 'user': USER, 'assistant': ASSISTANT} -%}
    {{- opening[message.role] -}}
    {%- if message.content is string -%}
        {{- message.content -}}
        {%- set empty = message.content | length == 0 -%}
    {%- else -%}
        {%- set begun = namespace(words=false) -%}
        {%- for part in message.content -%}
            {%- if part.type == 'text' -%}
                {{- part.text -}}
                {%- set begun.words = begun.words or part.text | length > 0 -%}
            {%- elif part.type == 'image' -%}
                {%- set images.number = images.number + 1 -%}
                {%- if images.total > 1 and not begun.words -%}
                    {{- 'Image-' ~ images.number ~ ': ' -}}
                {%- endif -%}
                {{- PLACEHOLDER -}}
                {{- '' if begun.words else '\\n' -}}
            {%- endif -%}
        {%- endfor -%}
        {%- set empty = not begun.words -%}
    {%- endif -%}
    {{- '' if message.role == 'assistant' and empty else END -}}
{%- endfor -%}
{{- ASSISTANT if add_generation_prompt else '' -}}
"""


def chat_template(template: Template, system_message: str | None = None) -> str:
    """Jinja text that writes messages in a format.

    Images ahead of the words of a message stand on lines of their own, numbered throughout the
    conversation if there is more than one; an image among the words stands just there.

    Args:
        template: the format.
        system_message: what is said first where no message of the system is; None: the format's.
    """
    constants = {
        "SYSTEM": template.system,
        "USER": template.user,
        "ASSISTANT": template.assistant,
        "END": template.end,
        "PLACEHOLDER": PLACEHOLDER,
        "SYSTEM_MESSAGE": template.system_message if system_message is None else system_message,
    }
    lines = [
        f"{{%- set {name} = {json.dumps(text, ensure_ascii=False)} -%}}\n"
        for name, text in constants.items()
    ]
    return "".join(lines) + _JINJA

"""The prompt: ChatML, and two ways to write it.

    <|im_start|>system\\n你是一位图像理解助手。<|im_end|>\\n
    <|im_start|>user\\nEARLIER QUESTION<|im_end|>\\n<|im_start|>assistant\\nANSWER<|im_end|>\\n
    <|im_start|>user\\n用中文回答：QUESTION<|extra_0|><|im_end|>\\n<|im_start|>assistant\\n

`chat_template` gives the Jinja text that a processor applies to messages; `write_prompt` is the
published function: a question, wherever it has its `<|extra_0|>`, and the turns before it.
"""

import json
from collections.abc import Sequence

PLACEHOLDER = "<|extra_0|>"
END_OF_TEXT = "<|endoftext|>"
"""The only token at which an answer ends: what the adapter was trained to say after one."""

START, END = "<|im_start|>", "<|im_end|>"
SYSTEM_MESSAGE = "你是一位图像理解助手。"
PREFIX = "用中文回答："
"""Before the newest question: "answer in Chinese:"."""


def write_prompt(
    question: str,
    history: Sequence[tuple[str, str]] = (),
    system_message: str = SYSTEM_MESSAGE,
) -> str:
    """The prompt of the published code.

    Args:
        question: as it is to stand there, with the prefix and the placeholder if it has any.
        history: pairs of question and answer.
        system_message: what is said first.
    """
    blocks = [("system", system_message)]
    for asked, said in history:
        blocks += [("user", asked), ("assistant", said)]
    blocks.append(("user", question))
    written = "".join(f"{START}{role}\n{text}{END}\n" for role, text in blocks)
    return f"{written}{START}assistant\n"


_JINJA = """\
{%- set seen = namespace(images=0, newest=-1) -%}
{%- for message in messages -%}
    {%- if message.role == 'user' -%}
        {%- set seen.newest = loop.index0 -%}
    {%- endif -%}
    {%- if message.content is not string -%}
        {%- set found = message.content | selectattr('type', 'equalto', 'image') | list -%}
        {%- set seen.images = seen.images + found | length -%}
    {%- endif -%}
{%- endfor -%}
{%- set plain = messages[0].role != 'system' -%}
{%- if plain -%}
    {{- START + 'system\\n' + SYSTEM_MESSAGE + END + '\\n' -}}
{%- endif -%}
{%- for message in messages -%}
    {%- set newest = loop.index0 == seen.newest -%}
    {{- START + message.role + '\\n' -}}
    {{- PREFIX if newest and plain else '' -}}
    {%- if message.content is string -%}
        {{- message.content -}}
    {%- else -%}
        {%- for part in message.content if part.type == 'text' -%}{{- part.text -}}{%- endfor -%}
    {%- endif -%}
    {{- PLACEHOLDER * seen.images if newest else '' -}}
    {%- if loop.last and message.role == 'assistant' and not add_generation_prompt -%}
        {{- END_OF_TEXT -}}
    {%- else -%}
        {{- END + '\\n' -}}
    {%- endif -%}
{%- endfor -%}
{{- START + 'assistant\\n' if add_generation_prompt else '' -}}
"""


def chat_template() -> str:
    """Jinja text that writes messages.

    All images of the conversation stand at the end of the newest question, in their order, as the
    published page attaches its one image again and again: the model was trained with nothing
    else, and keeps what it sees next to what it is asked. Earlier turns are bare text. A system
    message of one's own takes the place of both the published one and the prefix, which tells the
    model to answer in Chinese. A conversation that ends with an answer is one to learn from.
    """
    constants = {
        "START": START,
        "END": END,
        "END_OF_TEXT": END_OF_TEXT,
        "PLACEHOLDER": PLACEHOLDER,
        "PREFIX": PREFIX,
        "SYSTEM_MESSAGE": SYSTEM_MESSAGE,
    }
    lines = [
        f"{{%- set {name} = {json.dumps(text, ensure_ascii=False)} -%}}\n"
        for name, text in constants.items()
    ]
    return "".join(lines) + _JINJA

"""What models write besides plain text, told apart: thoughts, boxes, addresses of pictures.

In: an answer, also an unfinished one. Out: text. No page and no model here.
"""

import re

THINKING = re.compile(r"\A\s*<(think|thinking)>(.*?)(?:</\1>\s*|\Z)", re.DOTALL)


def split_thinking(answer: str) -> tuple[str, str]:
    """(thoughts, answer proper) of a model that thinks aloud first, in a `<think>` block.

    The thoughts of an answer that broke off within them are all that follows the opening mark.
    """
    found = THINKING.match(answer)
    return (found.group(2).strip(), answer[found.end() :]) if found else ("", answer)

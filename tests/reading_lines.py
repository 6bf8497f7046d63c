"""The lines that docs/reading*.md point at.

    .venv/bin/python -m tests.reading_lines

writes their numbers anew after the code has moved. A link names a file, a line and, in quotes, what
stands on that line.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "docs" / "reading.md", ROOT / "docs" / "reading.zh.md")
LINK = re.compile(r'\]\(\.\./(?P<file>[\w/.]+)#L(?P<line>\d+) "(?P<text>[^"]+)"\)')


def place(file: str, text: str) -> int:
    """The number of the line of a file that has a text, the first of them. LookupError: none."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if text in line:
            return number
    raise LookupError(f"{file} has no line with {text!r}")


def renumbered(page: str) -> str:
    """A page with the right numbers in its links."""

    def link(found: re.Match[str]) -> str:
        number = place(found["file"], found["text"])
        return f'](../{found["file"]}#L{number} "{found["text"]}")'

    return LINK.sub(link, page)


def main() -> None:
    """Writes both pages."""
    for path in PAGES:
        path.write_text(renumbered(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

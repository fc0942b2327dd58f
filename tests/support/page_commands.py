"""The commands of a page of the documentation: its ```sh blocks, in order.

Blocks of other languages are not run: `console` for commands that need another machine or another program, `text` for
what a program prints, and the languages of files.
"""

import re
from pathlib import Path

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def commands(page: Path, section: str | None = None, *, language: str = "sh") -> str:
    """Return the commands of a page, or of the section with this heading, as one script."""
    return "\n".join(text for found, text in blocks(page, section) if found == language)


def blocks(page: Path, section: str | None = None) -> list[tuple[str, str]]:
    """Return language and text of all blocks."""
    text = page.read_text()
    if section is not None:
        (heading,) = re.findall(rf"^(#+) {re.escape(section)}$", text, re.MULTILINE)
        text = text.partition(f"\n{heading} {section}\n")[2]
        text = re.split(rf"^#{{1,{len(heading)}}} ", text, maxsplit=1, flags=re.MULTILINE)[0]
    return [(language, body) for language, body in BLOCK.findall(text)]

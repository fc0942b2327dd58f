"""Docstrings: a summary fits on one short line."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import CHECKOUT

SUMMARY_MAX_CHARS = 80  # without indentation and quotes


def long_summaries(path: Path) -> Iterator[str]:
    """Yield the place of each docstring with a long summary."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            summary = (ast.get_docstring(node) or "").partition("\n")[0]
            if len(summary) > SUMMARY_MAX_CHARS:
                yield f"{path.relative_to(CHECKOUT)}:{node.body[0].lineno}: {len(summary)} characters: {summary}"


def test_docstring_summaries_are_short() -> None:
    """The first line of every docstring in `hermes` has at most 80 characters."""
    places = [place for path in sorted((CHECKOUT / "hermes").rglob("*.py")) for place in long_summaries(path)]
    assert not places, "\n".join(places)

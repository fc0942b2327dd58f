"""Patterns of template fields: the texts that a field accepts.

Alternatives are separated by ``|`` and written as in a shell: ``*`` any text, ``?`` one character, ``[a-z0-9]`` one of
these characters, ``[!a-z]`` one of the others. ``!`` before all alternatives negates them: every text but those.
A pattern sees one field and never crosses a ``/``, except the pattern of ``{name...}``.

The regular expressions made of them take linear time: the text between two stars is searched once, and the first place
where it is found is final.
"""

import re
from dataclasses import dataclass

_PIECES = re.compile(r"(\*)|(\?)|(\[!?\]?[^\]]*\])|([^*?\[\]]+)|([\[\]])")
_CLASS_SPECIAL = re.compile(r"([\\^&~|\[\]])")


@dataclass(frozen=True, slots=True)
class FieldPattern:
    """Pattern of one field; ``text`` as it was written."""

    text: str

    @property
    def negated(self) -> bool:
        """Whether the pattern accepts every text but its alternatives."""
        return self.text.startswith("!")

    @property
    def alternatives(self) -> tuple[str, ...]:
        """The alternatives, wildcards included."""
        return tuple(self.text.removeprefix("!").split("|"))

    @property
    def literals(self) -> tuple[str, ...] | None:
        """The accepted texts, or None if they cannot be listed."""
        plain = not self.negated and not any(sign in self.text for sign in "*?[")
        return self.alternatives if plain else None

    def problem(self) -> str | None:
        """Return what is wrong with the pattern and what to write instead, or None."""
        if "+" in self.text:
            return f"the pattern {self.text!r} contains +, which no topic contains; write * for any text"
        if not all(self.alternatives):
            return f"the pattern {self.text!r} has an empty alternative; write {{name:one|other}}"
        for match in _PIECES.finditer(self.text):
            if match[5] or match[3] in ("[]", "[!]"):
                return f"a bracket of the pattern {self.text!r} is not closed or is empty; write [a-z0-9]"
        for match in _PIECES.finditer(self.text):
            if match[3] and not _compiles(_class(match[3], "/")):
                return f"{match[3]} in the pattern {self.text!r} is not a set of characters; write [a-z0-9]"
        return None

    def matches(self, text: str, *, across: bool = False) -> bool:
        """Return whether the pattern accepts the whole text."""
        return re.fullmatch(self.regex(r"\Z", across=across), text) is not None

    def regex(self, end: str, *, across: bool = False) -> str:
        """Return a regular expression for an accepted text that ``end`` follows.

        ``end`` itself is not consumed. With ``across``, ``*`` and ``?`` match ``/`` too.
        """
        alternatives = "|".join(_alternative(text, across=across) for text in self.alternatives)
        if not self.negated:
            return f"(?!{end})(?:{alternatives})(?={end})"
        return f"(?!(?:{alternatives})(?={end})){_any(across)}++"


def _any(across: bool) -> str:
    return r"[\s\S]" if across else "[^/]"


def _alternative(text: str, *, across: bool) -> str:
    first, *others = _sections(text, across=across)
    if not others:
        return first
    *between, last = others
    any_text = f"{_any(across)}*"
    parts = [first, *(f"(?>{any_text}?{section})" for section in between if section)]
    return "".join([*parts, f"{any_text}{last}" if last else f"{any_text}+"])


def _sections(text: str, *, across: bool) -> list[str]:
    """Return regular expressions for the parts before, between and after the stars."""
    sections = [""]
    for match in _PIECES.finditer(text):
        star, question, group, literal, _ = match.groups()
        if star:
            sections.append("")
        elif question:
            sections[-1] += _any(across)
        elif group:
            sections[-1] += _class(group, "" if across else "/")
        else:
            sections[-1] += re.escape(literal or "")
    return sections


def _class(group: str, never: str) -> str:
    """Translate a set of characters for `re`, except the character ``never``."""
    body = group[1:-1]
    negated = body.startswith("!")
    body = _CLASS_SPECIAL.sub(r"\\\1", body.removeprefix("!"))
    if negated:
        return f"[^{body}{never}]"
    return f"(?!/)[{body}]" if never else f"[{body}]"  # [+-9] would match /


def _compiles(expression: str) -> bool:
    try:
        re.compile(expression)
    except re.error:
        return False
    return True

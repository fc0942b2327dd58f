"""Floor 1: the pattern of a template's field: which texts it takes.

Alternatives by ``|``, each as a shell has it: ``*`` any text, ``?`` one character, ``[a-z0-9]`` one of these,
``[!a-z]`` one of the others; ``!`` before all of them means all texts but those. Patterns look at one field and never
across a ``/``, unless the field is the rest of the topic.

They become regular expressions that take linear time: what stands between two stars is looked for once, and the place
where it is found first is kept.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

# Stand for "any text", one for each pattern, while templates are compared with each other. They are lone surrogates,
# which no topic has, because it is UTF-8 (MQTT-1.5.4-1).
MARKS = re.compile("[\ud800-\udfff]")
_PIECES = re.compile(r"(\*)|(\?)|(\[!?\]?[^\]]*\])|([^*?\[\]]+)|([\[\]])")
_CLASS_SPECIAL = re.compile(r"([\\^&~|\[\]])")


@dataclass(frozen=True, slots=True)
class FieldPattern:
    """``text`` as it was written."""

    text: str

    @property
    def negated(self) -> bool:
        """Whether it takes all but its alternatives."""
        return self.text.startswith("!")

    @property
    def alternatives(self) -> tuple[str, ...]:
        """Each with its signs."""
        return tuple(self.text.removeprefix("!").split("|"))

    @property
    def literals(self) -> tuple[str, ...] | None:
        """The texts that it takes, where they can be listed."""
        plain = not self.negated and not any(sign in self.text for sign in "*?[")
        return self.alternatives if plain else None

    def fault(self) -> str | None:
        """What is wrong with it, and what to write."""
        if "+" in self.text:
            return f"the pattern {self.text!r} holds a +, which no topic has; write * for any text"
        if not all(self.alternatives):
            return f"the pattern {self.text!r} has an empty alternative; write {{name:one|other}}"
        for match in _PIECES.finditer(self.text):
            if match[5] or match[3] in ("[]", "[!]"):
                return f"a bracket of the pattern {self.text!r} has no partner or nothing in it; write [a-z0-9]"
        for match in _PIECES.finditer(self.text):
            if match[3] and not _compiles(_class(match[3], "/")):
                return f"{match[3]} in the pattern {self.text!r} is no set of characters; write [a-z0-9]"
        return None

    def matches(self, text: str, *, across: bool = False) -> bool:
        """Whether it takes this whole text."""
        return re.fullmatch(self.regex(r"\Z", across=across), text) is not None

    def regex(self, end: str, *, across: bool = False, marks: Mapping[str, str] | None = None) -> str:
        """A regular expression for the texts that it takes, followed by ``end``, which is not part of what is matched.

        ``across`` lets stars and questions take ``/`` as well. With ``marks``, for comparing templates, the character
        that they have for this pattern is one of its texts, and others of `MARKS` are taken by stars alone.
        """
        never = "" if marks is None else f"(?!{MARKS.pattern})"
        mark = f"{_marked(marks[self.text], across=across)}(?={end})|" if marks and self.text in marks else ""
        one, any_text = (r"[\s\S]", r"[\s\S]+") if across else ("[^/]", "[^/]+")
        alternatives = "|".join(_alternative(text, across=across, never=never) for text in self.alternatives)
        if not self.negated:
            return f"(?!{end})(?:{mark}(?:{alternatives})(?={end}))"
        unmarked = "" if marks is None else f"(?!{one}*{MARKS.pattern})"
        return f"(?:{mark}{unmarked}(?!(?:{alternatives})(?={end})){any_text}+)"


def _marked(mark: str, *, across: bool) -> str:
    """What stands for a text that the pattern takes: one level, or any number, some of them empty."""
    return f"/*+{mark}[/{mark}]*+" if across else mark


def _alternative(text: str, *, across: bool, never: str) -> str:
    one, several = (r"[\s\S]", r"[\s\S]*") if across else ("[^/]", "[^/]*")
    first, *others = _sections(text, one, never)
    if not others:
        return first
    *between, last = others
    parts = [first, *(f"(?>{several}?{section})" for section in between if section)]
    return "".join([*parts, f"{several}{last}" if last else f"{several}+"])


def _sections(text: str, one: str, never: str) -> list[str]:
    """What stands before, between and after the stars, as regular expressions."""
    sections = [""]
    for match in _PIECES.finditer(text):
        star, question, group, literal, _ = match.groups()
        if star:
            sections.append("")
        elif question:
            sections[-1] += f"{never}{one}"
        elif group:
            sections[-1] += f"{never}{_class(group, '/' if one == '[^/]' else '')}"
        else:
            sections[-1] += re.escape(literal or "")
    return sections


def _class(group: str, never: str) -> str:
    """A set of characters as `re` writes it; a negated one without ``never``."""
    body = group[1:-1]
    negated = body.startswith("!")
    body = _CLASS_SPECIAL.sub(r"\\\1", body.removeprefix("!"))
    if negated:
        return f"[^{body}{never}]"
    return f"(?!/)[{body}]" if never else f"[{body}]"  # [+-9] would take it


def _compiles(expression: str) -> bool:
    try:
        re.compile(expression)
    except re.error:
        return False
    return True

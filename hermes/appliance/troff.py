"""Text for troff, the language of manual pages.

Source: groff_man(7), groff_char(7).
"""

SPECIAL = {"\\": r"\(rs", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}


def escape(text: str) -> str:
    """Return text that troff shows unchanged.

    It has no request, no escape, no typographic quote, and ASCII characters only.
    """
    lines = ("".join(map(_character, line)) for line in text.split("\n"))
    return "\n".join(rf"\&{line}" if line.startswith(".") else line for line in lines)


def _character(sign: str) -> str:
    return SPECIAL.get(sign) or (sign if sign.isascii() else rf"\[u{ord(sign):04X}]")


def heading(text: str) -> str:
    """Return the line that begins a section."""
    return f'.SH "{escape(text.upper())}"'


def subheading(text: str) -> str:
    """Return the line that begins a part of a section."""
    return f'.SS "{escape(text)}"'


def tagged(tag: str, text: str) -> str:
    """Return an item of a list; ``tag`` is troff already."""
    return f".TP\n{tag}\n{escape(text)}"


def verbatim(text: str) -> str:
    """Return lines that are not filled."""
    return f".PP\n.nf\n{escape(text)}\n.fi"

"""Manual pages, made from the parser of the command line."""

import argparse
from collections.abc import Iterator, Mapping

from hermes import __version__
from hermes.appliance.troff import escape, heading, subheading, tagged, verbatim

FILES = {
    "/etc/hermes/hermes.toml": "settings of the service; it explains each",
    "/etc/hermes/environment": "further settings of the service, as HERMES_... variables",
    "/var/lib/hermes": "state of the service",
}
EXIT_STATUS = {"0": "success", "1": "failure", "2": "invalid arguments or settings"}


def manual_pages(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Return the pages for the program and each of its commands, by file name."""
    commands = subcommands(parser)
    summaries = command_summaries(parser)
    names = [f"hermes-{name}" for name in commands]
    pages = {"hermes.1": _page("hermes", "gateway between MQTT devices and browsers", parser, see=names)}
    for name, command in commands.items():
        pages[f"hermes-{name}.1"] = _page(f"hermes-{name}", summaries[name], command, see=["hermes"])
    return pages


def subcommands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """Return the parsers of the commands of a parser, by name."""
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return found[0].choices if found else {}


def command_summaries(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Return the line for each command of a parser, by name."""
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return {choice.dest: choice.help or "" for action in found for choice in action._choices_actions}


def help_text(action: argparse.Action) -> str:
    """Return the help of an argument without argparse's escapes."""
    return (action.help or "").replace("%%", "%")


def _page(name: str, summary: str, parser: argparse.ArgumentParser, *, see: list[str]) -> str:
    parts = [
        f'.TH "{escape(name.upper())}" 1 "" "hermes {escape(__version__)}" "Hermes"',
        heading("name"),
        rf"{escape(name)} \- {escape(summary)}",
        heading("synopsis"),
        *_synopsis(parser),
        heading("description"),
        escape(parser.description or ""),
        *_arguments(parser),
        *_epilog(parser.epilog or ""),
        heading("exit status"),
        *(tagged(rf"\fB{code}\fR", text) for code, text in EXIT_STATUS.items()),
    ]
    if name == "hermes":
        parts += [heading("files"), *(tagged(rf"\fI{escape(path)}\fR", text) for path, text in FILES.items())]
    parts += [heading("see also"), ",\n".join(rf"\fB{escape(page)}\fR(1)" for page in see)]
    return "\n".join(parts) + "\n"


def _synopsis(parser: argparse.ArgumentParser) -> Iterator[str]:
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    yield rf"\fB{escape(parser.prog)}\fR{escape(usage.removeprefix(parser.prog))}"


def _arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield a section for each group of arguments and for each verb."""
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.help != argparse.SUPPRESS]
        if actions:
            yield heading(group.title or "options")
        for action in actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, summary in command_summaries(parser).items():
                    yield tagged(rf"\fB{escape(name)}\fR", summary)
            else:
                yield tagged(_tag(action), help_text(action))
    for verb, command in subcommands(parser).items():
        if parser.prog != "hermes":
            yield subheading(verb)
            yield from _synopsis(command)
            for action in command._actions:
                yield tagged(_tag(action), help_text(action))


def _tag(action: argparse.Action) -> str:
    """Return the flags of an argument in bold, and its value in italics."""
    flags = ", ".join(rf"\fB{escape(flag)}\fR" for flag in action.option_strings)
    if action.nargs == 0:
        return flags
    metavar = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    value = rf"\fI{escape(metavar if isinstance(metavar, str) else ' '.join(metavar))}\fR"
    return f"{flags} {value}" if flags else value


def _epilog(text: str) -> Iterator[str]:
    """Yield the examples as they are, then the other paragraphs."""
    for paragraph in text.split("\n\n"):
        title, _, rest = paragraph.partition("\n")
        if title == "examples:":
            yield heading("examples")
            yield verbatim(rest)
        elif paragraph:
            yield f".PP\n{escape(paragraph)}"

"""Completion for bash, fish and zsh, made from the parser of the command line."""

import argparse
import shlex
from collections.abc import Callable, Iterator, Mapping

from hermes.appliance.manual import command_summaries, help_text, subcommands

HEADER = "# Completion of hermes, written by hermes.appliance.completion.\n"


def completions(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Return the script of each shell, by its name."""
    scripts: Mapping[str, Callable[[argparse.ArgumentParser], str]] = {"bash": bash, "fish": fish, "zsh": zsh}
    return {shell: script(parser) for shell, script in scripts.items()}


def bash(parser: argparse.ArgumentParser) -> str:
    """Complete commands, verbs, flags and fixed values; otherwise file names."""
    cases = "\n".join(_bash_case(name, command) for name, command in subcommands(parser).items())
    return f"""{HEADER}
_hermes() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} flags values= command= word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        [[ $word == -* ]] || {{ command=$word; break; }}
    done
    case $command in
{cases}
        *) flags={shlex.quote(_words(_flags(parser), subcommands(parser)))} ;;
    esac
    if [[ -n $values ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$values" -- "$current")
    elif [[ $current == -* || ${{COMP_WORDS[COMP_CWORD-1]}} != -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$current")
    fi
}}
complete -o bashdefault -o default -F _hermes hermes
"""


def _bash_case(name: str, command: argparse.ArgumentParser) -> str:
    lines = [f"flags={shlex.quote(_words(_flags(command), subcommands(command)))}"]
    with_values = {flag: _values(action) for flag, action in _flags(command).items() if _values(action)}
    if with_values:
        lines.append("case ${COMP_WORDS[COMP_CWORD-1]} in")
        lines += [f"    {flag}) values={shlex.quote(' '.join(values))} ;;" for flag, values in with_values.items()]
        lines.append("esac")
    body = "\n".join(f"            {line}" for line in lines)
    return f"        {name})\n{body}\n            ;;"


def fish(parser: argparse.ArgumentParser) -> str:
    """Complete as `bash` does, with descriptions."""
    return "".join((HEADER, *(f"complete -c hermes {line}\n" for line in _fish_lines(parser))))


def _fish_lines(parser: argparse.ArgumentParser) -> Iterator[str]:
    for name, summary in command_summaries(parser).items():
        yield f"-n __fish_use_subcommand -f -a {name} -d {_fish_quoted(summary)}"
    for name, command in subcommands(parser).items():
        inside = f"-n '__fish_seen_subcommand_from {name}'"
        for verb, summary in command_summaries(command).items():
            yield f"{inside} -f -a {verb} -d {_fish_quoted(summary)}"
        for flag, action in _flags(command).items():
            values = f" -x -a {_fish_quoted(' '.join(_values(action)))}" if _values(action) else ""
            requires = " -r" if action.nargs != 0 and not values else ""
            kind = "-l" if flag.startswith("--") else "-s"
            yield f"{inside} {kind} {flag.lstrip('-')}{values}{requires} -d {_fish_quoted(help_text(action))}"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def zsh(parser: argparse.ArgumentParser) -> str:
    """Complete as `bash` does, with descriptions."""
    commands = "\n".join(_zsh_described(command_summaries(parser)))
    cases = "\n".join(_zsh_case(name, command) for name, command in subcommands(parser).items())
    return f"""#compdef hermes
{HEADER}
_hermes() {{
    local -a commands
    commands=(
{commands}
    )
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    shift words
    (( CURRENT-- ))
    case ${{words[1]}} in
{cases}
    esac
}}
_hermes "$@"
"""


def _zsh_described(summaries: Mapping[str, str]) -> Iterator[str]:
    for name, summary in summaries.items():
        yield f"        {shlex.quote(f'{name}:{summary}')}"


def _zsh_case(name: str, command: argparse.ArgumentParser) -> str:
    specifications = [_zsh_flag(flag, action) for flag, action in _flags(command).items()]
    verbs = subcommands(command)
    specifications.append(f"'1:verb:({' '.join(verbs)})'" if verbs else "'*:file:_files'")
    return f"        {name}) _arguments {' '.join(specifications)} ;;"


def _zsh_flag(flag: str, action: argparse.Action) -> str:
    text = help_text(action)
    for sign in "\\[]:":
        text = text.replace(sign, f"\\{sign}")
    repeated = "*" if isinstance(action, argparse._AppendAction) else ""
    values = f"({' '.join(_values(action))})" if _values(action) else "_files"
    value = "" if action.nargs == 0 else f":value:{values}"
    return shlex.quote(f"{repeated}{flag}[{text}]{value}")


def _flags(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    return {flag: action for action in parser._actions for flag in action.option_strings}


def _values(action: argparse.Action) -> list[str]:
    """Return the fixed values of a flag, which are its choices or in its metavar."""
    if action.choices:
        return [str(choice) for choice in action.choices]
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    return metavar.split("|") if "|" in metavar else []


def _words(*names: Mapping[str, object]) -> str:
    return " ".join(name for group in names for name in group)

"""``hermes licenses``: print the licences of Hermes and of everything in it."""

import argparse

from hermes.appliance.components import Component, components

EXAMPLES = """\
examples:
  hermes licenses | less
  hermes licenses --list

The program of one file and the Debian package contain Python, libraries and the broker: their licences are included.
Otherwise the licences are those of the installed Python packages."""

RULE = "=" * 80


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--list``."""
    parser.add_argument("--list", action="store_true", help="print one line for each component, without the texts")


def run(options: argparse.Namespace) -> int:
    """Print the components, each text once."""
    listed = components()
    if options.list:
        for component in listed:
            print(_title(component))
        return 0
    printed: dict[str, str] = {}
    for component in listed:
        print(f"{RULE}\n{_title(component)}\n{RULE}\n")
        for text in component.texts or ("(the package contains no licence text)",):
            if text in printed:
                print(f"The same text as for {printed[text]}.\n")
            else:
                printed[text] = component.name
                print(f"{text.strip()}\n")
    return 0


def _title(component: Component) -> str:
    return " ".join(filter(None, (component.name, component.version, component.license)))

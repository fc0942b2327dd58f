"""``hermes sbom``: print the software bill of materials."""

import argparse
import json

from hermes.appliance.components import components
from hermes.appliance.cyclonedx import bill_of_materials

EXAMPLES = """\
examples:
  hermes sbom > hermes.cdx.json

The format is CycloneDX 1.6, JSON. The program of one file and the Debian package list also Python, libraries and the
broker that they contain; otherwise the list has the installed Python packages."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command has no flags."""


def run(options: argparse.Namespace) -> int:
    """Print the document."""
    print(json.dumps(bill_of_materials(components()), indent=2, ensure_ascii=False))
    return 0

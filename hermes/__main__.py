"""Run the ``hermes`` command as ``python -m hermes``."""

import sys

from hermes.cli.main import main

sys.exit(main())

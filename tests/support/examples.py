"""The number of examples of a property test in the profile of this run."""

from hypothesis import settings

EXAMPLES = settings().max_examples  # fewer in make test-fast, more in make fuzz

"""Places of the checkout."""

from pathlib import Path

CHECKOUT = Path(__file__).parent.parent.parent
CASES = CHECKOUT.parent / "shared" / "cases"  # programs that reproduce reports from the field, which it may lack too
SAMPLES = CHECKOUT.parent / "shared" / "samples"  # collected messages, which a checkout may lack

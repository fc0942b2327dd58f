"""Places of the checkout."""

from pathlib import Path

CHECKOUT = Path(__file__).parent.parent.parent
SAMPLES = CHECKOUT.parent / "shared" / "samples"  # collected messages, which a checkout may lack

"""Settings: models, sources, rules, and the reference page made from them."""

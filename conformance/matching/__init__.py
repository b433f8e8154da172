"""Facts of cases, conditions on them, and rules found among them."""

"""Run items: from the cases of an item to its verdict."""

"""From an item to its verdict."""

"""Known failures: entries, their validation, and the failing cases that they explain."""

"""What failed: shrinking, causes, known failures, reproducers."""

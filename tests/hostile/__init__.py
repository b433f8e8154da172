"""What a hostile but fair user tries: backends that misbehave, files that are malformed."""

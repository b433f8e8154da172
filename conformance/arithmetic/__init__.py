"""Numbers with the bounds of every correct implementation's error."""

"""How long calls take beside torch: timed only where their answers are right."""

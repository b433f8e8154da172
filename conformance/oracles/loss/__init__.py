"""What must come out of losses."""

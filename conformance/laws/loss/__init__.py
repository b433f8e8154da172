"""Laws of losses."""

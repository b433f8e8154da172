"""Laws of attention."""

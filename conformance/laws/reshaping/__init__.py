"""Laws of reshaping."""

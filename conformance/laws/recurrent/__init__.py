"""Laws of recurrent layers."""

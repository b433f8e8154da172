"""Ways to break a valid call of recurrent layers."""

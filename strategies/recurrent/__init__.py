"""Cases of recurrent layers."""

"""What must come out of recurrent layers."""

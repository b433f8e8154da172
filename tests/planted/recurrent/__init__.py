"""Planted bugs of recurrent layers."""

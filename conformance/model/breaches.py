"""What code under test does besides computing, in words of a verdict."""

TAMPERS = "tampers"
CHANGES = "changes its answer"
DELEGATES = "delegates"
LIVES_ON = "lives on"
KINDS = (TAMPERS, CHANGES, DELEGATES, LIVES_ON)
"""The gravest first.

The code reaches for its judge, changes an output after the call, lets others work, or goes on
working.
"""

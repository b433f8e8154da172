"""The error for unusable input of the user; it is shown without a traceback."""

from __future__ import annotations


class UsageError(Exception):
    """A file, an option or a backend that cannot be used; the message is all the user needs."""

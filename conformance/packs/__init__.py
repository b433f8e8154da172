"""Case packs: drawn cases with what must come out, as files for any language."""

from conformance.model.usage_error import UsageError


class PackError(UsageError, ValueError):
    """A pack, or answers to one, that cannot be used; the message says why."""

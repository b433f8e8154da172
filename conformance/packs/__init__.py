"""Case packs: drawn cases with their expected values, as files for any language."""

from conformance.model.usage_error import UsageError


class PackError(UsageError, ValueError):
    """Raised for a pack, or answers to a pack, that cannot be used; the message says why."""

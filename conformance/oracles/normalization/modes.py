"""Whether a normalisation uses the input's own statistics, or running ones."""

from __future__ import annotations

from conformance.model.case import Case, is_function


def uses_batch_statistics(case: Case) -> bool:
    """Whether the batch's own mean and variance are used, so that samples depend on each other."""
    call, arguments = case.call, case.call.arguments
    if is_function(call.layer):
        return bool(arguments.get("training", False))
    return call.training or not arguments.get("track_running_stats", True)


def uses_own_statistics(default: bool, case: Case) -> bool:
    """Whether the mean and variance of each sample are used.

    Args:
        default: the default of `track_running_stats`.
        case: a case of an instance normalisation.
    """
    call, arguments = case.call, case.call.arguments
    if is_function(call.layer):
        return bool(arguments.get("use_input_stats", True))
    return call.training or not arguments.get("track_running_stats", default)

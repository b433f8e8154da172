"""Whether a normalisation takes the statistics of what it is given, or running ones."""

from __future__ import annotations

from conformance.model.case import Case, is_function


def uses_batch_statistics(case: Case) -> bool:
    """Whether the batch's own mean and variance are taken, so that no row is by itself."""
    call, arguments = case.call, case.call.arguments
    if is_function(call.layer):
        return bool(arguments.get("training", False))
    return call.training or not arguments.get("track_running_stats", True)


def uses_own_statistics(usual: bool, case: Case) -> bool:
    """Whether the mean and variance of each sample are taken.

    Args:
        usual: whether running ones are tracked where nothing is said of it.
        case: of an instance normalisation.
    """
    call, arguments = case.call, case.call.arguments
    if is_function(call.layer):
        return bool(arguments.get("use_input_stats", True))
    return call.training or not arguments.get("track_running_stats", usual)

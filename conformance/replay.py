"""Running the minimal case of a verdict again, without Hypothesis or pytest."""

from __future__ import annotations

import difflib

from .backends.registry import BackendError, load
from .case import Unsupported
from .catalogue import CATALOGUE
from .checks import CHECKS
from .encoding import decode_case
from .engine import numerics_of
from .reports.results import Run
from .trial import Failure, Inapplicable, Trial


class ReplayError(ValueError):
    """A verdict that cannot be replayed."""


def replay(run: Run, id: str, backend: str | None = None) -> tuple[bool, str]:
    """Run a verdict's case.

    Args:
        run: the results.
        id: of the verdict.
        backend: as on the command line; None = the one that the results were made with.

    Returns:
        Whether the check passes now, and what to print.

    Raises:
        ReplayError: if there is no such verdict, or it holds no case.
    """
    verdicts = {verdict.id: verdict for verdict in run.verdicts}
    if id not in verdicts:
        near = difflib.get_close_matches(id, verdicts, n=3, cutoff=0.5)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise ReplayError(f"no verdict {id!r} in these results{hint}")
    verdict = verdicts[id]
    if verdict.case is None:
        raise ReplayError(f"{id} is {verdict.status} and holds no case")
    try:
        case = decode_case(verdict.case)
        chosen = load(backend or run.identity.options.get("backend", run.identity.backend))
        numerics = numerics_of(chosen, case.call.dtype)
    except (BackendError, Failure) as error:
        raise ReplayError(str(error)) from error
    except (KeyError, TypeError, ValueError) as error:
        raise ReplayError(f"{id}: its case cannot be read: {error!r}") from error
    trial = Trial(chosen, CATALOGUE[case.call.layer], case, numerics)
    try:
        evidence = CHECKS[verdict.check].run(trial)
    except Failure as failure:
        return False, f"{trial.text()}\n{failure}"
    except Inapplicable:
        return True, f"{trial.text()}\nthe check does not apply"
    except Unsupported as declined:
        return False, f"{trial.text()}\nunsupported: {declined}"
    return True, f"{trial.text()}\npassed, {evidence.comparisons} numbers compared"

"""Why a case fails: the smallest case, what it needs, where it begins, a script of it."""

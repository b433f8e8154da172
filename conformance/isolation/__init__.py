"""Run items in a child process, so that a crash or a hang costs only one verdict."""

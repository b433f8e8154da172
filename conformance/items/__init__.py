"""Items: planning, cases, outcomes and verdicts."""

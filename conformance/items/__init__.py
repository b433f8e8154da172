"""Items: which a run has, their cases, and the outcomes of those."""

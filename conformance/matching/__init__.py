"""Facts about cases, conditions on these facts, and a search for rules that separate cases."""

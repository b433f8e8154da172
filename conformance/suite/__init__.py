"""The test modules that users run: `pytest --pyargs conformance.suite`."""

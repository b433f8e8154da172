"""Bounds for anybody: what a call of a layer must return, outside of a run of the suite.

`conformance.bounds` and `conformance.assert_conforms` are its public functions.
"""

"""The commands of `nn-conformance`."""

"""The parts of a layer's specification: signature, shapes, laws, state, propagation, workloads."""

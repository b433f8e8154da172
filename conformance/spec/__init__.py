"""What a layer's specification is made of: its parts, laws, state, axes, propagation, workloads."""

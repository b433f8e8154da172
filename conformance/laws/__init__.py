"""Laws between calls, one module a family; a layer's specification lists the laws that it obeys."""

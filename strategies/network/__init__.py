"""Networks: graphs built forwards, patterns that compilers fuse, and values that do not round."""

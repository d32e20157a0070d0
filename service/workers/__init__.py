"""Several processes that answer on one socket, and the parent that starts, watches and counts them."""

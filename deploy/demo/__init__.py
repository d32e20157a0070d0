"""The demo: data, training, export, the service and three real calls, in one foreground process."""

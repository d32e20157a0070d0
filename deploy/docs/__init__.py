"""The parts of the documents that a command writes."""

"""The multi-stage answer: query, candidates, stages, the runner, and the list of stages in `assemble`."""

"""Networks of every stage, in torch."""

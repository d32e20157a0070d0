"""More calls than can be answered: how much work each gets, whose turn it is, and whom the door refuses."""

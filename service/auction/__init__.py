"""Sponsored slots: who may compete, who wins, what is held and what a click costs."""

"""Why an item is in a list, and why not: traces of answers, what they tell, and exact re-runs."""

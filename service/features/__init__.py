"""The online state of users and items."""

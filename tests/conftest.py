from hypothesis import settings

# Machines that build are busy: a slow example is no failure, and the same examples run everywhere.
settings.register_profile("cascada", deadline=None, derandomize=True)
settings.load_profile("cascada")

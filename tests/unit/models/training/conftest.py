from tests.support.trained import trained_bundle, trained_world

__all__ = ["trained_bundle", "trained_world"]

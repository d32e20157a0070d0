from tests.support.one_thread import one_thread
from tests.support.trained import trained_bundle, trained_world

__all__ = ["one_thread", "trained_bundle", "trained_world"]

from test_store_write import *  # noqa: F403

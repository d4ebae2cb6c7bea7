from test_store_erase import *  # noqa: F403

from test_store_insert import *  # noqa: F403

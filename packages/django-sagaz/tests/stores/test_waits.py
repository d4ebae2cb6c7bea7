from test_store_waits import *  # noqa: F403

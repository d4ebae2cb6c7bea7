from test_store_attempts import *  # noqa: F403

from test_store_claim import *  # noqa: F403

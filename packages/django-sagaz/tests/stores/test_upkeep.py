from test_store_upkeep import *  # noqa: F403

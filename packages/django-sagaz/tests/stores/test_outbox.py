from test_store_outbox import *  # noqa: F403

from test_store_intervene import *  # noqa: F403

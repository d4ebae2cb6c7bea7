from test_store_wait import *  # noqa: F403

# A store of Django's is opened once: its connections are Django's.
del test_a_closed_store_refuses_every_use, test_opening_and_closing_twice_is_harmless  # noqa: F821
del test_what_was_asked_for_before_the_close_is_still_done  # noqa: F821

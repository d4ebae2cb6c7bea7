from test_store_find import *  # noqa: F403

# A store of Django's is opened once: its connections are Django's.
del test_a_store_says_what_it_is, test_the_stores_id_is_random_and_stays  # noqa: F821


async def test_a_store_says_that_it_is_djangos(store):
    assert (store.kind, store.embedded) == ("django", False)


async def test_the_stores_id_is_random_and_stays(store):
    first = await store.store_id()
    assert len(first) >= 32
    assert await store.store_id() == first

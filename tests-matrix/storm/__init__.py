"""The kill storm: real servers and workers of a framework, killed at random while clients start sagas, and the proof
from a ledger outside of the saga tables that nothing was lost, run twice at once, or told wrongly.

What happens follows from a seed (`storm.plan`); when exactly a kill lands does not. A framework joins with a
`storm.fleet.Framework`: how its server, its worker and its migration are started. Its application answers

    GET  /up                                          anything but an error, once it can take starts
    POST /deferred, /background, /inline  (a context)  2xx and {"saga_id": …} once the run of `storm.sagas.StormSaga`
                                                      is recorded under the header Idempotency-Key (inline: has
                                                      ended, however it ended, or goes on elsewhere); else 5xx

    POST /signal  (key, signal_id, payload)            2xx and {"new": …} once the signal "go" is recorded; else 5xx

    POST /webhooks/shop  (an event)                    2xx once it is recorded, with the signal "go" that it means

and ``storm/test_storm_fastapi.py`` shows the rest. Parameters, all optional, from the environment:

    SAGAZ_TEST_STORM_SEED       what is planned (default 1)
    SAGAZ_TEST_STORM_SECONDS    how long starts and kills go on; the default suits tox, a soak has its own environment
    SAGAZ_TEST_STORM_SAGAS      how many sagas are started in that time
    SAGAZ_TEST_STORM_DIR        where the ledger, the kills, the requests, the logs and the summary are kept
"""

"""Where django_sagaz finds the storm's sagas: those that this process is to know."""

from storm.sagas import KNOWN

REGISTERED = {
    saga.saga_name: type(
        f"Registered{saga.__name__}", (saga,), {"__module__": __name__, "__doc__": "One of the storm's."}
    )
    for saga in KNOWN
}

globals().update({saga.__name__: saga for saga in REGISTERED.values()})

Registered = REGISTERED["storm"]

__all__ = ["REGISTERED", "Registered"]

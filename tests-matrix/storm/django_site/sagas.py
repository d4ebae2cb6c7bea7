"""Where django_sagaz finds the storm's saga."""

from storm.sagas import StormSaga

Registered = type("Registered", (StormSaga,), {"__module__": __name__, "__doc__": "The storm's saga."})

__all__ = ["Registered"]

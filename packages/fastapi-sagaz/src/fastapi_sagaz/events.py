"""What endpoints ask for to publish events of their own, as part of their transaction."""

# Without `from __future__ import annotations`: see `fastapi_sagaz.dependencies`.

from starlette.requests import HTTPConnection

from fastapi_sagaz._app_state import runtime_of
from sagaz_durable.runtime.publishing import Publications

__all__ = ["EventPublisher"]


class EventPublisher(Publications):
    """Publishes events to the configured broker: ``publish: Annotated[EventPublisher, Depends()]``.

    ``await publish(topic, payload, session=session)`` is `Sagas.publish`, and ``publish.sync(…)`` in a plain ``def``
    endpoint `Sagas.publish_sync`.
    """

    def __init__(self, connection: HTTPConnection) -> None:
        super().__init__(runtime_of(connection))

    __call__ = Publications.publish
    sync = Publications.publish_sync

"""The correlation id of each request, bound while it lasts and sent back; and problem documents for what goes wrong."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, StreamingHttpResponse
from django.http.request import HttpHeaders
from django.http.response import HttpResponseBase

from django_sagaz._project.settings import given_settings, read_settings
from sagaz_integration_core.context.correlation import Binding, accept, bind, bound, unbind
from sagaz_integration_core.contract.lifecycle import RequestContext
from sagaz_integration_core.errors import SagazError

__all__ = ["SagaContextMiddleware", "SagaProblemMiddleware"]

GetResponse = Callable[[HttpRequest], HttpResponseBase]
AsyncGetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class SagaContextMiddleware:
    """Binds the correlation id for log records, for the sagas that the request starts, and for the response.

    One class for synchronous and asynchronous handlers, without a change of threads in either.
    """

    sync_capable = True
    async_capable = True
    propagate_to_context = True
    """Whether sagas get the id into their context; a subclass may decide otherwise."""

    def __init__(self, get_response: GetResponse | AsyncGetResponse) -> None:
        self._get_response = get_response
        settings, _ = read_settings(given_settings())
        self._header = settings.header_name
        # request.headers would sort out all of them.
        self._key = HttpHeaders.to_wsgi_name(self._header)
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer a request."""
        if self._is_async:
            return self._acall(request)
        get_response = cast("GetResponse", self._get_response)
        binding = self._bind(request)
        try:
            return self._sent_back(get_response(request), binding.context)
        finally:
            unbind(binding)

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        get_response = cast("AsyncGetResponse", self._get_response)
        binding = self._bind(request)
        try:
            return self._sent_back(await get_response(request), binding.context)
        finally:
            unbind(binding)

    def _bind(self, request: HttpRequest) -> Binding:
        return bind(accept(request.META.get(self._key)), propagate=self.propagate_to_context)

    def _sent_back(self, response: HttpResponseBase, context: RequestContext) -> HttpResponseBase:
        response.headers[self._header] = context.correlation_id
        if isinstance(response, StreamingHttpResponse):
            # Its body is made after this has returned.
            pieces: Any = response.streaming_content
            response.streaming_content = (
                _pieces_async(pieces, context) if response.is_async else _pieces(pieces, context)
            )
        return response


class SagaProblemMiddleware:
    """Has a project's own views, plain and asynchronous ones, answer what goes wrong with sagas as problem documents.

    What a client got wrong is 422, a run that has not ended or has failed 409, what passes by itself 503 with
    ``Retry-After``, all with the request's correlation id; a run that waits is 202. What is the project's own fault
    stays a 500, and what another middleware below this one answers stays as that has it.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse | AsyncGetResponse) -> None:
        self._get_response = get_response
        settings, _ = read_settings(given_settings())
        self._key = HttpHeaders.to_wsgi_name(settings.header_name)
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer a request."""
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponseBase | None:
        """Answer what a view has raised; Django calls this, after the view's transaction was rolled back."""
        if not isinstance(error, SagazError):
            return None
        # Django makes its middleware before a request, and this loads what the first error alone needs.
        from django_sagaz.urls.messages import native_response
        from sagaz_durable.http.problems import error_response

        answer = error_response(error, request.META.get(self._key))
        return None if answer is None else native_response(answer)


def _pieces(pieces: Iterable[bytes], context: RequestContext) -> Iterator[bytes]:
    iterator, end = iter(pieces), object()
    while True:
        with bound(context.correlation_id, propagate=context.propagate):
            piece: Any = next(iterator, end)
        if piece is end:
            return
        yield piece


async def _pieces_async(pieces: AsyncIterable[bytes], context: RequestContext) -> AsyncIterator[bytes]:
    iterator, end = aiter(pieces), object()
    while True:
        with bound(context.correlation_id, propagate=context.propagate):
            piece: Any = await anext(iterator, end)
        if piece is end:
            return
        yield piece

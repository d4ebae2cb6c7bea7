"""What kills a server of the storm's before it answers an event that asks for it."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from storm.webhooks import die_before_the_answer

__all__ = ["dying"]


def dying(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        die_before_the_answer(request.headers, response.status_code)
        return response

    return answer

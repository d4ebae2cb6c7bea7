"""No pages but one."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path


def page(request: HttpRequest) -> HttpResponse:
    """Answer at once."""
    return HttpResponse("ok")


async def async_page(request: HttpRequest) -> HttpResponse:
    """Answer at once, on the event loop."""
    return HttpResponse("ok")


urlpatterns = [path("page", page), path("async", async_page)]

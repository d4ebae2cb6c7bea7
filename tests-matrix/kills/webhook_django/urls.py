"""Its addresses, as a synchronous and as an asynchronous view."""

from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from django_sagaz import webhook_urls
from kills.webhook_saga import SOURCES


def up(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


urlpatterns = [
    path("up", up),
    path("webhooks/", include(webhook_urls(SOURCES))),
    path("webhooks/async/", include(webhook_urls(SOURCES, name="async_webhooks", asynchronous=True))),
]

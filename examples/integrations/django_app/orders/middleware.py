"""Who may use the shop, and what its answers are when something is wrong with a request."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse

from django_sagaz import (
    ApprovalDecided,
    ApprovalError,
    ApprovalInvalid,
    InvalidInput,
    Overloaded,
    StoreUnavailable,
)
from orders.customers import customer_of


class ShopMiddleware:
    """Lets customers in, and nobody else; what a client caused is answered with 4xx, what passes by itself with 503."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith("/webhooks/"):
            # Who has sent those, their signatures tell.
            return self.get_response(request)
        customer = customer_of(request.headers.get("Authorization"))
        if customer is None:
            return JsonResponse({"detail": "Who are you?"}, status=401, headers={"WWW-Authenticate": "Bearer"})
        request.customer = customer  # type: ignore[attr-defined]
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer for an exception of a view."""
        if isinstance(error, ApprovalError):
            status = {ApprovalInvalid: 404, ApprovalDecided: 409}.get(type(error), 410)
            return JsonResponse({"detail": str(error)}, status=status)
        if isinstance(error, InvalidInput):
            return JsonResponse({"detail": str(error)}, status=422)
        if isinstance(error, StoreUnavailable | Overloaded):
            return JsonResponse({"detail": "Try again later."}, status=503, headers={"Retry-After": "5"})
        return None

"""Approvals of large orders: a manager gets links, of which a GET shows the order and a POST decides, once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods

from django_sagaz import InvalidInput, approval_token, decide_approval, read_approval, read_json
from django_sagaz.models import Run
from orders.customers import MANAGERS
from orders.sagas import order_of

TIME = timedelta(days=3)


@require_GET
@never_cache
def list_approvals(request: HttpRequest) -> JsonResponse:
    """Show a manager what waits for an approval, each with its link; a real shop would also send it by mail."""
    manager_of(request)
    runs = Run.objects.filter(saga_name="order", status="waiting").order_by("created_at")[:100]
    links = [f"/approvals/{approval_token('approval', saga_id=run.pk, expires=TIME)}" for run in runs]
    return JsonResponse({"approvals": [{**shown(run), "link": link} for run, link in zip(runs, links, strict=True)]})


# As in `orders.views`: a bearer token is sent along by no browser, so that CSRF needs no protection.


@csrf_exempt
@require_http_methods(["GET", "POST"])
@never_cache
def approve(request: HttpRequest, token: str) -> JsonResponse:
    """Show the order, however many programs follow the link; only a POST decides, with the transaction."""
    manager, saga_id = manager_of(request), read_approval(token).saga_id
    run = get_object_or_404(Run, pk=saga_id)
    if request.method == "GET":
        return JsonResponse(shown(run))
    approved, reason = read_decision(request)
    with transaction.atomic():
        if decide_approval(token, {"approved": approved}, by=manager, reason=reason) and approved:
            order_of(run.context).update(approved_by=manager)
    return JsonResponse({"saga_id": saga_id, "approved": approved})


def shown(run: Run) -> dict[str, Any]:
    """Return what a manager sees of an order."""
    return {name: run.context[name] for name in ("order_id", "amount", "customer")}


def manager_of(request: HttpRequest) -> str:
    """Return who approves."""
    who: str = request.customer  # type: ignore[attr-defined]
    if who not in MANAGERS:
        raise PermissionDenied
    return who


def read_decision(request: HttpRequest) -> tuple[bool, str]:
    """Return whether the order is approved, and why."""
    match read_json(request.body):
        case {"approved": bool(approved), **more} if isinstance(reason := more.get("reason", ""), str):
            return approved, reason[:500]
    raise InvalidInput('Expected {"approved": true}, or false, and perhaps a reason.')

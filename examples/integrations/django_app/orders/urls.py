"""The addresses of orders, of their sagas, of approvals, and of the payment provider's webhooks."""

from django.conf import settings
from django.urls import include, path

from django_sagaz.webhooks import StandardWebhooks, webhook_urls
from orders import approvals, views

# /webhooks/payments, where the payment provider tells of transfers: it signs, and sends no bearer token and no cookie.
webhooks = webhook_urls({"payments": StandardWebhooks(settings.PAYMENTS_SECRET)})

urlpatterns = [
    path("orders", views.create_order),
    path("orders/deferred", views.create_order_for_later),
    path("orders/decorated", views.create_order_decorated),
    path("orders/refused", views.create_order_and_fail),
    path("sagas/", include(views.sagas)),
    path("webhooks/", include(webhooks)),
    path("approvals", approvals.list_approvals),
    path("approvals/<token>", approvals.approve),
]

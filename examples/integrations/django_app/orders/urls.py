"""The addresses of orders and of approvals."""

from django.urls import path

from orders import approvals, views

urlpatterns = [
    path("orders", views.create_order),
    path("orders/async", views.create_order_async),
    path("orders/deferred", views.create_order_for_later),
    path("orders/decorated", views.create_order_decorated),
    path("orders/refused", views.create_order_and_fail),
    path("orders/<saga_id>", views.read_order),
    path("approvals", approvals.list_approvals),
    path("approvals/<token>", approvals.approve),
]

"""The addresses of orders, of their sagas, and of approvals."""

from django.urls import include, path

from orders import approvals, views

urlpatterns = [
    path("orders", views.create_order),
    path("orders/deferred", views.create_order_for_later),
    path("orders/decorated", views.create_order_decorated),
    path("orders/refused", views.create_order_and_fail),
    path("sagas/", include(views.sagas)),
    path("approvals", approvals.list_approvals),
    path("approvals/<token>", approvals.approve),
]

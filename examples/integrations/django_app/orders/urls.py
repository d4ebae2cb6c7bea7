"""The addresses of orders."""

from django.urls import path

from orders import views

urlpatterns = [
    path("orders", views.create_order),
    path("orders/async", views.create_order_async),
    path("orders/deferred", views.create_order_for_later),
    path("orders/decorated", views.create_order_decorated),
    path("orders/refused", views.create_order_and_fail),
    path("orders/<saga_id>", views.read_order),
]

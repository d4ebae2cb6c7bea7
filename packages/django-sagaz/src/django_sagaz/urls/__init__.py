"""The routes about sagas, as ``SAGAZ["HTTP"]`` says: ``path("sagas/", include("django_sagaz.urls"))``."""

from __future__ import annotations

from django_sagaz.urls.patterns import SagazUrls, health_urls, sagaz_urls

__all__ = ["SagazUrls", "aaccepted", "accepted", "app_name", "health_urls", "sagaz_urls", "urlpatterns"]

_of_the_setting = sagaz_urls()

app_name = _of_the_setting.app_name
urlpatterns = _of_the_setting.urlpatterns
accepted = _of_the_setting.accepted
aaccepted = _of_the_setting.aaccepted

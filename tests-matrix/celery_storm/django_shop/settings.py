"""Those of the storm; SAGAZ_DISPATCH is in the environment."""

from storm.django_site.settings import *  # noqa: F403

"""For gunicorn --preload: a project that runs a saga while it is loaded, before the fork."""

import json
import os

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from django_sagaz import run_saga  # noqa: E402
from testproject.shop.sagas import OrderSaga  # noqa: E402

[_home] = json.loads(os.environ["TESTPROJECT_NAMES"])
run_saga(OrderSaga, {"db": _home, "name": "before the fork"})

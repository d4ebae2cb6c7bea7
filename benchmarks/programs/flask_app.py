"""A Flask application with one saga, for ``flask sagaz worker``."""

from __future__ import annotations

from flask import Flask

from benchmarks.sagas import NoopSaga
from flask_sagaz import SagazExtension

app = Flask(__name__)
sagaz = SagazExtension(app, sagas=[NoopSaga])

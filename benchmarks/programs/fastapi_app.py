"""A FastAPI application with the sagas of workers, for ``fastapi-sagaz worker``."""

from __future__ import annotations

from fastapi import FastAPI

from benchmarks.sagas import NoopSaga, SleepingSaga, WaitingSaga
from fastapi_sagaz import create_lifespan

app = FastAPI(lifespan=create_lifespan(sagas=[NoopSaga, WaitingSaga, SleepingSaga]))

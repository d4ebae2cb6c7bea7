"""How the test's Celery applications are configured; their broker is in the environment, as CELERY_BROKER_URL."""

from __future__ import annotations

from typing import Any

__all__ = ["CONFIGURATION"]

CONFIGURATION: dict[str, Any] = {
    "worker_prefetch_multiplier": 1,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_transport_options": {"socket_timeout": 2, "socket_connect_timeout": 2},
    "beat_schedule": {"sagaz": {"task": "sagaz.sweep", "schedule": 0.5, "options": {"expires": 2}}},
    "beat_max_loop_interval": 0.5,
    "worker_hijack_root_logger": False,
    "enable_utc": True,
}

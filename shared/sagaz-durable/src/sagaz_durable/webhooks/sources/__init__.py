"""Who sends webhooks, and how they are told from forged ones; what an application imports."""

from __future__ import annotations

from sagaz_durable.webhooks.delivery import Delivery, Source
from sagaz_durable.webhooks.sources.github import GitHub
from sagaz_durable.webhooks.sources.plain_hmac import Hmac
from sagaz_durable.webhooks.sources.standard_webhooks import StandardWebhooks
from sagaz_durable.webhooks.sources.stripe import Stripe
from sagaz_durable.webhooks.sources.unsigned import Unsigned

__all__ = ["Delivery", "GitHub", "Hmac", "Source", "StandardWebhooks", "Stripe", "Unsigned"]

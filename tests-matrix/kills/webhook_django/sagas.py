"""Its saga, defined where `django_sagaz` looks for sagas."""

from kills import webhook_saga


class WebhookOrder(webhook_saga.WebhookOrder):
    """The same as that of the others."""

"""What senders have published is verified, and what their own packages sign; what those refuse, ours refuses."""

from __future__ import annotations

import base64
import importlib.util
from datetime import UTC, datetime, timedelta

import pytest
from signed_samples import BODY, NOW, SENT_AT, STRIPE, with_public_keys

from sagaz_durable.webhooks.errors import SignatureRefused
from sagaz_durable.webhooks.sources import Delivery, GitHub, StandardWebhooks, Stripe

ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
PAYLOAD = b'{"test": 2432232314}'
V1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
V1A = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
SHARED = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="


def package(name: str):
    """Return a package that only the oldest versions are tried without."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} IS NOT INSTALLED: nothing compares the signatures with those of its vendor")
    return importlib.import_module(name)


def standard(signature: str) -> dict[str, str]:
    return {"webhook-id": ID, "webhook-timestamp": str(SENT_AT), "webhook-signature": signature}


@pytest.mark.parametrize(("secret", "signature"), [(SHARED, V1), (PUBLIC, V1A)], ids=["v1", "v1a"])
@with_public_keys
def test_the_published_vectors_of_standard_webhooks_are_verified(secret, signature):
    assert StandardWebhooks(secret).verify(standard(signature), PAYLOAD, NOW) == Delivery(ID, None)


def test_the_published_vector_of_github_is_verified():
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    headers = {"X-Hub-Signature-256": signature, "X-GitHub-Delivery": "d", "X-GitHub-Event": "ping"}
    assert GitHub("It's a Secret to Everybody").verify(headers, b"Hello, World!", NOW) == Delivery("d", "ping")


@with_public_keys
def test_one_signature_of_many_suffices_and_other_versions_are_no_matter():
    sent = f"v2,abc v1,{base64.b64encode(bytes(32)).decode()} v1a,xyz {V1} nonsense"
    assert StandardWebhooks((PUBLIC, SHARED)).verify(standard(sent), PAYLOAD, NOW).delivery_id == ID


@with_public_keys
@pytest.mark.parametrize("version", ["v2", "V1", "v1a", "", "v0"])
def test_a_signature_of_another_version_does_not_count(version):
    with pytest.raises(SignatureRefused):
        StandardWebhooks((SHARED, PUBLIC)).verify(standard(f"{version},{V1[3:]}"), PAYLOAD, NOW)


@with_public_keys
def test_a_signature_without_a_version_does_not_count():
    with pytest.raises(SignatureRefused):
        StandardWebhooks(SHARED).verify(standard(V1.removeprefix("v1,")), PAYLOAD, NOW)
    with pytest.raises(SignatureRefused):
        StandardWebhooks(PUBLIC).verify(standard(V1A.removeprefix("v1a,")), PAYLOAD, NOW)


def test_what_the_package_of_standard_webhooks_signs_is_verified():
    package("standardwebhooks")
    from standardwebhooks import Webhook

    now = datetime.now(UTC)
    signature = Webhook(SHARED).sign(ID, now, BODY.decode())
    headers = {**standard(signature), "webhook-timestamp": str(int(now.timestamp()))}
    assert StandardWebhooks(SHARED).verify(headers, BODY, now) == Delivery(ID, None)
    assert Webhook(SHARED).verify(BODY, headers)["amount"] == 42


def test_what_the_package_of_stripe_signs_is_verified():
    webhooks = package("stripe")
    header = webhooks.WebhookSignature.generate_signature_header(BODY.decode(), STRIPE, SENT_AT)
    assert Stripe(STRIPE).verify({"Stripe-Signature": header}, BODY, NOW) == Delivery(None, None)


def test_what_this_project_takes_of_stripe_its_package_takes():
    webhooks = package("stripe")
    header = webhooks.WebhookSignature.generate_signature_header(BODY.decode(), STRIPE, SENT_AT)
    header = f"t={SENT_AT},v0=abc,v1={'0' * 64},{header.partition(',')[2]}"
    Stripe(STRIPE).verify({"Stripe-Signature": header}, BODY, NOW)
    assert webhooks.WebhookSignature.verify_header(BODY, header, STRIPE)


def test_a_webhook_of_stripe_from_the_future_is_refused_unlike_by_its_package():
    webhooks = package("stripe")
    header = webhooks.WebhookSignature.generate_signature_header(BODY.decode(), STRIPE, SENT_AT)
    assert webhooks.WebhookSignature.verify_header(BODY, header, STRIPE)
    with pytest.raises(SignatureRefused, match="in the future"):
        Stripe(STRIPE).verify({"Stripe-Signature": header}, BODY, NOW - timedelta(hours=1))


def test_a_fixed_webhook_of_stripe_is_verified_where_its_package_is_not_installed():
    # Made with: printf '1614265330.%s' "$body" | openssl dgst -sha256 -hmac whsec_0123456789abcdef
    header = "t=1614265330,v1=676a725d0ff48b34d0e01842849369672046ddae43f5dbf54c33baead5aae5c1"
    assert Stripe(STRIPE).verify({"Stripe-Signature": header}, BODY, NOW) == Delivery(None, None)

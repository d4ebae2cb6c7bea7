"""A secret that is none, or that could be guessed, is refused when the application starts, and is never shown."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest
from signed_samples import BODY, NOW, PUBLIC, SAMPLES, SECRET, STANDARD, STRIPE, each, with_public_keys

from sagaz_durable.webhooks.errors import SignatureRefused
from sagaz_durable.webhooks.sources import GitHub, Hmac, StandardWebhooks, Stripe, Unsigned
from sagaz_integration_core.errors import SettingsError

HIDDEN = "hunter2"
"""A part of all secrets here that are refused."""


@each
@pytest.mark.parametrize(
    ("secrets", "message"),
    [
        ((), "there is none; give the one that the sender shows"),
        ([], "there is none"),
        (None, "the secret is None; is the environment variable set?"),
        ("", "the secret has 0 bytes; expected at least 16"),
        (HIDDEN, "the secret has 7 bytes; expected at least 16"),
        (f" {HIDDEN * 4}", "the secret has white space around it"),
        (f"{HIDDEN * 4}\n", "the secret has white space around it"),
        (f"{HIDDEN * 4}\udcff", "the secret is no text in UTF-8"),
        (HIDDEN.encode() * 4, "expected a string or a list of them, not bytes"),
        ({HIDDEN * 4}, "expected a string or a list of them, not set"),
        (["@good@", HIDDEN], "secret 2 of 2 has 7 bytes"),
        (["@good@", HIDDEN.encode() * 4], "secret 2 of 2 is no string, but bytes"),
        (["@good@", None], "secret 2 of 2 is None; is the environment variable set?"),
    ],
)
def test_a_secret_that_is_none_is_refused_by_its_place_and_not_shown(sample, secrets, message):
    if isinstance(secrets, list):
        secrets = [sample.secret if one == "@good@" else one for one in secrets]
    with pytest.raises(SettingsError) as refused:
        sample.make(secrets)
    name = "Hmac" if isinstance(sample.source, Hmac) else type(sample.source).__name__
    assert str(refused.value).startswith(f"{name}(secrets=…): {message}")
    assert HIDDEN not in str(refused.value)
    assert sample.secret not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("whsec_hunter2=hunter2=hunter2", "is no base64; expected whsec_… or whpk_…"),
        ("whsec_hunter2!hunter2hunter2hunter2", "is no base64"),
        ("whsec_ähunter2hunter2hunter2", "is no base64"),
        ("whsec_hunter2hunter2hunter2hun", "has 18 bytes after whsec_; expected at least 24"),
        ("whpk_hunter2hunter2hunter2hunter2hunter2hunt", "is a public key of 29 bytes; expected 32"),
        (PUBLIC.replace("whpk_", "whsk_"), "is a private key, which is the sender's alone; expected whpk_…"),
    ],
)
def test_a_secret_of_standard_webhooks_is_what_the_sender_shows(secret, message):
    with pytest.raises(SettingsError) as refused:
        StandardWebhooks(secret)
    assert str(refused.value).startswith(f"StandardWebhooks(secrets=…): the secret {message}")
    assert HIDDEN not in str(refused.value)
    with pytest.raises(SettingsError, match=r"^StandardWebhooks\(secrets=…\): secret 2 of 2 "):
        StandardWebhooks([STANDARD, secret])


@pytest.mark.parametrize("secret", ["sk_live_hunter2hunter2", "WHSEC_hunter2hunter2", "whsec_hunter2hunter2ä"])
def test_an_api_key_is_no_secret_of_an_endpoint_of_stripe(secret):
    with pytest.raises(SettingsError, match=r"the secret is none of an endpoint; expected whsec_…"):
        Stripe(secret)
    with pytest.raises(SettingsError, match=r"secret 2 of 2 is none of an endpoint"):
        Stripe([STRIPE, secret])


def test_a_secret_of_standard_webhooks_may_come_without_prefix_and_padding():
    bare = STANDARD.removeprefix("whsec_").rstrip("=")
    sample = SAMPLES[0]
    assert StandardWebhooks(bare).verify(sample.headers(), BODY, NOW) == sample.delivery
    assert StandardWebhooks(f"whsec_{bare}").verify(sample.headers(), BODY, NOW) == sample.delivery


@each
def test_no_repr_and_no_refusal_shows_a_secret(sample):
    source = sample.make([sample.secret, sample.other])
    with pytest.raises(SignatureRefused) as refused:
        source.verify(sample.headers(), b"other", NOW)
    for text in (repr(source), str(source), f"{source}", str(refused.value), repr(refused.value)):
        for secret in (sample.secret, sample.other):
            assert secret not in text
            assert secret.partition("_")[2] not in text or "_" not in secret


@with_public_keys
def test_a_repr_tells_how_a_source_verifies_and_nothing_of_its_keys():
    assert repr(StandardWebhooks([STANDARD, PUBLIC])) == "StandardWebhooks(tolerance=300.0)"
    assert repr(Stripe(STRIPE, tolerance=10)) == "Stripe(tolerance=10)"
    assert repr(GitHub(SECRET)) == "GitHub()"
    assert repr(Hmac(SECRET, header="X-A")).startswith(
        "Hmac(header='X-A', digest='sha256', encoding='hex', prefix='', "
    )
    assert repr(Hmac(SECRET, header="X-A")).endswith(" signed='{body}', tolerance=300.0)")


@each
def test_a_source_cannot_be_changed_and_is_one_value(sample):
    with pytest.raises(FrozenInstanceError):
        sample.source.secrets = ()
    assert sample.source == sample.source
    assert sample.source != sample.make(sample.other)
    assert hash(sample.source) == hash(sample.make([sample.secret]))


@pytest.mark.parametrize("tolerance", [0, -1, 86_401, float("nan"), float("inf"), True, None, "300"])
@pytest.mark.parametrize("make", [StandardWebhooks, Stripe, Hmac], ids=lambda make: make.__name__)
def test_a_tolerance_that_is_none_is_refused(make, tolerance):
    secret = {Stripe: STRIPE, StandardWebhooks: STANDARD, Hmac: SECRET}[make]
    more = {"header": "X-Signature"} if make is Hmac else {}
    with pytest.raises(SettingsError, match=r"tolerance=.*: expected seconds from 1 to 86,400"):
        make(secret, tolerance=tolerance, **more)


@pytest.mark.parametrize("tolerance", [1, 86_400])
def test_a_tolerance_is_between_a_second_and_a_day(tolerance):
    assert Stripe(STRIPE, tolerance=tolerance).tolerance == tolerance


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"digest": "md5"}, "Hmac(digest='md5'): expected sha256 or sha384 or sha512."),
        ({"encoding": "base32"}, "Hmac(encoding='base32'): expected hex or base64."),
        ({"header": ""}, "Hmac(header=''): expected a header's name, as X-Signature."),
        ({"header": "X_Signature"}, "Hmac(header='X_Signature'): expected a header's name"),
        ({"header": None}, "Hmac(header=None): expected a header's name"),
        ({"delivery_header": "X Id"}, "Hmac(delivery_header=…): expected a header's name"),
        ({"event_header": "ä"}, "Hmac(event_header=…): expected a header's name"),
        ({"timestamp_header": ""}, "Hmac(timestamp_header=''): expected a header's name"),
        ({"delivery_header": "X-Id", "delivery_member": "id"}, "Hmac: delivery_header and delivery_member are both"),
        ({"event_header": "X-Type", "event_member": "type"}, "Hmac: event_header and event_member are both given"),
        ({"delivery_member": ""}, "Hmac(delivery_member=''): expected the name of a member."),
        ({"event_member": 5}, "Hmac(event_member=5): expected the name of a member."),
        ({"signed": ""}, "Hmac(signed=''): expected {body} once"),
        ({"signed": "{body}{body}"}, "Hmac(signed='{body}{body}'): expected {body} once"),
        ({"signed": "{body}.{id}"}, "Hmac(signed='{body}.{id}'): expected {body} once"),
        ({"signed": "{timestamp}.{body}"}, "Hmac(signed='{timestamp}.{body}'): expected {body} once"),
        ({"signed": "{delivery_id}.{body}"}, "Hmac(signed='{delivery_id}.{body}'): expected {body} once"),
        ({"timestamp_header": "X-Time"}, "Hmac(signed='{body}'): expected {timestamp} in it, because"),
    ],
)
def test_a_way_to_sign_that_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(SettingsError) as refused:
        Hmac(SECRET, **{"header": "X-Signature", **arguments})
    assert str(refused.value).startswith(message)


def test_the_way_to_sign_is_written_out_by_name():
    with pytest.raises(TypeError):
        Hmac(SECRET, "X-Signature", "sha512")
    with pytest.raises(TypeError) as swapped:
        Hmac("X-Signature-Header", SECRET)
    assert SECRET not in str(swapped.value)


def test_a_secret_in_place_of_a_headers_name_is_not_shown():
    for arguments in ({"header": STRIPE}, {"header": "X-A", "timestamp_header": STRIPE}):
        with pytest.raises(SettingsError, match=r"header=…\): expected a header's name") as refused:
            Hmac(SECRET, **arguments)
        assert STRIPE not in str(refused.value)


MISPLACED = ["8f742231b10e8888abcd99yyyzzz85a5", "0b1f6a3c-9d5e-4c7a-8a1b-2f3e4d5c6b7a", "a" * 32]
"""What a header may be called, and yet none is."""


@pytest.mark.parametrize("misplaced", MISPLACED)
@pytest.mark.parametrize(
    "place", ["header", "prefix", "delivery_header", "delivery_member", "event_header", "event_member"]
)
def test_what_may_be_a_secret_in_another_place_is_neither_in_a_repr_nor_in_a_refusal(place, misplaced):
    source = Hmac(SECRET, **{"header": "X-Signature", place: misplaced})
    assert misplaced not in repr(source)
    assert f"{place}=…" in repr(source)
    with pytest.raises(SignatureRefused) as refused:
        source.verify({"X-Signature": "0"}, BODY, NOW)
    assert misplaced not in str(refused.value)
    if place in ("header", "prefix"):
        return
    unsigned = Unsigned(**{place: misplaced})
    assert repr(unsigned).count("=…") == 1
    assert misplaced not in repr(unsigned)


@pytest.mark.parametrize("misplaced", MISPLACED)
def test_what_is_signed_is_shown_without_what_may_be_a_secret(misplaced):
    source = Hmac(SECRET, header="X-Signature", signed=f"v0:{{body}}{misplaced}")
    assert "signed='v0:{body}…'" in repr(source)
    with pytest.raises(SettingsError, match=r"^Hmac\(signed='…{id}'\)"):
        Hmac(SECRET, header="X-Signature", signed=f"{misplaced}.{{id}}")


def test_an_argument_that_is_refused_is_not_shown_if_it_may_be_a_secret():
    for name in ("digest", "encoding", "tolerance"):
        with pytest.raises(SettingsError, match=rf"^Hmac\({name}=…\): expected") as refused:
            Hmac(SECRET, header="X-Signature", **{name: STRIPE})
        assert STRIPE not in str(refused.value)
    for name in ("delivery_member", "event_member"):
        with pytest.raises(SettingsError, match=rf"^Unsigned\({name}=…\): expected"):
            Unsigned(**{name: STRIPE.encode()})
        with pytest.raises(SettingsError, match=rf"^Unsigned\({name}=a list\): expected"):
            Unsigned(**{name: [STRIPE]})


@pytest.mark.parametrize("place", ["header", "delivery_member", "prefix", "signed"])
def test_one_of_the_secrets_in_another_place_is_refused(place):
    secret, given = "correct-horse-battery", {"signed": "correct-horse-battery{body}"}
    arguments = {"header": "X-Signature", place: given.get(place, secret)}
    with pytest.raises(SettingsError, match=rf"^Hmac\({place}=…\): that has one of the secrets") as refused:
        Hmac([SECRET, secret], **arguments)
    assert secret not in str(refused.value)


@pytest.mark.parametrize("name", ["X-Shopify-Hmac-Sha256", "X-Hub-Signature-256", "X_Signature", "notification_type"])
def test_the_names_of_headers_and_members_are_shown(name):
    assert f"event_member='{name}'" in repr(Unsigned(event_member=name))


def test_stripes_secrets_that_nobody_split_are_refused():
    with pytest.raises(
        SettingsError, match=r'the secret has a comma; are they several\? \.split\(","\) them\.'
    ) as refused:
        Stripe(f"{STRIPE},{STRIPE}")
    assert STRIPE not in str(refused.value)


def test_a_secret_of_16_bytes_is_long_enough():
    assert Hmac("hunter2-hunter2-", header="X-Signature")
    with pytest.raises(SettingsError, match="has 15 bytes; expected at least 16"):
        Hmac("hunter2-hunter2", header="X-Signature")


def test_what_is_unsigned_has_its_id_in_one_place():
    with pytest.raises(SettingsError, match=r"^Unsigned: delivery_header and delivery_member are both given"):
        Unsigned(delivery_header="X-Id", delivery_member="id")
    with pytest.raises(SettingsError, match=r"^Unsigned\(event_header=…\)"):
        Unsigned(event_header="x y")


def test_a_prefix_is_part_of_what_is_compared():
    sample = next(one for one in SAMPLES if one.name == "slack")
    value = sample.headers()["X-Slack-Signature"]
    for other in (value.removeprefix("v0="), f"v1={value[3:]}", value[3:] + "v0="):
        with pytest.raises(SignatureRefused):
            sample.source.verify({**sample.headers(), "X-Slack-Signature": other}, BODY, NOW)


@pytest.mark.parametrize("make", [StandardWebhooks, Stripe, GitHub], ids=lambda make: make.__name__)
def test_a_source_goes_to_another_process(make):
    source = make({StandardWebhooks: STANDARD, Stripe: STRIPE, GitHub: SECRET}[make])
    assert pickle.loads(pickle.dumps(source)) == source


def test_without_its_package_a_public_key_is_refused_with_what_to_install():
    program = f"""
import sys
sys.modules["cryptography"] = None
from sagaz_durable.webhooks.sources import StandardWebhooks
StandardWebhooks({STANDARD!r})
try:
    StandardWebhooks({PUBLIC!r})
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "needs the package cryptography, which is not installed" in done.stdout
    assert "pip install cryptography, or your plugin with its extra [webhooks-v1a]." in done.stdout


def test_without_a_public_key_its_package_is_not_even_imported():
    program = f"""
import sys
from sagaz_durable.webhooks.sources import StandardWebhooks
StandardWebhooks({STANDARD!r})
print("cryptography" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"

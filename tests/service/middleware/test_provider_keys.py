"""Keys of an identity provider that come, go, are of odd kinds, or cannot be had."""

import asyncio
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from joserfc import jwk, jws

from service.middleware import identity_tokens
from service.middleware.identity_tokens import (
    IdentityTokens,
    InvalidTokenError,
    ProviderUnavailableError,
)
from service.settings import Settings

AUDIENCE = "segmenter"
OLD, NEW, STRANGER = (jwk.RSAKey.generate_key(2048, {"kid": kid}) for kid in ("old", "new", "x"))
EC = jwk.ECKey.generate_key("P-256")


class Provider:
    """What a provider publishes; a test changes it."""

    def __init__(self):
        self.keys: object = [public(OLD)]
        self.is_away = False
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.asked = 0
        self.issuer = ""

    def tokens(self) -> IdentityTokens:
        return IdentityTokens(Settings(oidc_issuer=self.issuer, oidc_audience=AUDIENCE))

    def token(self, key=OLD, header=None, **changed) -> str:
        claims = {"iss": self.issuer, "aud": AUDIENCE, "sub": "anna", "scope": "segment"}
        claims = {**claims, "exp": int(time.time()) + 60, **changed}
        header = {"alg": "RS256", "kid": key.kid} if header is None else header
        return jws.serialize_compact(header, json.dumps(claims).encode(), key)


def public(key):
    return key.as_dict(private=False)


@pytest.fixture
def provider():
    with running() as found:
        yield found


@contextmanager
def running():
    provider = Provider()

    class Answers(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            provider.asked += 1
            provider.may_answer.wait(20)
            document = {"issuer": provider.issuer, "jwks_uri": f"{provider.issuer}/jwks"}
            found = {"keys": provider.keys} if self.path == "/jwks" else document
            self.send_response(503 if provider.is_away else 200)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        provider.issuer = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield provider
        provider.may_answer.set()
        server.shutdown()


def holder(tokens, token):
    return asyncio.run(tokens.caller(token)).name


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({"kty": "AKP", "kid": "x", "alg": "ML-DSA-44", "pub": "AA"}, id="kind"),
        pytest.param({"kty": "EC", "kid": "x", "crv": "P-9", "x": "AA", "y": "AA"}, id="curve"),
        pytest.param({"kty": "EC", "kid": "x", "crv": "secp256k1", "x": "AA", "y": "A"}, id="secp"),
        pytest.param({"kty": "RSA", "kid": "x", "n": "!", "e": "AQAB"}, id="no number"),
        pytest.param({"kty": "RSA", "kid": "x", "use": 5}, id="another type"),
        pytest.param({"kid": "x"}, id="no kind"),
        pytest.param("x", id="text"),
        pytest.param(None, id="null"),
    ],
)
def test_one_key_that_nobody_knows_locks_out_none_of_the_others(provider, odd):
    provider.keys = [odd, public(OLD)]
    tokens = provider.tokens()
    assert holder(tokens, provider.token()) == "anna"
    with pytest.raises(InvalidTokenError):
        holder(tokens, provider.token(jwk.RSAKey.generate_key(2048, {"kid": "x"})))


def named(key, **changed):
    told = {name: value for name, value in public(key).items() if name != "kid"}
    return {**told, **changed}


@pytest.mark.parametrize(
    ("others", "own", "header"),
    [
        pytest.param(public(OLD), public(NEW), {}, id="tokens without an id"),
        pytest.param(named(OLD), named(NEW), {}, id="keys without one"),
        pytest.param(named(OLD, kid="1"), named(NEW, kid="1"), {"kid": "1"}, id="one for two"),
        pytest.param(named(EC, kid="1"), named(NEW, kid="1"), {"kid": "1"}, id="two kinds"),
    ],
)
def test_of_several_keys_each_that_fits_may_have_signed_a_token(provider, others, own, header):
    header = {"alg": "RS256", **header}
    for keys in ([others, own], [own, others]):
        provider.keys = keys
        tokens = provider.tokens()
        assert holder(tokens, provider.token(NEW, header)) == "anna"
        with pytest.raises(InvalidTokenError, match="no key"):
            holder(tokens, provider.token(STRANGER, header))


@pytest.mark.parametrize(
    "unfit",
    [{"use": "enc"}, {"alg": "PS256"}, {"key_ops": ["encrypt"]}, {"kid": "other"}],
    ids=lambda unfit: next(iter(unfit)),
)
@pytest.mark.parametrize("others", [[], [public(OLD)]], ids=["alone", "beside another"])
def test_a_key_that_is_for_something_else_signs_no_token(provider, unfit, others):
    provider.keys = [named(NEW, kid="new") | unfit, *others]
    header = {"alg": "RS256"} | ({"kid": "new"} if "kid" in unfit else {})
    with pytest.raises(InvalidTokenError, match="no key"):
        holder(provider.tokens(), provider.token(NEW, header))


@pytest.mark.parametrize("keys", [None, {}, {"a": 1}, "x", 5])
def test_what_is_no_list_of_keys_counts_as_no_answer(provider, keys):
    provider.keys = keys
    with pytest.raises(ProviderUnavailableError):
        holder(provider.tokens(), provider.token())


def test_a_key_that_takes_the_place_of_another_is_found_and_the_other_ends(provider, monkeypatch):
    monkeypatch.setattr(identity_tokens, "PATIENCE_S", 0)
    tokens = provider.tokens()
    assert holder(tokens, provider.token()) == "anna"
    provider.keys = [public(NEW)]
    assert holder(tokens, provider.token(NEW)) == "anna"
    with pytest.raises(InvalidTokenError):
        holder(tokens, provider.token())


def test_a_provider_that_withdraws_all_its_keys_is_believed(provider, monkeypatch):
    tokens = provider.tokens()
    holder(tokens, provider.token())
    provider.keys = []
    monkeypatch.setattr(identity_tokens, "KEYS_S", 0)
    monkeypatch.setattr(identity_tokens, "PATIENCE_S", 0)
    with pytest.raises(InvalidTokenError):
        holder(tokens, provider.token())


def test_keys_are_good_for_a_while_where_the_provider_is_away_and_no_longer(provider, monkeypatch):
    tokens = provider.tokens()
    holder(tokens, provider.token())
    provider.is_away = True
    monkeypatch.setattr(identity_tokens, "KEYS_S", 0)
    monkeypatch.setattr(identity_tokens, "PATIENCE_S", 0)
    assert holder(tokens, provider.token()) == "anna"
    monkeypatch.setattr(identity_tokens, "KEPT_S", 0)
    with pytest.raises(ProviderUnavailableError):
        holder(tokens, provider.token())


def test_a_provider_that_does_not_answer_is_waited_for_once(provider, monkeypatch):
    monkeypatch.setattr(identity_tokens, "FETCH_S", 0.5)
    provider.may_answer.clear()
    tokens = provider.tokens()

    async def many():
        asking = (tokens.caller(provider.token()) for _ in range(20))
        return await asyncio.gather(*asking, return_exceptions=True)

    assert {type(each) for each in asyncio.run(many())} == {ProviderUnavailableError}
    assert provider.asked == 1


def test_nobody_with_a_known_key_waits_while_somebody_names_another(provider, monkeypatch):
    tokens = provider.tokens()
    holder(tokens, provider.token())
    monkeypatch.setattr(identity_tokens, "PATIENCE_S", 0)
    provider.may_answer.clear()

    async def both():
        stranger = asyncio.create_task(tokens.caller(provider.token(NEW)))
        while provider.asked == 2:  # the first fetch took two documents
            await asyncio.sleep(0.01)
        known = await tokens.caller(provider.token())
        still_waits = not stranger.done()
        provider.may_answer.set()
        with pytest.raises(InvalidTokenError):
            await stranger
        return known.name, still_waits

    assert asyncio.run(both()) == ("anna", True)


def test_a_holder_whose_name_is_no_text_is_refused(provider):
    with pytest.raises(InvalidTokenError, match="no text"):
        holder(provider.tokens(), provider.token(sub="\ud800"))

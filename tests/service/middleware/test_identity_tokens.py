"""Tokens of an OpenID Connect provider that really runs, against a service that really runs."""

import base64
import hmac
import json
import re
import time
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import oidc_provider_mock
import pytest
from joserfc import jwk, jwt

from seg.errors import ConfigError
from service.middleware.identity_tokens import checked_identity, scopes_by_value
from service.settings import Settings
from tests.service.conftest import log_lines, png, served, serving, until, until_status
from tests.service.routes.test_errors import problem

IMAGE = png([[100] * 40] * 40)
AUDIENCE = "segmenter"
GROUPS = {"anna": ["radiology"], "it": ["operators"], "guest": ["visitors"], "none": None}
NONE, HS256 = b'{"alg": "none"}', b'{"alg": "HS256"}'
ODD = b'{"alg": "RS256", "crit": 5}'
REDIRECT = "https://viewer.example/callback"

pytestmark = pytest.mark.filterwarnings("ignore:get_jwt_config")


@pytest.fixture(scope="module")
def provider():
    """URL of a provider with four people in it."""
    people = [
        oidc_provider_mock.User(sub=sub, claims={"realm_access": {"roles": groups}})
        for sub, groups in GROUPS.items()
    ]
    with oidc_provider_mock.run_server_in_thread(user_claims=people) as server:
        yield f"http://localhost:{server.server_port}"


def token_of(provider, sub, audience=AUDIENCE) -> str:
    """What the provider gives a program after a person has logged in (authorization code flow)."""
    query = {
        "client_id": audience,
        "redirect_uri": REDIRECT,
        "response_type": "code",
        "scope": "openid",
        "state": "s",
        "nonce": str(time.monotonic_ns()),
    }
    went = httpx.post(f"{provider}/oauth2/authorize", params=query, data={"sub": sub})
    (code,) = parse_qs(urlsplit(went.headers["Location"]).query)["code"]
    asked = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
    answer = httpx.post(f"{provider}/oauth2/token", data=asked, auth=(audience, "secret"))
    return answer.raise_for_status().json()["id_token"]


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("oidc")


@pytest.fixture(scope="module")
def service(tiny_package, provider, folder):
    settings = {
        "SEG_KEYS": "required",
        "SEG_KEYS_FILE": str(folder / "keys.json"),
        "SEG_OIDC_ISSUER": provider,
        "SEG_OIDC_AUDIENCE": AUDIENCE,
        "SEG_OIDC_CLAIM": "realm_access.roles",
        "SEG_OIDC_SCOPES": "radiology=segment+jobs,operators=admin",
        "SEG_AUDIT_LOG": str(folder / "audit.jsonl"),
    }
    with served(tiny_package, folder / "log.txt", **settings) as client:
        until_status(client, "/readyz", 200)
        yield client


def test_a_token_opens_what_its_groups_may(service, provider):
    anna, it = token_of(provider, "anna"), token_of(provider, "it")
    assert service.post("/segment", content=IMAGE, headers=bearer(anna)).status_code == 200
    assert "scope metrics" in problem(service.get("/metrics", headers=bearer(anna)), 403)
    assert service.get("/metrics", headers=bearer(it)).status_code == 200
    for sub in ("guest", "none"):
        refused = service.post("/segment", content=IMAGE, headers=bearer(token_of(provider, sub)))
        assert "lacks the scope segment" in problem(refused, 403)


def test_jobs_are_those_of_a_person_whatever_token_they_come_with(service, provider):
    taken = service.post("/jobs", content=IMAGE, headers=bearer(token_of(provider, "anna")))
    job = taken.json()["id"]
    again = bearer(token_of(provider, "anna"))
    assert service.get(f"/jobs/{job}", headers=again).status_code == 200
    assert [each["id"] for each in service.get("/jobs", headers=again).json()["jobs"]] == [job]
    other = bearer(token_of(provider, "it"))
    assert service.get(f"/jobs/{job}", headers=other).status_code == 404
    assert service.get("/jobs", headers=other).json() == {"jobs": [], "next": None}


def forged(claims, key, **header):
    header = {"alg": "RS256", **header}
    return jwt.encode(header, claims, key, algorithms=[header["alg"]])


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def with_secret(payload: str, secret: bytes) -> str:
    signed = f"{encoded(HS256)}.{payload}"
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), 'sha256'))}"


def claims_of(provider, **changed):
    now = int(time.time())
    return {
        "iss": provider,
        "aud": AUDIENCE,
        "sub": "anna",
        "iat": now,
        "exp": now + 60,
        "realm_access": {"roles": ["operators"]},
        **changed,
    }


def test_tokens_that_the_provider_did_not_sign_are_refused(service, provider):
    ours = jwk.RSAKey.generate_key(2048)
    published = httpx.get(f"{provider}/jwks").json()["keys"][0]
    public = jwk.RSAKey.import_key(published).as_pem(private=False)
    real = token_of(provider, "anna")
    head, _, signature = real.split(".")
    swapped = forged(claims_of(provider), ours).split(".")[1]
    wrong = {
        "key of our own": forged(claims_of(provider), ours),
        "the same key id": forged(claims_of(provider), ours, kid=published.get("kid", "x")),
        "a key in the header": forged(claims_of(provider), ours, jwk=ours.as_dict(private=False)),
        "the public key as a secret": with_secret(swapped, public),
        "no signature": f"{encoded(NONE)}.{swapped}.",
        "another payload": f"{head}.{swapped}.{signature}",
        "rubbish": "a.b.c",
        "a header of other types": f"{encoded(ODD)}.{swapped}.",
    }
    for how, token in wrong.items():
        answer = service.get("/model", headers=bearer(token))
        assert "not taken" in problem(answer, 401), how
        assert "invalid_token" in answer.headers["WWW-Authenticate"]


def test_a_token_for_another_service_is_refused(service, provider):
    answer = service.get("/model", headers=bearer(token_of(provider, "it", "other-service")))
    assert "another audience" in problem(answer, 401)


def test_a_token_ends_when_its_time_is_over(tiny_package, tmp_path):
    people = [oidc_provider_mock.User(sub="a", claims={"scope": "seg:segment"})]
    short = timedelta(seconds=-60)
    with oidc_provider_mock.run_server_in_thread(
        user_claims=people, access_token_max_age=short
    ) as server:
        issuer = f"http://localhost:{server.server_port}"
        settings = {
            "SEG_KEYS": "required",
            "SEG_OIDC_ISSUER": issuer,
            "SEG_OIDC_AUDIENCE": AUDIENCE,
        }
        with serving(tiny_package, tmp_path, **settings) as client:
            answer = client.get("/model", headers=bearer(token_of(issuer, "a")))
            assert "expired" in problem(answer, 401)


def test_a_provider_that_is_away_is_told_with_a_time_to_come_back(tiny_package, tmp_path):
    settings = {
        "SEG_KEYS": "required",
        "SEG_OIDC_ISSUER": "http://127.0.0.1:9",
        "SEG_OIDC_AUDIENCE": AUDIENCE,
    }
    with serving(tiny_package, tmp_path, **settings) as client:
        answer = client.get("/model", headers=bearer("a.b.c"))
        assert "cannot be reached" in problem(answer, 503)
        assert int(answer.headers["Retry-After"]) >= 1


def test_the_audit_log_tells_who_asked_what_and_the_log_names_nobody(service, provider, folder):
    token = token_of(provider, "anna")
    headers = {**bearer(token), "X-Request-ID": "audited"}
    service.post("/segment?format=png", content=IMAGE, headers=headers)
    refused = {**bearer(token), "X-Request-ID": "audited-refusal"}
    service.get("/metrics", headers=refused)
    service.put("/models/cells", content=b"x", headers={**refused, "X-Request-ID": "audited-put"})
    service.get("/model", headers={"X-Request-ID": "audited-nobody"})

    def lines():
        text = (folder / "audit.jsonl").read_text()
        return {line["request_id"]: line for line in map(json.loads, text.splitlines())}

    until(lambda: "audited-nobody" in lines())
    line = lines()["audited"]
    assert line["who"] == "anna"
    assert line["route"] == "/segment"
    assert line["status"] == 200
    assert line["model"] == "nearest-level:1"
    assert line["address"] == "127.0.0.1"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", line["time"])
    assert lines()["audited-put"]["status"] == 403
    assert lines()["audited-put"]["name"] == "cells"
    assert "who" not in lines()["audited-nobody"]
    assert (folder / "audit.jsonl").stat().st_mode & 0o777 == 0o600
    (told,) = log_lines(folder / "log.txt", "audited")
    assert told["key"].startswith("oidc-")
    assert "anna" not in (folder / "log.txt").read_text()
    assert token.rpartition(".")[2] not in (folder / "audit.jsonl").read_text()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"oidc_issuer": "https://id.example"}, "SEG_OIDC_AUDIENCE"),
        ({"oidc_issuer": "http://id.example", "oidc_audience": "seg"}, "not https"),
        (
            {"oidc_issuer": "https://i.example", "oidc_audience": "s", "oidc_scopes": "a=root"},
            "VALUE=SCOPE",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_told_before_anything_starts(settings, words):
    with pytest.raises(ConfigError, match=words):
        checked_identity(Settings(**settings))


def test_scopes_are_granted_by_name_or_by_what_an_operator_says():
    by_name = scopes_by_value("")
    assert by_name["seg:jobs"] == by_name["jobs"] == ("jobs",)
    by_group = scopes_by_value("CN=ai\\, radiology=segment+jobs".replace("\\,", ";"))
    assert by_group == {"CN=ai; radiology": ("segment", "jobs")}

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import sqlalchemy as sa
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.service.conftest import ROOT, png, until

DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "segmenter.json").read_text())


@pytest.fixture(scope="module")
def samples(client) -> list:
    """What a running service tells Prometheus after a success and an error."""
    assert client.post("/segment", content=png([[100] * 40] * 40)).status_code == 200
    client.post("/segment", content=b"no image")
    families = text_string_to_metric_families(client.get("/metrics").text)
    return [sample for family in families for sample in family.samples]


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: panel["title"])
def test_a_panel_asks_for_series_and_labels_that_the_service_has(panel, samples):
    (target,) = panel["targets"]
    expression = target["expr"]
    names = set(re.findall(r"seg_\w+", expression))
    assert names
    grouped = re.findall(r"by \(([^)]*)\)", expression)
    wanted = {label.strip() for labels in grouped for label in labels.split(",")}
    chosen = re.findall(r'(\w+)(=~|=)"([^"]*)"', expression)
    for name in names:
        labels = [sample.labels for sample in samples if sample.name == name]
        assert labels, name
        assert wanted <= set(labels[0])
        for label, how, value in chosen:
            pattern = value if how == "=~" else re.escape(value)
            assert any(re.fullmatch(pattern, each[label]) for each in labels)


def test_panels_do_not_overlap():
    places = [tuple(panel["gridPos"][k] for k in "xy") for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)


KUBECTL = """#!/bin/bash
# kubectl without a cluster: what would be sent there is written down.
case "$1 $2" in
  "create secret") "$REAL_KUBECTL" "$@" --dry-run=client -o yaml ;;
  "apply -k") "$REAL_KUBECTL" kustomize "$3" ;;
  *) echo "kubectl $* is not expected" >&2; exit 2 ;;
esac >> "$SENT" && echo --- >> "$SENT"
"""


@pytest.fixture(scope="module", params=["cpu", "gpu"])
def sent(request, tmp_path_factory) -> list[dict]:
    """What the commands of docs/deploy.md send to a cluster."""
    real = shutil.which("kubectl")
    if real is None:
        pytest.skip("no kubectl here: kubernetes.io/docs/tasks/tools")
    page = (ROOT / "docs/deploy.md").read_text()
    (commands,) = re.findall(r"<!-- kubernetes -->\n```bash\n(.*?)```", page, re.S)
    commands = commands.replace("deploy/kubernetes/cpu", f"deploy/kubernetes/{request.param}")
    folder = tmp_path_factory.mktemp("kubernetes")
    stand_in = folder / "bin" / "kubectl"
    stand_in.parent.mkdir()
    stand_in.write_text(KUBECTL)
    stand_in.chmod(0o755)
    (folder / "deploy").symlink_to(ROOT / "deploy")
    environment = {
        **os.environ,
        "PATH": f"{stand_in.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "REAL_KUBECTL": real,
        "SENT": str(folder / "sent.yaml"),
        "KUBECONFIG": os.devnull,
    }
    script = ["bash", "-euo", "pipefail", "-c", commands]
    subprocess.run(script, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return [each for each in yaml.safe_load_all((folder / "sent.yaml").read_text()) if each]


def of_kind(sent, kind) -> list[dict]:
    return [each for each in sent if each["kind"] == kind]


def pod_of(sent) -> dict:
    return of_kind(sent, "Deployment")[0]["spec"]["template"]["spec"]


def container_of(sent) -> dict:
    (container,) = pod_of(sent)["containers"]
    return container


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_the_manifests_are_what_kubernetes_published(sent, version):
    for each in sent:
        kubernetes_validate.validate(each, version, strict=True)


def named_in(found, key: str) -> list:
    """Whatever stands under a key, anywhere below."""
    if isinstance(found, list):
        return [named for each in found for named in named_in(each, key)]
    if not isinstance(found, dict):
        return []
    below = [named for each in found.values() for named in named_in(each, key)]
    return below + ([found[key]] if key in found else [])


def test_every_secret_and_claim_that_is_named_is_made(sent):
    monitor = yaml.safe_load((ROOT / "deploy/kubernetes/monitoring/pod-monitor.yaml").read_text())
    made = {each["metadata"]["name"]: each["data"] for each in of_kind(sent, "Secret")}
    keyed = named_in([*sent, monitor], "secretKeyRef") + named_in(monitor, "credentials")
    assert len(keyed) == 3
    for each in keyed:
        assert made[each["name"]][each["key"]]
    for volume in named_in(sent, "secret"):
        assert volume["secretName"] in made
    assert "keys.json" in made["segmenter-keys"], "the name below which the pod looks"
    claims = {each["metadata"]["name"] for each in of_kind(sent, "PersistentVolumeClaim")}
    assert {each["claimName"] for each in named_in(sent, "persistentVolumeClaim")} == claims
    assert not named_in(sent, "configMapRef")
    assert not named_in(sent, "configMapKeyRef")


def test_the_secrets_hold_the_scopes_and_the_address_that_are_needed(sent):
    secrets = {each["metadata"]["name"]: each["data"] for each in of_kind(sent, "Secret")}
    kept = json.loads(base64.b64decode(secrets["segmenter-keys"]["keys.json"]))
    scopes = {scope for key in kept for scope in key["scopes"]}
    assert scopes == {"segment", "jobs", "metrics"}
    token = base64.b64decode(secrets["segmenter-metrics"]["key"]).decode()
    (prometheus,) = [key for key in kept if key["id"] == token.split("_")[1]]
    assert prometheus["scopes"] == ["metrics"]
    url = sa.make_url(base64.b64decode(secrets["segmenter-jobs"]["database"]).decode())
    assert url.password == base64.b64decode(secrets["segmenter-jobs"]["password"]).decode()
    services = {each["metadata"]["name"] for each in of_kind(sent, "Service")}
    assert url.host in services
    (database,) = of_kind(sent, "StatefulSet")
    environment = {e["name"]: e.get("value") for e in named_in(database, "env")[0]}
    assert environment["POSTGRES_USER"] == url.username
    assert environment["POSTGRES_DB"] == url.database


def test_the_autoscaler_asks_for_numbers_that_the_service_tells(sent, client):
    (scaler,) = of_kind(sent, "HorizontalPodAutoscaler")
    target = scaler["spec"]["scaleTargetRef"]
    (deployment,) = of_kind(sent, "Deployment")
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    assert "replicas" not in deployment["spec"], "two would set them"
    asked = {each["name"] for each in named_in(scaler["spec"]["metrics"], "metric")}
    assert asked == {"seg_patches_waiting", "seg_jobs_waiting"}
    until(lambda: asked <= set(re.findall(r"^(seg_\w+)", client.get("/metrics").text, re.M)))
    values = yaml.safe_load((ROOT / "deploy/kubernetes/monitoring/adapter-values.yaml").read_text())
    told = {rule["name"]["matches"] for rules in values["rules"].values() for rule in rules}
    assert told == asked


def test_only_the_gpu_overlay_wants_a_gpu(sent, request):
    wants = named_in(sent, "nvidia.com/gpu")
    provider = [e for e in container_of(sent)["env"] if e["name"] == "SEG_PROVIDER"]
    assert bool(wants) == bool(provider) == ("gpu" in request.node.callspec.id)
    assert ":" in container_of(sent)["image"]


def test_a_pod_with_a_card_needs_no_spare_one_and_keeps_what_cuda_compiles(sent, request):
    if "gpu" not in request.node.callspec.id:
        return
    pod, container = pod_of(sent), container_of(sent)
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert [each["key"] for each in pod["tolerations"]] == ["nvidia.com/gpu"]
    (deployment,) = [e for e in sent if e["kind"] == "Deployment"]
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}
    probe = container["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] >= 600
    (cache,) = [e["value"] for e in container["env"] if e["name"] == "CUDA_CACHE_PATH"]
    writable = [m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")]
    assert any(cache.startswith(f"{place}/") for place in writable)


def test_a_pod_runs_without_rights_on_a_file_system_that_it_cannot_change(sent):
    pod, container = pod_of(sent), container_of(sent)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 1034
    rights = container["securityContext"]
    assert rights["readOnlyRootFilesystem"] is True
    assert rights["allowPrivilegeEscalation"] is False
    assert rights["capabilities"] == {"drop": ["ALL"]}
    writable = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
    assert writable == {"/tmp", "/jobs"}
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_probes_ask_paths_that_answer_without_a_key(client, sent):
    container = container_of(sent)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert client.get(asked["path"]).status_code == 200
        assert asked["port"] in {port["name"] for port in container["ports"]}


def test_a_pod_has_time_to_finish_what_is_in_flight(sent):
    pod, container = pod_of(sent), container_of(sent)
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    assert pod["terminationGracePeriodSeconds"] >= int(command[1]) + 30


def test_the_manifests_choose_the_same_pods(sent):
    (deployment,) = of_kind(sent, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    (budget,) = of_kind(sent, "PodDisruptionBudget")
    assert budget["spec"]["selector"]["matchLabels"] == labels
    (scaler,) = of_kind(sent, "HorizontalPodAutoscaler")
    assert budget["spec"]["minAvailable"] < scaler["spec"]["minReplicas"]
    service = next(s for s in of_kind(sent, "Service") if s["metadata"]["name"] == "segmenter")
    assert service["spec"]["selector"] == labels
    (policy,) = of_kind(sent, "NetworkPolicy")
    assert policy["spec"]["podSelector"]["matchLabels"] == labels

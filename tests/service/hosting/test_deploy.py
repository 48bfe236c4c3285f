import json
import re

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.service.conftest import ROOT, png

DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "segmenter.json").read_text())
MANIFESTS = list(yaml.safe_load_all((ROOT / "deploy/kubernetes/segmenter.yaml").read_text()))
POD = MANIFESTS[0]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


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


def test_a_pod_runs_without_rights_on_a_file_system_that_it_cannot_change():
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["runAsUser"] == 1034
    rights = CONTAINER["securityContext"]
    assert rights["readOnlyRootFilesystem"] is True
    assert rights["allowPrivilegeEscalation"] is False
    assert rights["capabilities"] == {"drop": ["ALL"]}
    writable = {m["mountPath"] for m in CONTAINER["volumeMounts"] if not m.get("readOnly")}
    assert writable == {"/tmp", "/jobs"}
    mounted = {mount["name"] for mount in CONTAINER["volumeMounts"]}
    assert mounted == {volume["name"] for volume in POD["volumes"]}


def test_probes_ask_paths_that_answer_without_a_key(client):
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = CONTAINER[probe]["httpGet"]
        assert client.get(asked["path"]).status_code == 200
        assert asked["port"] in {port["name"] for port in CONTAINER["ports"]}


def test_a_pod_has_time_to_finish_what_is_in_flight():
    command = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    assert POD["terminationGracePeriodSeconds"] >= int(command[1]) + 30


def test_the_manifests_choose_the_same_pods():
    deployment, service, budget = MANIFESTS
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == labels
    assert budget["spec"]["selector"]["matchLabels"] == labels
    assert budget["spec"]["minAvailable"] < deployment["spec"]["replicas"]

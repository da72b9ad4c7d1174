"""What goes to Kubernetes: overlays built by kustomize, every field known, nothing open."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from pipelines.reproduction.plan import plan_stages
from pipelines.serving.app import build
from tests.commands import JOBS, parse_job, split_job
from tests.infra.kuberay_schema import SPECS

ROOT = Path(__file__).parents[2]
FOLDERS = {
    **{p.name: p for p in sorted((ROOT / "infra/kuberay/overlays").iterdir())},
    "mlflow": ROOT / "infra/mlflow/kubernetes",
}
OVERLAYS = [name for name in FOLDERS if name != "mlflow"]
KUBERNETES = "1.33"


@cache
def resources(name):
    """Everything that an overlay makes."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl, whose kustomize builds the overlays")
    built = subprocess.run(
        [kubectl, "kustomize", FOLDERS[name]], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return tuple(yaml.safe_load_all(built.stdout))


def of_kind(name, *kinds):
    return [resource for resource in resources(name) if resource["kind"] in kinds]


def cluster_specs(name):
    for resource in of_kind(name, "RayCluster", "RayJob", "RayService"):
        spec = resource["spec"]
        yield spec.get("rayClusterSpec") or spec.get("rayClusterConfig") or spec


def ray_templates(name):
    for spec in cluster_specs(name):
        yield spec["headGroupSpec"]["template"]
        yield from (group["template"] for group in spec["workerGroupSpecs"])


def pods(name):
    yield from (template["spec"] for template in ray_templates(name))
    for resource in of_kind(name, "StatefulSet", "Deployment"):
        yield resource["spec"]["template"]["spec"]


@pytest.mark.parametrize("name", FOLDERS)
def test_every_field_is_known(name):
    for resource in resources(name):
        if resource["kind"] in SPECS:
            assert resource["apiVersion"] == "ray.io/v1"
            jsonschema.validate(resource["spec"], SPECS[resource["kind"]])
        else:
            kubernetes_validate.validate(resource, KUBERNETES, strict=True)
    for template in ray_templates(name):
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "template": template}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_unknown_fields_would_be_seen():
    (cluster,) = of_kind("aws", "RayCluster")
    with pytest.raises(jsonschema.ValidationError, match="headGroup"):
        jsonschema.validate(cluster["spec"] | {"headGroup": {}}, SPECS["RayCluster"])
    template = {"spec": {"containers": [{"name": "ray", "imagee": "x"}]}}
    with pytest.raises(kubernetes_validate.ValidationError, match="imagee"):
        kubernetes_validate.validate(
            {"apiVersion": "v1", "kind": "PodTemplate", "template": template},
            KUBERNETES,
            strict=True,
        )


@pytest.mark.parametrize("name", OVERLAYS)
def test_jobs_and_service_run_on_the_cluster_of_the_overlay(name):
    (cluster,) = of_kind(name, "RayCluster")
    jobs, (service,) = of_kind(name, "RayJob"), of_kind(name, "RayService")
    assert all(job["spec"]["rayClusterSpec"] == cluster["spec"] for job in jobs)
    tolerance = service["spec"]["rayClusterConfig"].pop("gcsFaultToleranceOptions")
    assert service["spec"]["rayClusterConfig"] == cluster["spec"]
    service["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"] = tolerance
    (redis,) = [r for r in of_kind(name, "Service") if r["metadata"]["name"] == "redis"]
    assert tolerance["redisAddress"] == f"redis://redis:{redis['spec']['ports'][0]['port']}"


@pytest.mark.parametrize("name", OVERLAYS)
def test_clusters_grow_have_a_token_and_wait_until_they_are_wanted(name):
    for spec in cluster_specs(name):
        assert spec["authOptions"] == {"mode": "token"}
        assert spec["enableInTreeAutoscaling"] is True
        assert all(g["minReplicas"] == 0 < g["maxReplicas"] for g in spec["workerGroupSpecs"])
    for job in of_kind(name, "RayJob"):
        assert job["spec"]["suspend"] is True
        assert job["spec"]["shutdownAfterJobFinishes"] is True  # KubeRay asks it of suspended jobs


def test_each_batch_job_and_training_has_a_rayjob_that_its_parser_accepts():
    ran = set()
    for job in of_kind("aws", "RayJob"):
        name, arguments = split_job(job["spec"]["entrypoint"])
        assert job["metadata"]["name"] == name.replace("_", "-")
        settings = parse_job(name, arguments)
        ran.add(name)
        started = [(name, settings)]
        if name == "reproduce_method":
            stages = plan_stages(settings)
            started = [(stage.name, parse_job(stage.job, list(stage.flags))) for stage in stages]
            assert len(started) == 13
        for title, each in started:
            wanted = [getattr(each, f, None) for f in ("num_actors", "num_workers")]
            assert any(wanted), f"{title} begins without workers and has to say how many it wants"
    on_this_machine = {"make_scenes", "extend_vocabulary", "pretrain_tiny_base", "serve_model"}
    assert ran == set(JOBS) - on_this_machine


@pytest.mark.parametrize("name", OVERLAYS)
def test_serve_accepts_the_service_and_it_can_be_built(name, tmp_path):
    (service,) = of_kind(name, "RayService")
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    ServeDeploySchema(**config)
    (application,) = config["applications"]
    assert application["import_path"] == f"{build.__module__}:{build.__name__}"
    keys = tmp_path / "keys"
    keys.write_text("k" * 24)
    build(application["args"] | {"api_keys": str(keys)})


@pytest.mark.parametrize("name", FOLDERS)
def test_nothing_holds_a_secret_or_an_open_port(name):
    assert not of_kind(name, "Secret", "Ingress")
    for service in of_kind(name, "Service"):
        assert service["spec"].get("type", "ClusterIP") == "ClusterIP"
    assert of_kind(name, "NetworkPolicy")
    for pod in pods(name):
        assert not pod.get("hostNetwork")
        for container in pod["containers"]:
            for variable in container.get("env", ()):
                secret = any(w in variable["name"] for w in ("PASSWORD", "SECRET", "TOKEN"))
                assert not secret or "secretKeyRef" in variable["valueFrom"]


@pytest.mark.parametrize("name", FOLDERS)
def test_pods_are_restricted_and_images_pinned(name):
    for pod in pods(name):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            image, _, tag = container["image"].rpartition(":")
            assert image, f"{tag} has no tag"
            assert tag != "latest"

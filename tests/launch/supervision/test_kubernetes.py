"""launch/kubernetes: the manifest agrees with itself, with launch.node and with JobSet's schema."""

import os
import re
from pathlib import Path

import pytest

from launch import node
from launch.supervision.codes import HOPELESS, SAVED_AND_STOPPED
from launch.supervision.settings import PORTS

yaml = pytest.importorskip("yaml")
FOLDER = Path(node.__file__).parent / "kubernetes"


@pytest.fixture(scope="module")
def documents():
    return {each["kind"]: each for each in yaml.safe_load_all((FOLDER / "jobset.yaml").read_text())}


@pytest.fixture(scope="module")
def jobset(documents):
    return documents["JobSet"]


@pytest.fixture(scope="module")
def job(jobset):
    (replicated,) = jobset["spec"]["replicatedJobs"]
    assert replicated["replicas"] == 1
    return replicated["template"]["spec"]


@pytest.fixture(scope="module")
def pod(job):
    return job["template"]["spec"]


@pytest.fixture(scope="module")
def flags(pod):
    (container,) = pod["containers"]
    assert container["command"] == ["mlstm-node"]
    return dict(word.removeprefix("--").split("=", 1) for word in container["args"])


def test_every_flag_is_one_of_launch_node_or_of_launch_train(pod):
    own, others = node.split(pod["containers"][0]["args"])
    names = {word.partition("=")[0] for word in others}
    assert {name for name in names if "." not in name} == {"--config", "--workdir"}
    assert len(own) == len(pod["containers"][0]["args"]) - len(others)


def test_there_is_a_pod_for_each_node_that_launch_node_counts_on(job, flags):
    assert job["completionMode"] == "Indexed"
    assert job["parallelism"] == job["completions"] == int(flags["nodes"])
    assert flags["node_rank"] == "$(JOB_COMPLETION_INDEX)"


def test_the_coordinator_is_the_first_pod_by_the_name_that_jobset_gives_it(jobset, flags):
    name = jobset["metadata"]["name"]
    network = jobset["spec"]["network"]
    assert network["enableDNSHostnames"]
    pod = f"{name}-{jobset['spec']['replicatedJobs'][0]['name']}-0-0"
    host, port = flags["coordinator"].split(":")
    assert host == f"{pod}.{network.get('subdomain', name)}"
    assert 1024 < int(port) <= 65536 - PORTS


def test_what_is_hopeless_fails_the_job_and_what_was_saved_does_not(jobset, job):
    rules = job["podFailurePolicy"]["rules"]
    (container,) = job["template"]["spec"]["containers"]
    assert {rule["action"] for rule in rules} == {"FailJob"}
    assert {rule["onExitCodes"]["containerName"] for rule in rules} == {container["name"]}
    listed = {code for rule in rules for code in rule["onExitCodes"]["values"]}
    assert listed == {*HOPELESS, SAVED_AND_STOPPED}

    def action(code):
        """Of the first rule that matches what the Job controller says of a pod with this code."""
        message = "Container train for pod default/reviews-node-0-1-abcde failed with exit code "
        message += f"{code} matching FailJob rule at index 0"
        for rule in jobset["spec"]["failurePolicy"]["rules"]:
            assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]
            if any(re.search(p, message) for p in rule["onJobFailureMessagePatterns"]):
                return rule["action"]
        return None

    assert [action(code) for code in HOPELESS] == ["FailJobSet", "FailJobSet"]
    assert action(SAVED_AND_STOPPED) == "RestartJobSetAndIgnoreMaxRestarts"
    assert action(1) is None
    assert (job["backoffLimit"], job["template"]["spec"]["restartPolicy"]) == (0, "Never")


def test_a_pod_has_longer_to_end_than_its_ranks(pod, flags):
    assert pod["terminationGracePeriodSeconds"] > int(flags["grace"])


def test_the_workdir_lies_on_the_claim_that_all_nodes_may_write(documents, pod, flags):
    claim = documents["PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    volumes = {v["name"]: v for v in pod["volumes"]}
    mounts = {m["mountPath"]: m["name"] for m in pod["containers"][0]["volumeMounts"]}
    assert set(mounts.values()) == set(volumes)
    runs = volumes[mounts["/runs"]]
    assert runs["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert flags["workdir"].startswith("/runs/")
    assert flags["config.data.source"].startswith("/runs/")


def test_the_image_is_made_of_what_there_is():
    text = (FOLDER / "Dockerfile").read_text()
    repository = FOLDER.parents[1]
    if not (repository / "pyproject.toml").exists():
        pytest.skip("installed without its sources")
    for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE):
        for name in line.split():
            assert (repository / name).exists(), name


def test_the_manifest_is_valid_by_the_schema_of_jobset(jobset):
    path = os.environ.get("MLSTM_JOBSET_CRD")
    if not path:
        pytest.skip("MLSTM_JOBSET_CRD does not name the CRD of JobSet")
    jsonschema = pytest.importorskip("jsonschema")
    (version,) = yaml.safe_load(Path(path).read_text())["spec"]["versions"]
    assert jobset["apiVersion"] == f"jobset.x-k8s.io/{version['name']}"
    schema = closed(version["schema"]["openAPIV3Schema"])
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(jobset, schema)
    wrong = jobset | {"spec": jobset["spec"] | {"netwrok": {}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)


def closed(schema):
    """The schema, refusing fields that it does not know, as the API server does by default."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        schema.setdefault("additionalProperties", False)
    return schema

"""Joining a job: a process that was meant to be one of many never goes on alone."""

import jax
import pytest

from mlstm import cluster, devices, job
from mlstm.errors import InputError

A_TASK = {
    "SLURM_JOB_ID": "77",
    "SLURM_NTASKS": "4",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "node[001-004]",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
}
BATCH_SCRIPT = {"SLURM_JOB_ID": "77", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}
MPI = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}


@pytest.mark.parametrize(
    ("environ", "name", "method"),
    [
        (A_TASK, "SLURM", "slurm"),
        (BATCH_SCRIPT, "SLURM", None),
        (MPI | {"OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.0.0.1:34911"}, "Open MPI", "ompi"),
        (MPI, "Open MPI", None),
        ({"PMI_SIZE": "3"}, "MPI (PMI)", None),
        ({"TPU_WORKER_HOSTNAMES": "host0,host1"}, "TPU", "tpu"),
        ({"MEGASCALE_COORDINATOR_ADDRESS": "host0"}, "TPU", "tpu"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "1"}, "Kubernetes", None),
    ],
)
def test_what_starts_several_processes_is_recognised(environ, name, method):
    found = cluster.recognise(environ)
    assert found is not None
    assert (found.name, found.method) == (name, method)
    assert bool(found.hint) == (method is None)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        A_TASK | {"SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1"},
        {"OMPI_COMM_WORLD_SIZE": "1"},
        {"TPU_WORKER_HOSTNAMES": "localhost"},
        {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},
    ],
)
def test_one_process_is_no_job(environ):
    assert cluster.recognise(environ) is None
    job.join(environ=environ)
    assert (job.count(), job.index()) == (1, 0)


@pytest.fixture
def asked(monkeypatch):
    """What `jax.distributed` is asked for, which is not there."""
    calls = []

    def initialize(*places, **settings):
        calls.append((places, settings))
        raise RuntimeError("DEADLINE_EXCEEDED:\n nobody there")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    return calls


@pytest.mark.parametrize("environ", [BATCH_SCRIPT, MPI, {"PMI_SIZE": "3"}])
def test_a_job_that_cannot_be_joined_is_an_error_and_not_a_lone_process(asked, environ):
    with pytest.raises(InputError, match=r"was asked for \d processes.*--num_processes=1") as error:
        job.join(environ=environ)
    assert "\n" not in str(error.value)
    assert not asked
    job.join(processes=1, environ=environ)
    assert not asked


def test_a_cluster_is_asked_in_its_own_way_and_a_failure_is_one_line(asked):
    with pytest.raises(InputError, match="not all 4 processes came together at SLURM within 9 s"):
        job.join(environ=A_TASK, start_timeout=9, heartbeat=7, local_devices=[1])
    ((places, settings),) = asked
    assert places == (None, 4, None)
    assert settings["cluster_detection_method"] == "slurm"
    assert settings["heartbeat_timeout_seconds"] == 7
    assert settings["local_device_ids"] == [1]


def test_flags_go_before_the_cluster(asked):
    with pytest.raises(InputError, match="at host0:8476"):
        job.join(coordinator="host0:8476", processes=2, process=1, environ=A_TASK)
    ((places, settings),) = asked
    assert places == ("host0:8476", 2, 1)
    assert settings["cluster_detection_method"] == "deactivate"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ({"coordinator": "host0:8476"}, "--coordinator without --num_processes, --process_id"),
        ({"processes": 2}, "--num_processes without --coordinator, --process_id"),
        ({"coordinator": "host0", "processes": 2, "process": 0}, "it is HOST:PORT"),
        ({"coordinator": "host0:99999", "processes": 2, "process": 0}, "it is HOST:PORT"),
        ({"coordinator": "host0:8476", "processes": 2, "process": 2}, "one of 0 to 1"),
        ({"coordinator": "host0:8476", "processes": 0, "process": 0}, "at least 1"),
    ],
)
def test_a_wrong_place_is_one_line(asked, place, said):
    with pytest.raises(InputError, match=said) as error:
        job.join(**place, environ={})
    assert "\n" not in str(error.value)
    assert not asked


def test_a_lone_process_agrees_with_itself():
    assert job.from_first(lambda: 3, "it") == 3
    assert job.together(lambda: 4, "it") == 4
    assert job.gathered(5, "it") == [5]
    assert job.all_of(True, "it")
    assert not job.all_of(False, "it")
    assert not job.told_to_stop(1)
    with pytest.raises(InputError, match="wrong"):
        job.together(lambda: fail("wrong"), "it")


def fail(text):
    raise InputError(text)


class Device:
    platform = "cpu"

    def __init__(self, process):
        self.process_index = process


@pytest.mark.parametrize(
    ("of", "mesh", "said"),
    [
        ([0, 0, 1, 1], (2, 1), r"config\.mesh 2 x 1 takes 2 of the 4 devices of 2 processes"),
        ([0, 0, 1], (3, 1), "process 1 has 1 devices and process 0 has 2"),
        ([0, 0, 1, 1], (4, 2), r"config\.mesh 4 x 2 needs 8 devices, here are 4"),
    ],
)
def test_a_mesh_takes_all_devices_of_a_job_and_as_many_of_each_process(monkeypatch, of, mesh, said):
    monkeypatch.setattr(job, "count", lambda: 2)
    monkeypatch.setattr(jax, "devices", lambda: [Device(process) for process in of])
    with pytest.raises(InputError, match=said):
        devices.mesh(*mesh)

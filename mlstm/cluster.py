"""What started this process, and whether it meant to start several.

SLURM, Open MPI, Kubernetes, TPU: their variables say so. How processes find each other there JAX
knows.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Cluster:
    """What starts processes here, and how many of them are meant to train together."""

    name: str
    processes: int | None
    """None where only the cluster's own interface knows."""
    method: str | None
    """By which name JAX asks it; None where JAX does not know how."""
    hint: str = ""
    """What would be right where it cannot be joined."""


def recognise(environ: Mapping[str, str]) -> Cluster | None:
    """The cluster that this process was started by, if it meant to start several; else None."""
    get = environ.get
    if get("SLURM_JOB_ID"):
        tasks = _number(get("SLURM_STEP_NUM_TASKS") or get("SLURM_NTASKS"))
        needed = ("SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
        if tasks > 1:
            a_task = all(map(get, needed)) and get("SLURM_STEP_ID") not in ("", "batch")
            hint = "" if a_task else "this process is none of them: start it with srun"
            return Cluster("SLURM", tasks, "slurm" if a_task else None, hint)
    tasks = _number(get("OMPI_COMM_WORLD_SIZE"))
    if tasks > 1:
        known = bool(get("OMPI_MCA_orte_hnp_uri"))
        hint = "" if known else "this version of it does not say where the first one is"
        return Cluster("Open MPI", tasks, "ompi" if known else None, hint)
    tasks = _number(get("PMI_SIZE"))
    if tasks > 1:
        return Cluster("MPI (PMI)", tasks, None, "JAX cannot ask it where the first one is")
    if len([host for host in (get("TPU_WORKER_HOSTNAMES") or "").split(",") if host]) > 1:
        return Cluster("TPU", None, "tpu")
    if get("MEGASCALE_COORDINATOR_ADDRESS"):
        return Cluster("TPU", None, "tpu")
    if get("KUBERNETES_SERVICE_HOST") and get("JOB_COMPLETION_INDEX"):
        try:
            import kubernetes  # noqa: F401  # pyright: ignore[reportMissingImports]
        except ImportError:
            hint = "JAX asks it through the package kubernetes, which is not installed"
            return Cluster("Kubernetes", None, None, hint)
        return Cluster("Kubernetes", None, "k8s")
    return None


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0

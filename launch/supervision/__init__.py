"""How launch.node keeps a training alive: the processes of a host, and what hosts tell each other.

settings.py     what was asked for, and the command line of a rank
codes.py        exit codes: which are final, and what several of them mean together
ranks.py        one training process: its log, its end, its signals
attempt.py      all ranks of this host, once: start, watch, stop
restarts.py     whether to try again, and when
job.py          attempt after attempt, on one host or as one of several
alone.py        the hosts of a job that has one; leader.py, follower.py: of one that has several
notes.py        the small files in WORKDIR/.gang by which hosts know of each other
asked.py        SIGTERM and Ctrl-C; terminal.py: lines that never stop the one who says them
slurm.py        which node of a job this is; gpus.py: how many GPUs it has

Nothing here imports JAX: a supervisor must start at once and hold no device.
"""

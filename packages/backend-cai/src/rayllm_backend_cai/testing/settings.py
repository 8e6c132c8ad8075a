"""How a workspace behaves: its delays, and the choices in which workspaces differ."""

from __future__ import annotations

import sys
from typing import Literal

from pydantic import BaseModel, ConfigDict


class Limits(BaseModel):
    """What a user may have at once."""

    model_config = ConfigDict(extra="forbid")

    cpu: float = float("inf")
    memory: float = float("inf")
    """GB."""
    nvidia_gpu: float = float("inf")


class Settings(BaseModel):
    """May be changed while the fake runs: what happens from then on follows."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    # Delays, in seconds of the fake's clock
    starting_s: float = 0.0
    """Between a start and the script's process: a node is found, the image is pulled."""
    polling_s: float = 0.1
    """An application that is STARTING is asked that often whether it is up; in real seconds."""
    stopping_s: float = 0.0
    """An application or a run is STOPPING that long after its processes are gone."""
    deleting_s: float = 0.0
    """A deleted application stays in lists that long."""
    list_lag_s: float = 0.0
    """What was made does not stand in lists before this."""
    clone_s: float = 0.0
    """A project is `creating` that long."""
    files_late_s: float = 0.0
    """Files of a clone come that long after its project says `success`."""
    clone: Literal["as it goes", "never ends", "fails"] = "as it goes"

    # Where workspaces differ
    malformed_key_status: Literal[401, 500] = 500
    taken_subdomain: Literal["refuse", "suffix", "conflict"] = "refuse"
    """`conflict`: it is created, and stays STARTING since another one is at its address."""
    second_run: Literal["refuse", "skip"] = "refuse"
    limits: Limits = Limits()
    over_limit: Literal["refuse", "wait"] = "refuse"
    public_applications: bool = True
    """The administrator's switch: off, `bypass_authentication` opens nothing."""
    app_port_held: bool = False
    """The platform's own launcher listens on CDSW_APP_PORT; an application is reached at CDSW_READONLY_PORT."""
    own_ports: bool = True
    """CDSW_APP_PORT and its siblings differ from pod to pod, so that scripts may bind 127.0.0.1 as documentation has
    it: here that address is shared. Off: 8100, 8090 and 8080 as there, on the pod's address alone."""
    memory_limits: bool = True
    """What takes more memory than its workload has is killed."""

    # Misfortune
    stuck: frozenset[str] = frozenset()
    """Names of applications whose start never gets beyond STARTING."""
    restart_leaves_orphans: bool = True
    """`:restart` of an application that is STARTING leaves the first start's processes behind."""

    python: str = sys.executable
    """What runs scripts, whatever the runtime is called."""
    environment: dict[str, str] = {}
    """Variables of every process, which an administrator sets."""

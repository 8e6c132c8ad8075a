"""What `rayllm up` could not bring up on Cloudera AI is refused where the file is checked, each at its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayllm import Command, Engine, Environment, Options
from rayllm.config import Checked, ConfigErrors, load
from rayllm.plugins import Plugins

NAME = "n" * 40
"""The longest that a deployment may have."""
GROUP = "g" * 20
LABEL = "it takes lower-case letters and digits, with single hyphens between them"
BYPASS = (
    "it would open the endpoint to everybody: the file has no gateway.keys\n"
    "  → gateway.keys in the file, or without bypass_authentication: then the workspace's log-in is asked for"
)
SHORTER = "  → a shorter or plainer name of the group, or of the deployment"
OWN = "is less than the 1.5 GiB that Ray itself takes of a node"
AT_LEAST = "  → at least 1.5 GiB, and beside that what the node's models need"
LESS = "  → ask for less, or for larger nodes in cluster.options"
WHOLE = "Ray counts whole cores of each node"
COUNT = "  → fewer nodes, or a higher count of a group of cluster.options.workers"
OTHER = "  → another accelerator, here or of a group of cluster.options.workers"
FEWER = "  → fewer replicas, or a higher count in cluster.options.workers"
ONE = "one replica needs"
HEAD = "the head has"
EACH = "each of gpu (at most 2) has 1 GPU of type L40S, 8 CPU cores"


class Folder:
    """Checks files in an empty folder, where each is called `f`; any engine will do."""

    def __init__(self) -> None:
        self.plugins = Plugins.discover()
        self.plugins.engines["toy"] = Engine(
            name="toy",
            summary="",
            options=Options,
            environment=Environment(()),
            commands=lambda launch: [Command()] * launch.nodes,
            capabilities={"multi-node"},
        )

    def right(self, options: str = "{}", resources: str = "{}", more: str = "", name: str = "demo") -> Checked:
        """A file in which nothing is wrong."""
        Path("f").write_text(
            f"name: {name}\ncluster: {{backend: cai, options: {options}}}\n"
            f"models: {{m: {{engine: toy, source: /m, resources: {resources}}}}}\n{more}\n"
        )
        return load(Path("f"), self.plugins, {"PEM": "no certificate", "RAYLLM_API_KEYS": "a-key-of-the-example"})

    def wrong(self, options: str = "{}", resources: str = "{}", more: str = "", name: str = "demo") -> str:
        """What is wrong with it, without the last lines, and without what stands before the arrows."""
        with pytest.raises(ConfigErrors) as caught:
            self.right(options, resources, more, name)
        lines = str(caught.value).splitlines()[:-2]
        return "\n".join(f"  {line.strip()}" if line.startswith(" ") else line for line in lines)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """An empty one."""
    monkeypatch.chdir(tmp_path)
    return Folder()


def test_a_bypass_without_keys(folder: Folder) -> None:
    """It would be everybody's endpoint."""
    bypass = "{bypass_authentication: true}"
    assert folder.wrong(bypass) == f"f:2:58  cluster.options.bypass_authentication: {BYPASS}"
    for keys in ("required", "{env: RAYLLM_API_KEYS}"):
        folder.right(bypass, more=f"gateway: {{keys: {keys}}}")


def test_a_certificate(folder: Folder) -> None:
    """The workspace's ingress has one."""
    said = folder.wrong(more="gateway: {tls: PEM}\nsecrets: {PEM: {env: PEM}}")
    assert said.startswith(
        "f:4:16  gateway.tls: not on Cloudera AI, where the workspace's ingress speaks HTTPS\n"
        "  → leave gateway.tls out\n"
    )


NAMES = {
    "subdomain with capitals": (
        "{subdomain: My_App}",
        (
            f'f:2:46  cluster.options.subdomain: "My_App" can\'t be a part of an address: {LABEL}\n'
            "  → another cluster.options.subdomain"
        ),
    ),
    "subdomain that is long": (
        f"{{subdomain: {'s' * 64}}}",
        (
            f'f:2:46  cluster.options.subdomain: "{"s" * 64}" is longer than the 63 letters of an address\'s part\n'
            "  → another cluster.options.subdomain"
        ),
    ),
    "group with two hyphens": (
        "{workers: {a--b: {}}}",
        f'f:2:45  cluster.options.workers.a--b: "{NAME}-a--b-1" can\'t be a part of an address: {LABEL}\n{SHORTER}',
    ),
    "group whose last worker has two digits": (
        f"{{workers: {{{GROUP}: {{count: 10}}}}}}",
        (
            f'f:2:45  cluster.options.workers.{GROUP}: "{NAME}-{GROUP}-10" is longer than '
            f"the 63 letters of an address's part\n{SHORTER}"
        ),
    ),
    "range that may get so many": (
        f"{{workers: {{{GROUP}: {{count: {{max: 10}}}}}}}}",
        (
            f'f:2:45  cluster.options.workers.{GROUP}: "{NAME}-{GROUP}-10" is longer than '
            f"the 63 letters of an address's part\n{SHORTER}"
        ),
    ),
}


@pytest.mark.parametrize("case", NAMES)
def test_names_that_are_no_part_of_an_address(folder: Folder, case: str) -> None:
    """The head's, and that of the last worker that a group may get."""
    options, said = NAMES[case]
    assert folder.wrong(options, name=NAME) == said


def test_names_that_are_just_short_enough(folder: Folder) -> None:
    """63 letters."""
    folder.right(f"{{subdomain: {'s' * 63}}}")
    folder.right(f"{{workers: {{{GROUP}: {{count: {{max: 9}}}}}}}}", name=NAME)


def test_memory_that_ray_itself_takes(folder: Folder) -> None:
    """Of the head, and of workers."""
    assert folder.wrong("{head: {memory: 512MiB}, workers: {w: {memory: 1GiB}, v: {memory: 1536MiB}}}") == (
        f"f:2:50  cluster.options.head.memory: 0.5 GiB {OWN}\n{AT_LEAST}\n"
        f"f:2:81  cluster.options.workers.w.memory: 1 GiB {OWN}\n{AT_LEAST}"
    )


GPUS = "workers: {gpu: {count: 2, cpus: 8, memory: 32GiB, gpus: 1, accelerator: L40S}}"
MISFITS = {
    "more GPUs": (
        f"{{{GPUS}}}",
        "{gpus: 2}",
        f"57  models.m.resources.gpus: {ONE} 2 GPUs, 1 CPU core; {HEAD} 0 GPUs, 4 CPU cores; {EACH}\n{LESS}",
    ),
    "no GPUs at all": (
        "{}",
        "{gpus: 1}",
        f"57  models.m.resources.gpus: {ONE} 1 GPU, 1 CPU core; {HEAD} 0 GPUs, 4 CPU cores\n{LESS}",
    ),
    "a group without nodes": (
        "{workers: {w: {count: 0, gpus: 1}}}",
        "{gpus: 1}",
        f"57  models.m.resources.gpus: {ONE} 1 GPU, 1 CPU core; {HEAD} 0 GPUs, 4 CPU cores; w has no nodes\n{LESS}",
    ),
    "CPU cores that Ray does not count": (
        "{head: {cpus: 3.5}}",
        "{cpus: 3.5}",
        f"57  models.m.resources.cpus: {ONE} 3.5 CPU cores; {HEAD} 3 CPU cores\n{LESS}; {WHOLE}",
    ),
    "memory that is Ray's own": (
        "{head: {memory: 16GiB}}",
        "{cpus: 2, memory: 15GiB}",
        (
            f"68  models.m.resources.memory: {ONE} 2 CPU cores, 15 GiB of memory; {HEAD} 4 CPU cores, "
            f"14.5 GiB of memory\n{LESS}; Ray itself takes 1.5 GiB of each node"
        ),
    ),
    "what no single node has": (
        f"{{head: {{cpus: 16}}, {GPUS}}}",
        "{gpus: 1, cpus: 12}",
        f"39  models.m.resources: {ONE} 1 GPU, 12 CPU cores; {HEAD} 0 GPUs, 16 CPU cores; {EACH}\n{LESS}",
    ),
    "another accelerator": (
        f"{{{GPUS}}}",
        "{gpus: 1, accelerator: H100}",
        (
            f"73  models.m.resources.accelerator: {ONE} 1 GPU of type H100, 1 CPU core; {HEAD} 0 GPUs, "
            f"4 CPU cores; {EACH}\n{OTHER}"
        ),
    ),
    "more nodes": (
        "{workers: {w: {count: {max: 2}}}}",
        "{nodes: 4}",
        (
            f"58  models.m.resources.nodes: {ONE} 4 nodes with 1 CPU core each; {HEAD} 4 CPU cores; each of w "
            f"(at most 2) has 4 CPU cores\n{COUNT}"
        ),
    ),
    "more nodes that are large enough": (
        "{workers: {w: {count: 2, cpus: 8}}}",
        "{nodes: 3, cpus: 6}",
        (
            f"58  models.m.resources.nodes: {ONE} 3 nodes with 6 CPU cores each; {HEAD} 4 CPU cores; each of w "
            f"(at most 2) has 8 CPU cores\n{COUNT}"
        ),
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_replica_that_no_nodes_can_hold(folder: Folder, case: str) -> None:
    """By what Ray is told that they have."""
    options, resources, said = MISFITS[case]
    assert folder.wrong(options, resources) == f"f:3:{said}"


@pytest.mark.parametrize(
    ("options", "resources"),
    [
        ("{head: {cpus: 4, memory: 16GiB}}", "{cpus: 4, memory: 14.5GiB}"),
        ("{head: {gpus: 2}}", "{gpus: 2}"),
        (f"{{{GPUS}}}", "{gpus: 1, accelerator: L40S, cpus: 8, memory: 30.5GiB}"),
        (f"{{{GPUS}}}", "{gpus: 1, nodes: 2}"),
        ("{workers: {w: {count: 2}}}", "{nodes: 3}"),
        ("{workers: {w: {count: {min: 0, max: 3}}}}", "{nodes: 4}"),
        ("{workers: {w: {count: {max: 1000000000}, gpus: 8}}}", "{gpus: 8, nodes: 16}"),
    ],
)
def test_a_replica_that_fits(folder: Folder, options: str, resources: str) -> None:
    """To the last core and byte; the head is a node, too, and a range counts as all that it may get."""
    folder.right(options, resources)


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ("null", "H100"),
        ("A100", "A100-80G"),
        ("NVIDIA-A100-SXM4-80GB", "A100"),
        ("nvidia-l40s", "L40S"),
        ("80GB", "A100"),
        ("NVIDIA", "H100"),
        ("A10", "A10G"),
        ("H100", "some-gpu"),
    ],
)
def test_gpus_whose_type_only_the_workspace_knows(folder: Folder, told: str, wanted: str) -> None:
    """The default's, and whatever a part of a name may stand for: nothing is refused."""
    folder.right(f"{{head: {{gpus: 1, accelerator: {told}}}}}", f"{{gpus: 1, accelerator: {wanted}}}")


def test_models_that_all_together_are_too_many(folder: Folder) -> None:
    """Where no nodes come by themselves, as `up` has it; a model that may sleep needs nothing."""
    more = "    n: {engine: toy, source: /n, resources: {gpus: 1}, replicas: 2}"
    models = "models:\n    m: {engine: toy, source: /m, resources: {gpus: 1}}\n"

    def check(options: str, more: str) -> Checked:
        text = f"name: demo\ncluster: {{backend: cai, options: {options}}}\n{models}{more}\n"
        Path("f").write_text(text)
        return load(Path("f"), folder.plugins, {})

    with pytest.raises(ConfigErrors) as caught:
        check(f"{{{GPUS}}}", more)
    (problem,) = caught.value.problems
    assert problem.render(Path("f")).splitlines() == [
        "f:3:1  models: all models together need 3 GPUs; the cluster has 2 GPUs",
        f"       {FEWER.strip()}",
    ]
    check(f"{{{GPUS}}}", more.replace("2}", "1}"))
    check(f"{{{GPUS}}}", more.replace("replicas: 2", "replicas: {min: 0, max: 2}"))
    check(f"{{{GPUS.replace('count: 2', 'count: {max: 2}')}}}", more)


def test_all_of_it_at_once(folder: Folder) -> None:
    """In the order of the file."""
    said = folder.wrong(
        "{bypass_authentication: true, subdomain: My_App, head: {memory: 1GiB}}",
        "{cpus: 8}",
        "gateway: {tls: NONE}",
    )
    assert [line.split()[1] for line in said.splitlines() if line.startswith("f:")] == [
        "cluster.options.bypass_authentication:",
        "cluster.options.subdomain:",
        "cluster.options.head.memory:",
        "models.m.resources.cpus:",
        "gateway.tls:",
        "gateway.tls:",
    ]

"""Backends for the disk platform that each break one rule of the kit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.unit.core.testing.disk_platform import BACKEND
from tests.unit.core.testing.kit_runs import NEEDS

_HOME = 'Path(os.environ["RAYLLM_HOME"])'
_GONE = '        progress("cluster", "gone", done=True)\n'
_READY = '        progress("cluster", "ready", done=True)\n'
_LEAKS = f"""        progress("secrets", f"laid {{value}}")
        print(spec.secrets)
        call("run", place, value)
        ({_HOME} / "log").write_text(value)
"""


@dataclass(frozen=True, slots=True)
class Bad:
    """A change of the backend that keeps every rule."""

    rule: str
    """The one that it breaks."""
    said: str
    """A part of what the kit says of it."""
    changes: Mapping[str, str] = field(default_factory=dict)
    needs: str = NEEDS
    """What its distribution requires."""

    def source(self) -> str:
        """The changed backend."""
        source = BACKEND
        for there, instead in self.changes.items():
            assert there in source
            source = source.replace(there, instead)
        return source


BAD = {
    "can't be imported": Bad(
        "test_it_is_found_by_its_entry_point", "OSError: no libmissing", {"@hookimpl": "raise OSError('no libmissing')"}
    ),
    "is for any core": Bad(
        "test_it_names_a_range_of_core", "its distribution only names rayllm-core>=0.1", needs="rayllm-core>=0.1"
    ),
    "imports a library": Bad(
        "test_its_import_is_light", "its import brings heavy_as_lead", {"import os,": "import heavy_as_lead, os,"}
    ),
    "sleeps when imported": Bad(
        "test_its_import_is_light",
        "its discovery waits for ",
        {"@hookimpl": "import time\ntime.sleep(0.8)\n\n@hookimpl"},
    ),
    "prints when imported": Bad(
        "test_its_import_prints_nothing", "it prints 'hello'", {"@hookimpl": "print('hello')\n\n@hookimpl"}
    ),
    "has two lines of summary": Bad(
        "test_its_summary_is_one_line", "its summary is 'a\\nfolder'", {'"a folder"': '"a\\nfolder"'}
    ),
    "takes any option": Bad(
        "test_an_unknown_option_is_refused",
        "its options take nobody_has_this_option",
        {"    folder: str\n": "    model_config = {'extra': 'ignore'}\n    folder: str\n"},
    ),
    "has an option without a word": Bad(
        "test_every_option_is_described",
        "the option disk has no description",
        {'    """Whether its machine has one."""\n': ""},
    ),
    "has an option that JSON has not": Bad(
        "test_its_options_have_a_json_schema",
        "its options have no JSON schema",
        {
            "class DiskOptions": "from collections.abc import Callable\n\nclass DiskOptions",
            "    disk: bool": '    then: Callable | None = None\n    """What follows."""\n    disk: bool',
        },
    ),
    "refuses what it takes": Bad(
        "test_it_refuses_nothing_that_its_platform_takes",
        "refuse yielded [Refusal(key=('cluster', 'options', 'disk'), message='it has none', cure='')]",
        {
            "capabilities=": "refuse=refuse, capabilities=",
            "@hookimpl": """def refuse(options, spec, models):
    from rayllm import Refusal

    if not options.disk:
        yield Refusal(key=("cluster", "options", "disk"), message="it has none")

@hookimpl""",
        },
    ),
    "raises where it should refuse": Bad(
        "test_it_refuses_nothing_that_its_platform_takes",
        "refuse raised KeyError('m')",
        {
            "capabilities=": "refuse=lambda options, spec, models: {}[next(iter(models))], capabilities=",
        },
    ),
    "leaves a cluster as it is": Bad(
        "test_ensure_follows_changed_options",
        "after ensure with changed options the platform has ['KIT_SECRET', 'address', 'machine'], not",
        {'        call("make" if self': '        if created:\n            call("make" if self'},
    ),
    "refuses a change without a cure": Bad(
        "test_ensure_follows_changed_options",
        "ensure with changed options did this: it has no disk",
        {
            '        call("make" if self': """        if not created and self.options.disk:
            raise ClusterError("it has no disk")
        call("make" if self"""
        },
    ),
    "starts a program that nobody was told of": Bad(
        "test_its_platform_calls_are_all",
        "ensure reached out beside platform_calls: subprocess.Popen",
        {_READY: f'        subprocess.run(["true"], check=True)\n{_READY}'},
    ),
    "asks over HTTP where nobody was told of it": Bad(
        "test_its_platform_calls_are_all",
        "find reached out beside platform_calls: httpx.Client.send, socket.connect",
        {"        if not there:": "        __import__('httpx').get(self.options.url)\n        if not there:"},
    ),
    "connects when opened": Bad(
        "test_open_reaches_nothing",
        "open reached out: 1 platform call, subprocess.Popen",
        {
            "self.folder = Path(options.folder)": """self.folder = Path(options.folder)
        call("list", self.folder)
        subprocess.run(["true"])"""
        },
    ),
    "returns another name": Bad(
        "test_ensure_waits_until_ray_answers",
        "returned a cluster named disk/kit-",
        {"Cluster(name=name,": 'Cluster(name=f"disk/{name}",'},
    ),
    "says that it made what it found": Bad(
        "test_created_tells_who_made_it", "and True when it was taken", {'"ready", created)': '"ready", True)'}
    ),
    "makes more from the third call on": Bad(
        "test_a_second_ensure_makes_nothing",
        "'machine', 'spare'], not ['KIT_SECRET', 'address', 'machine']",
        {
            _READY: f"""{_READY}        count = place.with_name(f"{{spec.name}}.count")
        count.write_text("x" + (count.read_text() if count.exists() else ""))
        if len(count.read_text()) > 2:
            call("make", place / "spare")
"""
        },
    ),
    "keeps an address on the operator's machine": Bad(
        "test_find_reads_the_platform",
        "does not tell the same gateway_url",
        {
            "        where = ": f"""        note = {_HOME} / name
        if created:
            note.touch()
        where = """,
            '"http://127.0.0.1:8000"': '"http://127.0.0.1:8000" if note.exists() else ""',
        },
    ),
    "renews a lease when it looks": Bad(
        "test_find_changes_nothing",
        "after find the platform has ['KIT_SECRET', 'address', 'lease', 'machine']",
        {
            _READY: f"{_READY}        if created:\n            ({_HOME} / spec.name).touch()\n",
            "        if not there:": f"""        if there and ({_HOME} / name).exists():
            call("write", self.folder / name / "lease")
        if not there:""",
        },
    ),
    "takes a machine for a cluster": Bad(
        "test_ensure_goes_on_after_a_kill",
        "after ensure was killed at point 2 and run again the platform has ['KIT_SECRET', 'machine']",
        {'        call("make", place / "address")': '        if created:\n            call("make", place / "address")'},
    ),
    "removes whole clusters alone": Bad(
        "test_destroy_removes_what_a_killed_ensure_left",
        "after ensure was killed at point 2, destroy the platform has ['machine'], not nothing",
        {
            'for thing in call("list", self.folder / name):': """there = call("list", self.folder / name)
        for thing in sorted(there, key="address".__eq__):
            if not (self.folder / name / "address").exists():
                break"""
        },
    ),
    "finds what is gone": Bad(
        "test_destroy_leaves_nothing",
        "find of what is gone returned Cluster(",
        {
            _GONE: f'        (self.folder / f"{{name}}.gone").touch()\n{_GONE}',
            "            return None": """            gone = (self.folder / f"{name}.gone").exists()
            return self.describe(name, "failed", False) if gone else None""",
        },
    ),
    "removes the machine first and looks for it alone": Bad(
        "test_destroy_goes_on_after_a_kill",
        "the platform has ['KIT_SECRET', 'address'], not nothing",
        {
            'for thing in call("list", self.folder / name):': """there = call("list", self.folder / name)
        for thing in sorted(there, key="machine".__ne__) if "machine" in there else ():"""
        },
    ),
    "looks, then makes": Bad(
        "test_two_at_once_make_one_cluster",
        "['KIT_SECRET', 'address', 'machine', 'machine']",
        {
            'created = call("make", place / "machine")': """there = call("list", place)
            created = not any(thing.startswith("machine") for thing in there)
            if created:
                call("make", place / f"machine-{os.getpid()}")"""
        },
    ),
    "fails without a cure": Bad(
        "test_a_failure_tells_cause_and_cure", "no cure in: no machine", {', cure="ask for more"': ""}
    ),
    "fails with a traceback": Bad(
        "test_a_failure_tells_cause_and_cure", "OSError: the quota is used up", {"except OSError": "except KeyError"}
    ),
    "leaves a wreck behind": Bad(
        "test_the_next_ensure_goes_on_after_a_failure",
        "has ['KIT_SECRET', 'address', 'machine', 'wreck']",
        {"            raise Cluster": '            call("write", place / "wreck")\n            raise Cluster'},
    ),
    "lays secrets for everybody": Bad("test_secrets_are_laid_on_the_nodes", "has the mode 644", {"0o600": "0o644"}),
    "lays a secret once": Bad(
        "test_secrets_are_laid_on_the_nodes",
        "ensure of a cluster that is there already did not lay",
        {
            '            call("write", place / name, value)': """            if not (place / name).exists():
                call("write", place / name, value)"""
        },
    ),
    "shows a secret everywhere": Bad(
        "test_secrets_are_shown_nowhere",
        "a secret stands in a file of RayLLM's home: log, an argument list (subprocess.Popen), an error, progress, "
        "what it prints",
        {_READY: f"{_LEAKS}{_READY}", "cause=str(error)": "cause=str(spec.secrets)"},
    ),
    "never gets done": Bad("test_progress_is_told", "ensure told", {'"ready", done=True)': '"ready")'}),
    "destroys in silence": Bad("test_progress_is_told", "destroy told nothing", {_GONE: ""}),
    "takes Ctrl-C for a failure": Bad(
        "test_ctrl_c_ends_it",
        "ensure was interrupted at point 1, and did this",
        {"except OSError": "except BaseException"},
    ),
    "takes any group for one of its own": Bad(
        "test_an_unknown_node_is_refused",
        "scale of nobody-has-this-name did this: it ended without a word",
        {'if group != "all":': 'if group == "":'},
    ),
    "does not say which nodes there are": Bad(
        "test_an_unknown_node_is_refused",
        "logs of nobody-has-this-name did this: there is no node nobody-has-this-name",
        {', cure=f"there is {name}-machine")': ")"},
    ),
    "forgets a config": Bad(
        "test_deploy_reaches_serve",
        "Serve reports None",
        {"    def describe(": "    def deploy(self, cluster, config):\n        pass\n\n    def describe("},
    ),
}

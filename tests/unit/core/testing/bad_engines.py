"""Engines that break one rule of the kit each: the rule, and what makes the difference from one that keeps them all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from tests.unit.core.testing.kit_runs import NEEDS

SERVER = Path(__file__).with_name("faulty_server.py")

GOOD = f'''
import sys
from rayllm import Check, Command, Engine, Environment, Gauges, InputError, Options, hookimpl

SERVER = {str(SERVER)!r}
ABLE = {{"embeddings", "multi-node", "rerank", "structured-output", "tools", "vision"}}
METRICS = dict(running="vllm:num_requests_running", waiting="vllm:num_requests_waiting")

class Some(Options):
    fault: str = "none"
    """What the server does wrong."""

def flags(launch):
    where = ["--host", launch.host, "--port", str(launch.port)]
    return [launch.python, SERVER, launch.options.fault, "--model", launch.model_name, *where]

def commands(launch):
    ranks = [["--rank", str(rank), *launch.addresses[:1]] for rank in range(launch.nodes)]
    return [Command(*flags(launch), *(rank if launch.addresses else ()), metrics="/metrics") for rank in ranks]

told = dict(
    summary="made up for a test",
    environment=Environment(()),
    capabilities={{"chat", "completions", "streaming"}},
    gauges=Gauges(**METRICS, generated="vllm:generation_tokens_total"),
)
'''
HOOK = """
@hookimpl
def rayllm_engines():
    yield Engine(name={name!r}, **{{"options": Some, "commands": commands, **told}})
"""


class Bad(NamedTuple):
    """One engine, and the rule that it breaks."""

    rule: str
    code: str = ""
    """Follows the good engine's."""
    said: str = ""
    """Part of the failure."""
    of_class: Mapping[str, Any] = MappingProxyType({})
    """What its author tells the kit."""
    needs: str = NEEDS
    """What its distribution requires."""

    @property
    def runs(self) -> bool:
        """Whether it is about the process."""
        return "options" in self.of_class


def faulty(rule: str, fault: str, said: str, feature: str = "chat") -> Bad:
    """One whose server has a fault, and who declares a feature."""
    return Bad(rule, f"told['capabilities'].add({feature!r})", said, {"options": [{"fault": fault}]})


OPTION = '''
class Some(Some):
    extra: {type} = {default}
    """Something more."""

def commands(launch):
    extra = launch.options.extra
    return [Command(*flags(launch), {word}, metrics="/metrics")]
'''
BADS = [
    Bad("test_it_is_found_by_its_entry_point", "raise OSError('no libmissing')", "OSError: no libmissing"),
    Bad("test_its_import_is_light", "import heavy_as_lead", "its import brings heavy_as_lead"),
    Bad("test_its_import_is_light", "import time\nwhile time.process_time() < 0.7:\n    pass", "ms of CPU time"),
    Bad("test_its_import_is_light", "import time\ntime.sleep(0.8)", "its discovery waits for"),
    Bad("test_it_names_a_range_of_core", "", "its distribution does not name rayllm-core", needs="pydantic"),
    Bad("test_it_names_a_range_of_core", "", "only names rayllm-core>=0.1", needs="rayllm-core>=0.1"),
    Bad("test_its_import_prints_nothing", "print('hello')", "it prints 'hello'"),
    Bad("test_its_summary_is_one_line", "told['summary'] = ' '", "its summary is ' '"),
    Bad(
        "test_its_environment_can_be_installed",
        "told['environment'] = Environment(['--index-url=https://x', 'a'])",
        "its environment: Expected package name",
    ),
    Bad(
        "test_its_environment_can_be_installed",
        "told['environment'] = {'cpu': Environment(['a==1', 'b>=2'], locked=True)}",
        "its environment for cpu: it is locked, and b>=2 is no exact version",
    ),
    Bad(
        "test_its_environment_can_be_installed",
        "told['environment'] = Environment(['a @ https://x/a.whl'])",
        "names an address",
    ),
    Bad(
        "test_its_options_packages_can_be_installed",
        "told['extras'] = {'nobody_has': {'x': ['a==1']}}",
        "it has extras for 'nobody_has'",
    ),
    Bad(
        "test_its_options_packages_can_be_installed",
        OPTION.format(type="str", default="'y'", word="extra") + "told['extras'] = {'extra': {'x': ['a>=1']}}",
        "its extras for extra: x: it is locked, and a>=1 is no exact version",
    ),
    Bad("test_its_capabilities_are_known", "told['capabilities'] = {'chat', 'talking'}", "it declares 'talking'"),
    Bad(
        "test_its_gguf_files_can_be_converted",
        "told |= dict(capabilities={'gguf'}, environment=Environment(['gguf==1'], locked=True))",
        "its environment lacks accelerate, transformers",
    ),
    Bad("test_its_adapters_can_be_loaded", "told['capabilities'] |= {'lora'}", "declares lora without Engine.adapters"),
    Bad(
        "test_its_adapters_can_be_loaded",
        "from rayllm import Adapters\ntold['capabilities'] |= {'lora'}\n"
        "told['adapters'] = Adapters(load='/load', unload='/v1/score', room='fault', rank='fault', switch='fault')",
        "it loads adapters at '/v1/score'",
    ),
    Bad(
        "test_its_adapters_can_be_loaded",
        "from rayllm import Adapters\ntold['capabilities'] |= {'lora'}\n"
        "told['adapters'] = Adapters(load='/load', unload='/unload', room='max_loras', rank='fault', switch='fault')",
        "its adapters follow the option max_loras, which it has not",
    ),
    Bad("test_its_endpoints_manage_nothing", "told['endpoints'] = {'/v1/load_lora_adapter'}", "manages the engine"),
    Bad("test_its_endpoints_manage_nothing", "told['endpoints'] = {'/v1/'}", "stands for all below it"),
    Bad(
        "test_its_gauges_are_names_of_metrics",
        "told['gauges'] = Gauges(**METRICS, generated='tokens generated')",
        "its gauges are Gauges(",
    ),
    Bad("test_it_explains_any_log", "told['explain'] = lambda log: [log.format(), None][1]", "raises IndexError"),
    Bad("test_it_explains_any_log", "told['explain'] = lambda log: ''", "returns ''"),
    Bad(
        "test_its_check_is_quick_and_changes_nothing",
        "told['check'] = lambda device: open(__file__ + '.seen', 'w').close() or []",
        "check on cpu writes /",
    ),
    Bad(
        "test_its_check_is_quick_and_changes_nothing",
        "told['check'] = lambda device: [Check(name='x', state='fail', detail='wrong')]",
        "cure=''",
    ),
    Bad(
        "test_an_unknown_option_is_refused",
        "class Some(Some):\n    model_config = {'extra': 'ignore'}",
        "its options take nobody_has_this_option",
    ),
    Bad(
        "test_every_option_is_described",
        OPTION.format(type="int", default=1, word="str(extra)").replace('"""Something more."""', ""),
        "the option extra has no description",
    ),
    Bad(
        "test_its_options_have_a_json_schema",
        "from collections.abc import Callable\n" + OPTION.format(type="Callable | None", default=None, word="'x'"),
        "its options have no JSON schema",
    ),
    Bad(
        "test_every_option_changes_the_command",
        OPTION.format(type="int", default=1, word="'x'"),
        "extra changes nothing in the command",
    ),
    Bad(
        "test_its_commands_are_commands",
        OPTION.format(type="int", default=1, word="extra"),
        "a command holds 1, which is no text",
    ),
    Bad(
        "test_its_commands_are_commands",
        "def commands(launch):\n    return [Command(*flags(launch), metrics='/metrics', ready='health')]",
        "Command.ready is 'health'",
    ),
    Bad(
        "test_its_commands_are_told_where_to_listen",
        "def commands(launch):\n    return [Command(*flags(launch)[:-2], metrics='/metrics')]",
        "launch.port (23457) is not in its command",
    ),
    Bad(
        "test_its_commands_are_told_where_to_listen",
        "def commands(launch):\n    return [Command(*flags(launch), '--also=0.0.0.0', metrics='/metrics')]",
        "which is every address",
    ),
    *(
        Bad(
            "test_it_has_a_command_for_each_node_rank",
            f"told['capabilities'] |= {{'multi-node'}}\ndef commands(launch):\n{body}",
            said,
        )
        for body, said in (
            ("    return [Command(*flags(launch), metrics='/metrics')]", "its commands for 2 nodes are"),
            ("    return [Command(*flags(launch), metrics='/metrics')] * launch.nodes", "its commands for 2 nodes are"),
            (
                "    return [Command(*flags(launch), *launch.addresses[:1], metrics='/metrics')] * launch.nodes",
                "both ranks are started by",
            ),
            (
                (
                    "    if launch.nodes > 1:\n        raise InputError('no', cure='resources.nodes: 1')\n"
                    "    return [Command(*flags(launch), metrics='/metrics')]"
                ),
                "it refuses two nodes",
            ),
        )
    ),
    *(
        Bad(
            "test_its_commands_are_pure",
            "import os, random, time\n" + OPTION.format(type="list[str]", default=["a"], word=f"str(({word}, extra))"),
            said,
        )
        for word, said in (
            ("open('/etc/hostname').read()", "commands() reads /etc/hostname"),
            ("os.path.exists(launch.model_path)", "commands() looks for /made-up"),
            ("os.system('true')", "commands() os.system"),
            ("os.environ.get('HOME')", "one launch gives"),
            ("time.time()", "one launch gives"),
            ("list({'a', 'b', 'c', 'd', 'e', 'f', 'g'})", "one launch gives"),
            ("extra.append('x')", "commands() changes launch.options.extra"),
        )
    ),
    Bad(
        "test_it_refuses_in_words",
        "def commands(launch):\n    assert not launch.gpus\n    return [Command(*flags(launch), metrics='/metrics')]",
        "commands() raises AssertionError",
    ),
    Bad(
        "test_it_refuses_in_words",
        "def commands(launch):\n    if launch.gpus:\n        raise InputError('no GPUs')\n"
        "    return [Command(*flags(launch), metrics='/metrics')]",
        "without a cure",
    ),
    Bad(
        "test_secrets_stay_out_of_the_command",
        "from pydantic import SecretStr\n"
        + OPTION.format(type="SecretStr", default="SecretStr('')", word="extra.get_secret_value()"),
        "the secret extra stands in its command",
    ),
    Bad(
        "test_secrets_stay_out_of_the_command",
        OPTION.format(type="str", default="''", word="extra").replace("extra", "hub_token"),
        "the secret hub_token stands in its command",
    ),
    Bad(
        "test_it_runs_on_what_it_has_an_environment_for",
        "def commands(launch):\n    if launch.gpus:\n        raise InputError('no GPUs', cure='resources.gpus: 0')\n"
        "    return [Command(*flags(launch), metrics='/metrics')]\n"
        "told['environment'] = dict.fromkeys(['cpu', 'cuda'], Environment(()))",
        "it has an environment for cuda, and no launch starts there",
    ),
    Bad(
        "test_a_declared_feature_changes_the_command",
        "told['capabilities'] |= {'tools'}",
        "changes nothing in the command",
        {"feature_options": {"tools": {"fault": "none"}}},
    ),
    Bad(
        "test_a_declared_feature_changes_the_command",
        "",
        "which it does not declare",
        {"feature_options": {"tools": {"fault": "tools"}}},
    ),
    Bad(
        "test_an_undeclared_feature_is_refused",
        "from collections import defaultdict\n"
        "told['environment'] = defaultdict(lambda: Environment(()), cpu=Environment(()))",
        "it does not declare m.gguf on cuda",
    ),
    faulty("test_it_gets_ready", "ready too early", "it calls itself ready while /v1/models answers 503"),
    faulty("test_it_gets_ready", "dies", "ValueError: no such quantization"),
    faulty("test_it_lists_its_model", "another name", "/v1/models lists ['another']"),
    faulty("test_it_answers_what_it_declares", "odd answers", "/v1/chat/completions answers 200"),
    faulty("test_it_streams", "held back", "the first event comes"),
    faulty("test_its_answers_fit_a_schema", "any form", 'asked for {"wet":true} or {"wet":false}', "structured-output"),
    faulty("test_its_answers_fit_a_schema", "another form", '{ "sea": true }', "structured-output"),
    faulty("test_it_takes_tools", "tools left out", "told to call get_tide, it answers", "tools"),
    faulty("test_it_takes_tools", "odd calls", "offered a function, it answers", "tools"),
    faulty("test_it_embeds", "no vectors", "/v1/embeddings answers 404", "embeddings"),
    faulty("test_it_embeds", "bare vectors", "asked for 2 vectors, it answers", "embeddings"),
    faulty("test_it_ranks", "best rank alone", "asked to rank 2 documents, it answers", "rerank"),
    faulty("test_it_takes_pictures", "blind", "a picture adds nothing to usage.prompt_tokens", "vision"),
    faulty("test_it_takes_pictures", "no pictures", "to a picture it answers 500", "vision"),
    faulty("test_it_lets_go_of_a_client_that_leaves", "deaf", "a request is still in its gauges"),
    faulty("test_it_tells_its_load", "no counter", "its metrics have no vllm:generation_tokens_total"),
    faulty("test_its_errors_have_openais_shape", "plain errors", "a body that is no JSON is answered 400"),
    faulty("test_it_listens_nowhere_else", "everywhere", "it listens on 127.0.0.2, too"),
    faulty("test_it_stops", "stubborn", "it still runs"),
    faulty("test_it_stops", "stubborn child", "what it had started still runs"),
]

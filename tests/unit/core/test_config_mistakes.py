"""Checking a file: the exact words of every mistake, at its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.core.conftest import Checker


IN_MODEL = {
    "unknown engine": (
        "engine: vlm, source: /m",
        '1:32  models.m.engine: no engine "vlm"; did you mean "vllm"?   installed: sglang, vllm',
    ),
    "engine that is like none": (
        "engine: xyz, source: /m",
        '1:32  models.m.engine: no engine "xyz"   installed: sglang, vllm',
    ),
    "engine of the wrong type": ("engine: 7, source: /m", "1:32  models.m.engine: text expected, found 7"),
    "missing engine": ("source: /m", "1:20  models.m.engine: required, and missing"),
    "missing source": ("engine: vllm", "1:20  models.m.source: required, and missing"),
    "empty source": (
        "engine: vllm, source: ''",
        "1:46  models.m.source: empty; a path or a URI expected   schemes: file, package",
    ),
    "unknown scheme": (
        "engine: vllm, source: pakage:a/b",
        '1:46  models.m.source: no model source "pakage"; did you mean "package"?   schemes: file, package',
    ),
    "malformed source": (
        "engine: vllm, source: package:a",
        "1:46  models.m.source: package:a has no path",
    ),
    "relative path": ("engine: vllm, source: a", "1:46  models.m.source: file:a has no path"),
    "source plugin that crashes": (
        "engine: vllm, source: package:crash",
        (
            "1:46  models.m.source: plugin source-package can't check this: OSError: package:crash\n"
            "        → fix it, or name another source; more: rayllm plugins doctor source-package"
        ),
    ),
}
FIELDS = {
    "unknown key": (
        "replica: 2",
        (
            '6:5  models.m.replica: no such key; did you mean "replicas"?'
            "   known: adapters, drain_s, engine, environment, image, options, replicas, resources, routing, "
            "source, version"
        ),
    ),
    "unknown key in a block": (
        "resources: {gpu: 1}",
        (
            '6:17  models.m.resources.gpu: no such key; did you mean "gpus"?'
            "   known: accelerator, check_memory, cpus, gpus, memory, nodes"
        ),
    ),
    "type of no GPUs": (
        "resources: {accelerator: L40S}",
        "6:16  models.m.resources: accelerator is a type of GPUs, and gpus is 0",
    ),
    "no nodes": ("resources: {nodes: 0}", "6:24  models.m.resources.nodes: at least 1 expected, found 0"),
    "unknown key in one of two forms": (
        "replicas: {mim: 1}",
        '6:16  models.m.replicas.mim: no such key; did you mean "min"?   known: max, min, target_ongoing',
    ),
    "neither of two forms": (
        "replicas: two",
        '6:15  models.m.replicas: a whole number or a mapping expected, found text "two"',
    ),
    "no replica": ("replicas: 0", "6:15  models.m.replicas: at least 1 expected, found 0"),
    "min over max": ("replicas: {min: 3, max: 2}", "6:21  models.m.replicas.min: min 3 is more than max 2"),
    "max under the default min": ("replicas: {max: 0}", "6:21  models.m.replicas.max: at least 1 expected, found 0"),
    "whole number": ("resources: {gpus: 0.5}", "6:23  models.m.resources.gpus: a whole number expected, found 0.5"),
    "number": ("drain_s: true", "6:14  models.m.drain_s: a number expected, found true"),
    "size": (
        "resources: {memory: 8GX}",
        '6:25  models.m.resources.memory: a size like 8GiB expected, found text "8GX"',
    ),
    "block of nothing": ("options:", "6:13  models.m.options: a mapping expected, found nothing"),
    "environment": (
        "environment: curent",
        (
            "6:18  models.m.environment: auto, current or an absolute path expected,"
            ' found text "curent"; did you mean "current"?'
        ),
    ),
    "unknown option": (
        "options: {max_modle_len: 1}",
        (
            '6:15  models.m.options.max_modle_len: engine "vllm" has no such option; did you mean "max_model_len"?'
            "   known: by_name, draft, drafts, dtype, eager, folder, kind, max_model_len, share, stop, token"
        ),
    ),
    "unknown option in a list": (
        "options: {drafts: [{}, {token: 1}]}",
        (
            '6:29  models.m.options.drafts[1].token: engine "vllm" has no such option; did you mean "tokens"?'
            "   known: tokens"
        ),
    ),
    "option in a mapping by name": (
        "options: {by_name: {a: {tokens: x}}}",
        '6:37  models.m.options.by_name.a.tokens: a whole number expected, found text "x"',
    ),
    "option out of range": (
        "options: {max_model_len: 0}",
        "6:30  models.m.options.max_model_len: more than 0 expected, found 0",
    ),
    "option that is none of the choices": (
        "options: {dtype: float23}",
        '6:22  models.m.options.dtype: "auto" or "float32" expected, found text "float23"; did you mean "float32"?',
    ),
    "option that is none of an enum": (
        "options: {kind: tiny}",
        '6:21  models.m.options.kind: "small" or "large" expected, found text "tiny"',
    ),
    "text for a list": (
        "options: {stop: x}",
        '6:21  models.m.options.stop: a list expected, found text "x"',
    ),
    "wrong item": ("options: {stop: [x, 1]}", "6:25  models.m.options.stop[1]: text expected, found 1"),
    "plugin's own rule": (
        "options: {token: a b}",
        '6:22  models.m.options.token: a token has no spaces: a b, found text "a b"',
    ),
    "plugin's own rule on the whole": (
        "options: {eager: true, draft: {}}",
        "6:14  models.m.options: eager and draft exclude each other",
    ),
    "plugin whose rule crashes": (
        "options: {token: crash}",
        (
            "6:14  models.m.options: plugin engine-vllm can't check this: KeyError: 'crash'\n"
            "        → fix it, or name another engine; more: rayllm plugins doctor engine-vllm"
        ),
    ),
}


@pytest.mark.parametrize("case", IN_MODEL)
def test_mistakes_in_a_models_engine_and_source(check: Checker, case: str) -> None:
    """What is wrong, the nearest valid name and the choices."""
    block, expected = IN_MODEL[case]
    assert check.mistakes(f"{{name: d, models: {{m: {{{block}}}}}}}") == f"f:{expected}".splitlines()


@pytest.mark.parametrize("case", FIELDS)
def test_mistakes_in_a_models_other_keys(check: Checker, case: str) -> None:
    """What was found, what is expected, and where."""
    block, expected = FIELDS[case]
    content = f"name: d\nmodels:\n  m:\n    engine: vllm\n    source: /m\n    {block}\n"
    assert check.mistakes(content) == f"f:{expected}".splitlines()


AROUND = {
    "missing name": ("models: {m: {engine: vllm, source: /m}}", ["f:1:1  name: required, and missing"]),
    "name": (
        "name: My Demo\nmodels: {m: {engine: vllm, source: /m}}",
        ['f:1:7  name: lower case words joined by single dashes expected, found text "My Demo"'],
    ),
    "name that YAML reads as true": (
        "name: on\nmodels: {m: {engine: vllm, source: /m}}",
        ["f:1:7  name: text expected, found true (that is how YAML reads `on`: put a text in quotes)"],
    ),
    "name that YAML reads as another number": (
        "name: 010\nmodels: {m: {engine: vllm, source: /m}}",
        ["f:1:7  name: text expected, found 8 (that is how YAML reads `010`: put a text in quotes)"],
    ),
    "no models": ("name: d\nmodels: {}", ["f:2:9  models: at least 1 expected, found 0"]),
    "missing models": ("name: d", ["f:1:1  models: required, and missing"]),
    "models that are a list": ("name: d\nmodels: [m]", ["f:2:9  models: a mapping expected, found a list"]),
    "model that is a text": ("name: d\nmodels: {m: vllm}", ['f:2:13  models.m: a mapping expected, found text "vllm"']),
    "model's name": (
        "name: d\nmodels: {a/b: {engine: vllm, source: /m}}",
        [
            (
                'f:2:10  models.a/b: "a/b" is not a name:'
                " letters, digits, `.`, `_` and `-`, with no mark at either end expected"
            )
        ],
    ),
    "unknown block": (
        "name: d\nmodels: {m: {engine: vllm, source: /m}}\ngatway: {}",
        [
            (
                'f:3:1  gatway: no such key; did you mean "gateway"?'
                "   known: cluster, gateway, models, name, packages, secrets"
            )
        ],
    ),
    "unknown backend": (
        "name: d\ncluster: {backend: locl}\nmodels: {m: {engine: vllm, source: /m}}",
        ['f:2:20  cluster.backend: no backend "locl"; did you mean "local"?   installed: cai, local'],
    ),
    "backend's option": (
        "name: d\ncluster: {backend: local, options: {nods: 1}}\nmodels: {m: {engine: vllm, source: /m}}",
        ['f:2:37  cluster.options.nods: backend "local" has no such option   it has none'],
    ),
    "backend's missing option": (
        "name: d\ncluster:\n  backend: cai\nmodels: {m: {engine: vllm, source: /m}}",
        ["f:2:1  cluster.options.nodes: required, and missing"],
    ),
    "cluster that is a text": (
        "name: d\ncluster: local\nmodels: {m: {engine: vllm, source: /m}}",
        ['f:2:10  cluster: a mapping expected, found text "local"'],
    ),
    "port": (
        "name: d\nmodels: {m: {engine: vllm, source: /m}}\ngateway: {port: 80000}",
        ["f:3:17  gateway.port: at most 65535 expected, found 80000"],
    ),
    "host": (
        "name: d\nmodels: {m: {engine: vllm, source: /m}}\ngateway: {host: 0.0.0.0}",
        [
            'f:3:1  gateway.keys: required, because gateway.host "0.0.0.0" is reachable from other machines',
            "       → keys: {env: RAYLLM_API_KEYS}, after: export RAYLLM_API_KEYS=$(rayllm keys new)",
        ],
    ),
    "character": (
        'name: d\nmodels: {m: {engine: vllm, source: /m, options: {token: "\\ud800"}}}',
        [
            "f:1:1  a character that is not valid Unicode",
            "f:2:49  models.m.options: a character that is not valid Unicode",
        ],
    ),
}


@pytest.mark.parametrize("case", AROUND)
def test_mistakes_around_the_models(check: Checker, case: str) -> None:
    """The file's other blocks."""
    content, expected = AROUND[case]
    assert check.mistakes(content) == expected

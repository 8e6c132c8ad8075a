"""The rules of a cluster backend, as tests that a plugin inherits."""

from __future__ import annotations

import time

import pytest

from rayllm.backends import ClusterSpec
from rayllm.cluster.serve_api import ServeApi
from rayllm.config.schema import ModelConfig, Resources
from rayllm.errors import RayllmError
from rayllm.testing.backend_kit.base import BackendBase
from rayllm.testing.backend_kit.bench import SECRET
from rayllm.testing.backend_kit.process import NOBODY, SERVE_CONFIG
from rayllm.testing.backend_kit.runs import Outcome, Stop
from rayllm.testing.engine_kit.samples import read

_TOGETHER_S = 1.0
"""Seconds that a second command gets while the first one is held."""
_SERVE_S = 30.0
_PRIVATE = 0o600


class BackendConformance(BackendBase):
    """What holds for every backend. A plugin's class names its backend and brings the platform.

    Every method of the backend is run in a process of its own, as by a command of its own: on one machine or, unless
    the backend has the capability `this-machine`, on another one that knows nothing of what was done before.
    """

    def test_open_reaches_nothing(self) -> None:
        """Opening is what every command does, also one that only reads the file."""
        seen = self._bench.run("open", self._bench.name())
        self._well(seen, "open", "raise nothing for options that are right")
        calls = [f"{seen.points // 2} platform call{'s' * (seen.points > 2)}"] if seen.points else []  # noqa: PLR2004
        reached = ", ".join(dict.fromkeys([*calls, *seen.reached]))
        self._require(not reached, f"open reached out: {reached}", "connect in ensure, find and destroy")

    def test_it_refuses_nothing_that_its_platform_takes(self) -> None:
        """`refuse` is asked for every file: it yields what is wrong and where, and raises nothing."""
        offered, platform = self._offered(), self._bench.platform
        spec = ClusterSpec(name=self._bench.name(), gateway_host="127.0.0.1", gateway_port=8000)
        small = ModelConfig(engine="some", source="/some", resources=Resources(cpus=0.1))
        do = "yield a Refusal for what is wrong, and nothing for what can be"
        for block in (platform.options, platform.other_options or platform.options) if offered.refuse else ():
            try:
                found = list(offered.refuse(read(offered.options, block), spec, {"m": small}))
            except Exception as error:  # noqa: BLE001 - whatever a plugin makes of it
                self._broken(f"for {dict(block)} refuse raised {error!r}", do)
            self._require(not found, f"for {dict(block)}, which ensure takes, refuse yielded {found}", do)

    def test_ensure_waits_until_ray_answers(self) -> None:
        """At the address that the cluster has, with its token."""
        standing = self._standing
        cluster = standing.cluster
        self._require(
            cluster.name == standing.name,
            f"ensure of {standing.name} returned a cluster named {cluster.name}",
            "Cluster(name=spec.name, …)",
        )
        try:
            with ServeApi.of(cluster) as api:
                api.version()
        except RayllmError as error:
            self._broken(f"Ray does not answer where ensure says: {error}", "wait until it does, then return")

    def test_created_tells_who_made_it(self) -> None:
        """True once, for whoever made the cluster."""
        first, creates = self._standing, self._bench.creates
        second = self._bench.run("ensure", first.name, machine=self._bench.elsewhere)
        told = [first.cluster.created, self._ready(second, "a second ensure").created]
        self._require(
            told == [creates, False],
            f"created was {told[0]} when the cluster was made, and {told[1]} when it was taken",
            "True for the call that made it, False for one that found it",
        )

    def test_a_second_ensure_makes_nothing(self) -> None:
        """From another machine, where there can be one."""
        first = self._standing
        second = self._bench.run("ensure", first.name, machine=self._bench.elsewhere)
        url = self._ready(second, "a second ensure").dashboard_url
        cure = "look for what is there by the cluster's name, before anything is made"
        self._require_made(first.name, first.things, "after a second ensure", cure)
        self._require(url == first.cluster.dashboard_url, f"a second ensure made another cluster at {url}", cure)

    def test_ensure_follows_changed_options(self) -> None:
        """The cluster that is there becomes what a new one would be, or a refusal says what to do. So it scales."""
        if (other := self._bench.platform.other_options) is None:
            pytest.skip("its platform names no other_options")
        self._readable(other, "what `other_options` of its platform tells,")
        name = self._up()
        changed = self._bench.run("ensure", name, machine=self._bench.elsewhere, other=True)
        if changed.error:
            whole = {"ClusterError", "InputError"} & set(changed.error["kinds"]) and changed.error["cure"]
            seen = f"ensure with changed options did this: {changed.words}"
            self._require(whole, seen, "raise ClusterError(message, cure=…), or change the cluster")
            return
        self._ready(changed, "ensure with changed options")
        fresh, before = self._bench.name(), self._standing.things
        self._ready(self._bench.run("ensure", fresh, other=True), "ensure with other_options")
        wanted = self._bench.made(fresh)
        self._require(
            wanted != before, f"`made` tells {wanted} with either options", "let `made` show what they change"
        )
        self._require_made(name, wanted, "after ensure with changed options", "make what is there so, or refuse to")

    def test_find_reads_the_platform(self) -> None:
        """All of it: whoever finds the cluster was not there when it was made."""
        standing = self._standing
        found = self._bench.run("find", standing.name, machine=self._bench.elsewhere)
        self._well(found, "find on a machine that knows nothing", "read everything from the platform")
        for field in ("name", "dashboard_url", "gateway_url", "token", "headers", "state", "serve_port"):
            wanted = getattr(standing.cluster, field)
            self._require(
                found.cluster and getattr(found.cluster, field) == wanted,
                f"find on a machine that knows nothing does not tell the same {field} as ensure: it returned "
                f"{found.shown}",
                "read everything from the platform, by the cluster's name; keep no file on the operator's machine",
            )

    def test_find_changes_nothing(self) -> None:
        """Neither where there is a cluster nor where there is none, which it answers with None."""
        standing, name = self._standing, self._bench.name()
        before = self._bench.made(standing.name)
        self._bench.run("find", standing.name)
        self._require_made(standing.name, before, "after find", "find only looks")
        if self._bench.creates:
            found = self._bench.run("find", name)
            self._well(found, "find of a cluster that is not there", "return None")
            self._require(
                found.returned == "NoneType", f"find of what is not there returned {found.shown}", "return None"
            )
            self._require_made(name, [], "after find of what is not there", "find only looks")

    def test_ensure_goes_on_after_a_kill(self) -> None:
        """Before and behind every platform call: find answers then, and the next ensure makes the rest."""
        name = self._bench.name()
        for stop in self._stops("kill"):
            if not self._bench.run("ensure", name, stop).stopped:
                break
            self._finds(name, f"ensure was killed at point {stop.at}")
            if not self.slow_start:
                self._goes_on(name, f"ensure was killed at point {stop.at}")
                self._bench.run("destroy", name)
                name = self._bench.name()
        if self.slow_start:
            self._goes_on(name, "ensure was killed at every point")

    def test_destroy_removes_what_a_killed_ensure_left(self) -> None:
        """Wherever it was killed."""
        for stop in self._stops("kill"):
            name = self._bench.name()
            if not self._bench.run("ensure", name, stop).stopped:
                break
            when = f"after ensure was killed at point {stop.at}, destroy"
            destroyed = self._bench.run("destroy", name, machine=self._bench.elsewhere)
            self._well(destroyed, when, "remove whatever is there; what is missing is no error")
            self._require_made(name, self._bench.nothing, when, "remove each thing, whether others are there")

    def test_destroy_leaves_nothing(self) -> None:
        """And a second one has nothing to do."""
        life = self._bench.life
        self._well(life.destroyed, "destroy", "remove everything that ensure made")
        self._require(
            life.left == self._bench.nothing,
            f"after destroy the platform still has {life.left}",
            "remove everything that ensure made",
        )
        self._well(life.destroyed_again, "destroy of what is gone", "nothing there is no error")
        self._well(life.found_after, "find of what is gone", "return None")
        self._require(
            not self._bench.creates or life.found_after.returned == "NoneType",
            f"find of what is gone returned {life.found_after.shown}",
            "return None",
        )

    def test_destroy_goes_on_after_a_kill(self) -> None:
        """Before and behind every platform call: find answers then, and the next destroy removes the rest."""
        name, at = self._up(), 1
        while self._bench.run("destroy", name, Stop(at)).stopped:
            when = f"after destroy was killed at point {at}"
            self._finds(name, when)
            if not self.slow_start:
                rest = self._bench.run("destroy", name, machine=self._bench.elsewhere)
                self._well(rest, f"{when} another destroy", "what is missing is no error")
                self._require_made(
                    name, self._bench.nothing, f"{when} and run again", "remove each thing, whether others are there"
                )
                name = self._up()
            at += 1
        self._require_made(name, self._bench.nothing, "after destroy was killed and run again", "remove the rest")

    def test_two_at_once_make_one_cluster(self) -> None:
        """The first is held at each of its calls while the second one runs."""
        standing = self._standing
        for stop in [Stop(2, "hold")] if self.slow_start else self._stops("hold", step=2):
            name = self._bench.name()
            first = self._bench.start("ensure", name, stop)
            held = first.held()
            second = self._bench.start("ensure", name, machine=self._bench.elsewhere)
            second.is_over(_TOGETHER_S)
            if held:
                first.go_on()
            when = f"while another ensure was held at point {stop.at}"
            clusters = [self._ready(run.outcome(), f"ensure {when}") for run in (first, second)]
            cure = "let the platform decide: make things under the cluster's name, and take what is there already"
            self._require_made(name, standing.things, f"after ensure {when}", cure)
            urls = {cluster.dashboard_url for cluster in clusters}
            self._require(len(urls) == 1, f"two at once made clusters at {sorted(urls)}", cure)
            if not self.slow_start:
                self._bench.run("destroy", name)

    def test_its_platform_calls_are_all(self) -> None:
        """Nothing leaves the process outside of `platform_calls`: what is done there is never killed."""
        standing, destroyed = self._standing, self._bench.life.destroyed
        found = self._bench.run("find", standing.name)
        verbs = {"ensure": standing.outcome, "find": found, "destroy": destroyed}
        for verb, outcome in verbs.items():
            reached = ", ".join(dict.fromkeys(outcome.beside))
            do = "name the function that does it in platform_calls, so that a run is killed there, too"
            self._require(not reached, f"{verb} reached out beside platform_calls: {reached}", do)

    def test_a_failure_tells_cause_and_cure(self) -> None:
        """When the platform does not let the cluster come up."""
        broken, found = self._bench.life.broken, self._bench.life.found
        seen = f"on a broken platform ensure did this: {broken.words}"
        self._require(
            "ClusterError" in broken.error.get("kinds", ()), seen, "raise ClusterError(message, cause=…, cure=…)"
        )
        self._require(broken.error["cause"], f"no cause in: {broken.words}", "cause: the platform's own words")
        self._require(broken.error["cure"], f"no cure in: {broken.words}", "cure: what a person can do about it")
        self._require(
            found.ended and not found.crash,
            f"on a broken platform find did this: {found.words}",
            "return a Cluster with state and reason, or raise ClusterError",
        )

    def test_the_next_ensure_goes_on_after_a_failure(self) -> None:
        """What was made stays and is picked up."""
        life = self._bench.life
        self._ready(life.again, "ensure after one that failed")
        self._require(
            life.things == self._standing.things,
            f"after ensure failed and was run again the platform has {life.things}, not {self._standing.things}",
            "take what the failed ensure made",
        )

    def test_secrets_are_laid_on_the_nodes(self) -> None:
        """Readable for nobody else; also the new value where the cluster is there already."""
        name = self._standing.name
        self._laid(name, "a new cluster")
        self._bench.values.append(self._bench.values[-1][::-1])
        self._ready(self._bench.run("ensure", name, machine=self._bench.elsewhere), "a second ensure")
        self._laid(name, "a cluster that is there already")

    def test_secrets_are_shown_nowhere(self) -> None:
        """In no report, no log, no error, no argument list, no file beside their own.

        Nor is Ray's token told, or what the platform's ingress wants to see.
        """
        life, standing = self._bench.life, self._standing
        outcomes = [standing.outcome, life.broken, life.found, life.again, life.destroyed]
        texts = [text for outcome in outcomes for text in _texts(outcome)]
        texts += [
            (f"a file of RayLLM's home: {file.name}", file.read_bytes().decode(errors="replace"))
            for file in self._bench.files()
            if file.parts[-2:] != ("secrets", SECRET)
        ]
        shown = {where for where, text in texts for value in self._bench.values if value in text}
        shown |= {f"an argument list ({event})" for outcome in outcomes for event in outcome.exposed}
        for known in filter(None, [standing.cluster.token, *standing.cluster.headers.values()]):
            shown |= {where for outcome in outcomes for where, text in _texts(outcome) if known in text}
        self._require(not shown, f"a secret stands in {', '.join(sorted(shown))}", "hand it on in a request or a pipe")

    def test_progress_is_told(self) -> None:
        """A person sees what goes on, and that it is done."""
        for verb, outcome in (("ensure", self._standing.outcome), ("destroy", self._bench.life.destroyed)):
            self._require(
                any(done for _, _, done in outcome.told),
                f"{verb} told {list(outcome.told) or 'nothing'}",
                'progress("cluster", "asking for machines"), and progress("cluster", "ready", done=True) in the end',
            )

    def test_ctrl_c_ends_it(self) -> None:
        """At any platform call, and at once."""
        name = self._bench.name()
        for stop in self._stops("interrupt", step=2):
            outcome = self._bench.run("ensure", name, stop)
            if not outcome.stopped:
                break
            self._require(
                outcome.interrupted,
                f"ensure was interrupted at point {stop.at}, and did this: {outcome.words}",
                "let KeyboardInterrupt pass: catch Exception, or less",
            )
            if not self.slow_start:
                self._bench.run("destroy", name)
                name = self._bench.name()

    def test_deploy_reaches_serve(self) -> None:
        """A config that is handed to the backend is what Ray's dashboard reports."""
        standing = self._standing
        deployed = self._bench.run("deploy", standing.name, machine=self._bench.elsewhere)
        self._well(deployed, "deploy", "hand the whole config on; leave deploy out for a PUT to the dashboard")
        end, wanted = time.monotonic() + _SERVE_S, SERVE_CONFIG["proxy_location"]
        with ServeApi.of(standing.cluster) as api:
            while (there := api.details().get("proxy_location")) != wanted and time.monotonic() < end:
                time.sleep(0.1)
        self._require(
            there == wanted,
            f"deploy was handed proxy_location {wanted}, and Serve reports {there}",
            "hand the whole config on; leave deploy out for a PUT to the dashboard",
        )

    def test_an_unknown_node_is_refused(self) -> None:
        """And an unknown group, with the names of those there are. Of a backend with the capability `nodes`."""
        if "nodes" not in self._bench.backend.capabilities:
            pytest.skip("it has not the capability `nodes`")
        nodes = self._standing.cluster.nodes
        known = {"scale": {node.group for node in nodes}, "logs": {node.name for node in nodes}}
        for verb, names in known.items():
            refused = self._bench.run(verb, self._standing.name, machine=self._bench.elsewhere)
            whole = "InputError" in refused.error.get("kinds", ()) and all(name in refused.words for name in names)
            seen = f"{verb} of {NOBODY} did this: {refused.words}"
            self._require(whole, seen, f"raise InputError(message, cure=…) that names {', '.join(filter(None, names))}")

    def _laid(self, name: str, where: str) -> None:
        """The secret's file holds its last value, readable for one user alone."""
        value, mode = self._bench.platform.secret(name, SECRET) or (None, None)
        self._require(
            value == self._bench.values[-1],
            f"ensure of {where} did not lay the value of {SECRET} that spec.secrets has",
            f"write $RAYLLM_HOME/secrets/{SECRET} on every node before ensure returns",
        )
        self._require(mode == _PRIVATE, f"the file of {SECRET} has the mode {mode or 0:o}", "give it the mode 600")


def _texts(outcome: Outcome) -> list[tuple[str, str]]:
    """What a run showed, and where."""
    return [
        ("what it prints", outcome.output),
        ("progress", str(outcome.told)),
        ("repr of the result", outcome.shown),
        ("an error", outcome.words),
    ]

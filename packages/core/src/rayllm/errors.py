"""The errors a person sees: each has an exit status, and is printed without a traceback."""

from __future__ import annotations


class RayllmError(Exception):
    """Something a person can act on: what happened, where, why, and what to do next.

    Args:
        message: what happened and where, in one sentence.
        cause: why, where it is known; an engine's or a tool's own words verbatim.
        cure: what to do next.
        topic: the section of the troubleshooting page that tells more: `rayllm explain TOPIC`.
    """

    exit_code = 1

    def __init__(
        self, message: str, *, cause: str | None = None, cure: str | None = None, topic: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.cure = cure
        self.topic = topic

    def __str__(self) -> str:
        """Message, cause, cure and where to read more, as they stand on a terminal."""
        lines = [self.message]
        if self.cause:
            lines.append("  cause  " + self.cause.replace("\n", "\n         "))
        if self.cure:
            lines.append("  do     " + self.cure.replace("\n", "\n         "))
        if self.topic:
            lines.append(f"  more   rayllm explain {self.topic}")
        return "\n".join(lines)


class InputError(RayllmError):
    """What the person wrote (YAML, flags, environment) is wrong; nothing was changed."""

    exit_code = 2


class PluginError(RayllmError):
    """A plugin breaks the contract; it is set aside and the rest goes on."""


class ClusterError(RayllmError):
    """A cluster can't be reached, refused a request, or isn't in the state it should be in."""


class DeploymentError(RayllmError):
    """The cluster took the deployment, but a part of it did not come up."""

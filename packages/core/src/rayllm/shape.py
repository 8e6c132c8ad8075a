"""How an engine splits one replica into parts."""

from __future__ import annotations

from dataclasses import dataclass

from rayllm.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How one replica is split into parts, each on a GPU of its own (or, on CPUs, in a process of its own)."""

    tensor: int = 1
    """Tensor parallel: parts of every layer."""
    pipeline: int = 1
    """Pipeline parallel: stages, each with some of the layers."""
    data: int = 1
    """Data parallel: copies of the model that share the requests."""
    expert: bool = False
    """Expert parallel: the experts of a mixture are spread over the parts, instead of split."""

    @property
    def parts(self) -> int:
        """Parts of the whole replica, over all its nodes."""
        return self.tensor * self.pipeline * self.data

    @classmethod
    def of(
        cls, gpus: int, *, tensor: int | None = None, pipeline: int = 1, data: int = 1, expert: bool = False
    ) -> Shape:
        """The shape that uses all GPUs of a replica; `tensor` takes what the others leave, where it is not given.

        Args:
            gpus: of the whole replica; 0 on CPUs, where a replica has as many parts as are asked for.
            tensor: as of a `Shape`; None for what the others leave.
            pipeline: as of a `Shape`.
            data: as of a `Shape`.
            expert: as of a `Shape`.

        Raises:
            InputError: the parts are not as many as the GPUs.
        """
        if tensor is None:
            tensor = max(1, gpus // (pipeline * data))
        shape = cls(tensor=tensor, pipeline=pipeline, data=data, expert=expert)
        if gpus and shape.parts != gpus:
            there = f"{gpus} GPU{'' if gpus == 1 else 's'}"
            how = "more than" if shape.parts > gpus else "less than"
            raise InputError(
                f"{shape} makes {shape.parts} parts, {how} the {there} of a replica",
                cure=f"resources that come to {shape.parts} GPUs (gpus × nodes), or sizes whose product is {gpus}",
            )
        return shape

    def on_each_of(self, nodes: int) -> int:
        """How many parts are on each node.

        Raises:
            InputError: they can't be spread evenly.
        """
        if self.parts % nodes:
            raise InputError(
                f"{self} makes {self.parts} part{'' if self.parts == 1 else 's'}, which can't be spread evenly over "
                f"{nodes} nodes",
                cure=f"sizes whose product is a multiple of {nodes}, or another resources.nodes",
            )
        return self.parts // nodes

    def __str__(self) -> str:
        """`tensor parallel 4 × pipeline parallel 2`."""
        sizes = {"tensor": self.tensor, "pipeline": self.pipeline, "data": self.data}
        named = [f"{name} parallel {size}" for name, size in sizes.items() if size > 1 or name == "tensor"]
        return " × ".join(named)

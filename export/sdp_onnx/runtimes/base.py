"""What a runtime is: it loads a model file and runs it. `runtimes.registry` lists those that exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

Provider = Literal["cpu", "cuda"]
"""Where a model runs."""

RuntimeName = Literal["onnxruntime", "openvino"]
"""The keys of `registry.RUNTIMES`."""


@dataclass(frozen=True)
class Capabilities:
    """What an installed runtime can do.

    Attributes:
        providers: where it can run a model, as far as it is built for that; `Runtime.require` checks the machine.
        operator_library: whether it loads the operator library, so that it runs files with sparse kernels.
        profile: whether it records the time of every operator.
    """

    providers: tuple[Provider, ...]
    operator_library: bool
    profile: bool


class LoadedModel(Protocol):
    """A model file that is ready to run."""

    @property
    def input_names(self) -> tuple[str, ...]:
        """The inputs that the file declares, in its order."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Run one batch.

        Args:
            inputs: by name, exactly those of `input_names`.

        Returns:
            the first output: for a classifier the logits, [B, C], for a tagger [B, L, C].

        Raises:
            ModelRunError: the model fails at these inputs.
        """

    def outputs(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch, and return every output by its name.

        Args:
            inputs: by name, exactly those of `input_names`.

        Raises:
            ModelRunError: the model fails at these inputs.
        """

    def bind(self, inputs: Mapping[str, NDArray[Any]]) -> Callable[[], None]:
        """Move one batch to where the model runs; return a function that runs it there and leaves the output there.

        Args:
            inputs: by name, exactly those of `input_names`.
        """

    def end_profile(self) -> Path:
        """Complete the profile of a model that was loaded with one, and return its file; later runs are not in it."""


class Runtime(Protocol):
    """Loads and runs model files."""

    @property
    def name(self) -> str:
        """Its key in `RUNTIMES`."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do as it is installed here."""

    def require(self, provider: Provider) -> None:
        """Check that a model could run there, before one is loaded.

        Raises:
            ProviderError: it cannot; the message names the missing piece.
        """

    def load(
        self,
        path: Path,
        *,
        provider: Provider = "cpu",
        threads: int | None = None,
        profile: Path | None = None,
        idle_between_runs: bool = False,
        library: Path | Literal["installed", "none"] = "installed",
    ) -> LoadedModel:
        """Load a model file. It never runs elsewhere than on `provider`.

        Args:
            path: the file.
            provider: where the model runs.
            threads: threads of one operator; the runtime's own choice when None.
            profile: how the name of a file begins to which the time of every operator is written; None for no profile.
            idle_between_runs: whether threads sleep as soon as a run ends, so that they take no core from another
                model that runs in turns with this one.
            library: the operator library to load: the installed one if there is one, none, or that file.

        Raises:
            ModelFileError: the file is missing, damaged, invalid, or refers to data outside its folder.
            ProviderError: as `require`.
            OperatorLibraryError: the file needs the operator library, and this installation has none that works here.
        """

    def environment(self) -> dict[str, Any]:
        """What of it belongs in the record of a measurement: "packages", versions by name, and "providers", names."""

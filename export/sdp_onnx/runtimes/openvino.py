"""OpenVINO as a `Runtime`, for files of standard operators on the CPU: the extra `openvino`.

With `openvino_int8` the only module that imports openvino, and not before a model is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sdp_onnx.errors import ModelFileError, ModelRunError, ProviderError
from sdp_onnx.runtimes.base import Capabilities, Provider

_PACKAGES = ("openvino", "nncf")


class OpenVinoRuntime:
    """The row of `RUNTIMES`; see `Runtime` for its methods."""

    name = "openvino"

    @property
    def capabilities(self) -> Capabilities:
        """The CPU alone, without the operator library."""
        return Capabilities(("cpu",), operator_library=False, profile=False)

    def require(self, provider: Provider) -> None:
        """Check that OpenVINO is installed, and asked for the CPU."""
        if provider != "cpu":
            raise ProviderError("OpenVINO is used on the CPU alone", where=provider, hint="Ask for the cpu provider.")
        if find_spec("openvino") is None:
            hint = 'Install it: pip install "sdp[openvino]"'
            raise ProviderError("the package openvino is not installed", where=self.name, hint=hint)

    def load(
        self,
        path: Path,
        *,
        provider: Provider = "cpu",
        threads: int | None = None,
        profile: Path | None = None,
        idle_between_runs: bool = False,  # its threads sleep between runs anyway
        library: Path | Literal["installed", "none"] = "installed",  # a file that needs it is refused
    ) -> OpenVinoModel:
        """Read an ONNX file, or an .xml file of OpenVINO's own with the .bin file beside it.

        Raises:
            ValueError: a profile is asked for.
        """
        self.require(provider)
        if profile is not None:
            raise ValueError("no profile is recorded with OpenVINO")
        if not path.is_file():
            hint = "Export a model first, or correct the path."
            raise ModelFileError("there is no such file", where=str(path), hint=hint)
        import openvino

        core = openvino.Core()
        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            model = core.read_model(path)
            return OpenVinoModel(model, lambda own: core.compile_model(own, "CPU", options))
        except RuntimeError as error:
            hint = 'It runs files of standard operators: export with encoding = "dense".'
            raise ModelFileError(f"OpenVINO cannot load the model: {error}", where=str(path), hint=hint) from error

    def environment(self) -> dict[str, Any]:
        """Versions of the installed packages."""
        packages = {}
        for package in _PACKAGES:
            try:
                packages[package] = version(package)
            except PackageNotFoundError:
                continue
        return {"packages": packages, "providers": ["CPU"] if packages else []}


class OpenVinoModel:
    """A model as a `LoadedModel`, compiled for inputs of any shape; `bind` compiles it for one."""

    def __init__(self, model: Any, compiled: Callable[[Any], Any]) -> None:
        self._model = model
        self._compiled = compiled
        self._request = compiled(model).create_infer_request()
        self.input_names = tuple(str(own.get_any_name()) for own in model.inputs)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """The first output.

        Raises:
            ModelRunError: the model fails at these inputs.
        """
        return next(iter(self.outputs(inputs).values()))

    def outputs(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Every output by its name.

        Raises:
            ModelRunError: the model fails at these inputs.
        """
        try:
            results = self._request.infer(dict(inputs))
        except RuntimeError as error:
            raise ModelRunError(str(error).strip()) from error
        return {str(own.get_any_name()): np.array(results[number]) for number, own in enumerate(self._model.outputs)}

    def bind(self, inputs: Mapping[str, NDArray[Any]]) -> Callable[[], None]:
        """Compile the model for the shapes of one batch: for all shapes at once it takes more time.

        Returns:
            a function that runs the batch.
        """
        own = self._model.clone()
        own.reshape({name: list(array.shape) for name, array in inputs.items()})
        request = self._compiled(own).create_infer_request()
        kept = dict(inputs)

        def run() -> None:
            request.infer(kept, share_inputs=True, share_outputs=True)

        return run

    def end_profile(self) -> Path:
        """There is none.

        Raises:
            ValueError: always.
        """
        raise ValueError("no profile is recorded with OpenVINO")

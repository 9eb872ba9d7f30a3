"""onnxruntime as a `Runtime`: quiet, with the operator library, never on another provider than the one asked for.

The only module that imports onnxruntime.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from sdp_onnx.errors import ModelFileError, ModelRunError, OperatorLibraryError, ProviderError
from sdp_onnx.operators.library import DOMAIN, has_library, library_path
from sdp_onnx.runtimes.base import Capabilities, Provider

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"

# onnxruntime's log levels; errors are also raised as exceptions, which are reported.
_LOG_WARNING = 2
_LOG_FATAL = 4

# The same library, by the names of its wheels.
_PACKAGES = ("onnxruntime", "onnxruntime-gpu")


class OnnxRuntime:
    """The row of `RUNTIMES`; see `Runtime` for its methods."""

    name = "onnxruntime"

    @property
    def capabilities(self) -> Capabilities:
        """What the installed wheel is built for."""
        providers: tuple[Provider, ...] = ("cpu", "cuda") if _CUDA in ort.get_available_providers() else ("cpu",)
        return Capabilities(providers, operator_library=has_library(), profile=True)

    def require(self, provider: Provider) -> None:
        """Check that a model could run there (see `require_cuda`)."""
        if provider == "cuda":
            require_cuda()

    def load(
        self,
        path: Path,
        *,
        provider: Provider = "cpu",
        threads: int | None = None,
        profile: Path | None = None,
        idle_between_runs: bool = False,
        library: Path | Literal["installed", "none"] = "installed",
    ) -> OnnxModel:
        """Load a model file (see `create_session`)."""
        return OnnxModel(
            create_session(
                path,
                provider=provider,
                threads=threads,
                profile=profile,
                idle_between_runs=idle_between_runs,
                library=library,
            )
        )

    def environment(self) -> dict[str, Any]:
        """Versions of the installed wheels, and the providers that they are built with."""
        packages = {}
        for package in _PACKAGES:
            with contextlib.suppress(PackageNotFoundError):
                packages[package] = version(package)
        return {"packages": packages, "providers": [str(provider) for provider in ort.get_available_providers()]}


class OnnxModel:
    """A session as a `LoadedModel`."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self.input_names = tuple(str(value.name) for value in session.get_inputs())

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """The first output.

        Raises:
            ModelRunError: the session fails at these inputs.
        """
        return self._run(inputs)[0]

    def outputs(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Every output by its name.

        Raises:
            ModelRunError: the session fails at these inputs.
        """
        names = [str(value.name) for value in self._session.get_outputs()]
        return dict(zip(names, self._run(inputs), strict=True))

    def _run(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        try:
            return [np.asarray(output) for output in self._session.run(None, inputs)]
        except Exception as error:  # onnxruntime's exceptions have no common base class
            raise ModelRunError(str(error).strip() or type(error).__name__) from error

    def bind(self, inputs: Mapping[str, NDArray[Any]]) -> Callable[[], None]:
        """Move one batch to the session's device; return a function that runs it there."""
        device = "cuda" if _CUDA in self._session.get_providers() else "cpu"
        binding = self._session.io_binding()
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array, device, 0))
        binding.bind_output(self._session.get_outputs()[0].name, device)

        def run() -> None:
            self._session.run_with_iobinding(binding)
            binding.synchronize_outputs()

        return run

    def end_profile(self) -> Path:
        """Complete the profile; `profile_events.read_runs` reads it."""
        return Path(self._session.end_profiling())


def create_session(
    path: Path,
    *,
    provider: Provider = "cpu",
    threads: int | None = None,
    profile: Path | None = None,
    idle_between_runs: bool = False,
    library: Path | Literal["installed", "none"] = "installed",
) -> ort.InferenceSession:
    """Create a session for a model file, which may use the operators of this package's library.

    Args:
        threads: threads of one operator; None for onnxruntime's default.
        profile: prefix of the file to which the session writes the time of every operator; None for no profile. The
            session's `end_profiling` completes it.
        idle_between_runs: let the threads sleep as soon as a run ends. By default they spin until the next run, and
            occupy the cores of other sessions.
        library: the operator library to load: the installed one if it exists, none, or this file.

    Raises:
        ModelFileError: the file is missing, damaged, invalid, or refers to data outside its folder.
        ProviderError: CUDA is requested and not available; the message names the missing piece.
        OperatorLibraryError: the file needs the operator library, and this installation has none that works.
    """
    if not path.is_file():
        raise ModelFileError(
            "there is no such file", where=str(path), hint="Export a model first, or correct the path."
        )
    options = ort.SessionOptions()
    options.log_severity_level = _LOG_FATAL
    if threads is not None:
        options.intra_op_num_threads = threads
    if idle_between_runs:
        options.add_session_config_entry("session.force_spinning_stop", "1")
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = os.fspath(profile)
    if isinstance(library, Path):
        register_operators(options, library)
    elif library == "installed" and has_library():
        register_operators(options)
    if provider == "cuda":
        return _create_cuda_session(path, options)
    return _load(path, options, [_CPU])


def register_operators(options: ort.SessionOptions, library: Path | None = None) -> None:
    """Make the operator library known to sessions created with `options`.

    Args:
        options: of the sessions.
        library: the library's file; this installation's when None.

    Raises:
        OperatorLibraryError: there is no library, or this onnxruntime cannot load it.
    """
    path = library or library_path()
    try:
        # A bare name would make the system's loader look everywhere but beside the model.
        options.register_custom_ops_library(os.fspath(path.absolute()))
    except Exception as error:  # onnxruntime's exceptions have no common base class
        raise OperatorLibraryError(
            f"onnxruntime cannot load the operator library: {error}",
            where=str(path),
            hint="Install onnxruntime 1.17 or newer, or install this package again on this machine.",
        ) from error


def _load(path: Path, options: ort.SessionOptions, providers: list[str]) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(os.fspath(path), options, providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions have no common base class
        if f"{DOMAIN}:" in str(error) and "not a registered function/op" in str(error):
            library_path()
        raise ModelFileError(
            f"onnxruntime cannot load the model: {error}",
            where=str(path),
            hint="Export it again with this version of the toolchain, or copy it again together with its .data file.",
        ) from error


def _create_cuda_session(path: Path, options: ort.SessionOptions) -> ort.InferenceSession:
    require_cuda()
    with _quiet_defaults():
        # Finds the CUDA libraries of Python wheels, and prints the missing ones.
        with contextlib.redirect_stdout(io.StringIO()):
            ort.preload_dlls()
        session = _load(path, options, [_CUDA, _CPU])
    if _CUDA not in session.get_providers():
        raise ProviderError(
            f"onnxruntime fell back to {', '.join(session.get_providers())}: {_library_problem()}",
            where=_CUDA,
            hint="Install the CUDA and cuDNN libraries of this onnxruntime release "
            "(`pip install 'onnxruntime-gpu[cuda,cudnn]'`), or ask for the cpu provider.",
        )
    return session


def require_cuda() -> None:
    """Check the requirements of CUDA before a session is created, the cheapest first.

    Raises:
        ProviderError: this onnxruntime has no CUDA provider, or there is no NVIDIA driver or no GPU.
    """
    if _CUDA not in ort.get_available_providers():
        raise ProviderError(
            f"the installed onnxruntime {ort.__version__} is built without the CUDA provider",
            where=_CUDA,
            hint="Uninstall onnxruntime and install onnxruntime-gpu, or ask for the cpu provider.",
        )
    problem = _driver_problem()
    if problem:
        raise ProviderError(
            problem,
            where=_CUDA,
            hint="Run on a machine with an NVIDIA GPU and its driver (in a container: `docker run --gpus all`), "
            "or ask for the cpu provider.",
        )


def _driver_problem() -> str:
    """Return the reason why the CUDA driver offers no GPU; empty when it offers one."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return f"there is no NVIDIA driver: {library} cannot be loaded"
    status = driver.cuInit(0)
    if status != 0:
        return f"the NVIDIA driver finds no usable GPU (cuInit returned error {status})"
    count = ctypes.c_int(0)
    status = driver.cuDeviceGetCount(ctypes.byref(count))
    return "" if status == 0 and count.value > 0 else "the NVIDIA driver offers no GPU to this process"


def _library_problem() -> str:
    """Return the reason why the provider's library did not load. Call it after onnxruntime tried, never before."""
    name = "onnxruntime_providers_cuda.dll" if sys.platform == "win32" else "libonnxruntime_providers_cuda.so"
    library = Path(ort.__file__).parent / "capi" / name
    try:
        ctypes.CDLL(os.fspath(library))
    except OSError as error:
        return str(error)
    return "its library loads, but the provider could not be created on this GPU"


@contextlib.contextmanager
def _quiet_defaults() -> Iterator[None]:
    """Silence the default logger, which providers use before a session has its own."""
    ort.set_default_logger_severity(_LOG_FATAL)
    try:
        yield
    finally:
        ort.set_default_logger_severity(_LOG_WARNING)

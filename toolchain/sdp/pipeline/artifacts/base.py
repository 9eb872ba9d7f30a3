"""The base of stored JSON: frozen models, validated on reading, each with one file name."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, AllowInfNan, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from sdp.errors import RunError
from sdp.pipeline.files import write_json
from sdp.pipeline.stages import find_stage
from sdp_onnx.model.files import check_regular

if TYPE_CHECKING:
    from sdp.pipeline.run_folder import RunFolder

Positive = Annotated[float, Field(gt=0)]
# No count of bytes, rows or threads is beyond what a float holds exactly.
Count = Annotated[int, Field(gt=0, lt=2**53)]
NotNegative = Annotated[int, Field(ge=0, lt=2**53)]
Share = Annotated[float, Field(ge=0, le=1)]
LoggedNumber = int | Annotated[float, AllowInfNan(True)] | None
"""A number of a training log, where a gradient's norm may be infinite; an integer stays one."""

# What differs between versions is which keys a file has, and the number of its form where it has one.
_OTHER_VERSION = {"missing", "extra_forbidden", "unexpected_keyword_argument"}
_OTHER_FORM = "other_form"
_MOST_PROBLEMS = 3


def form_number(own: int) -> AfterValidator:
    """The check of a key that numbers the forms a file has had: only this version's is read."""

    def check(number: int) -> int:
        if number != own:
            raise PydanticCustomError(
                _OTHER_FORM, "{number} is not the form of this version, {own}", {"number": number, "own": own}
            )
        return number

    return AfterValidator(check)


class Stored(BaseModel):
    """A JSON object of a stored file.

    It has all of its keys and no other; a key that is not in every file has a default here, and is written only where
    it was given. Numbers are finite, and nothing is converted: "1" is no number.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    @classmethod
    def parse(cls, text: str | bytes, where: str, hint: str = "") -> Self:
        """Read JSON.

        Args:
            text: the JSON.
            where: the file, for messages.
            hint: how to make it again.

        Raises:
            RunError: another version of sdp wrote it, or it is damaged.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise RunError(_problem(error), where=where, hint=hint) from None

    @classmethod
    def read(cls, path: Path, hint: str = "") -> Self | None:
        """Read a file; None where there is none.

        Raises:
            RunError: it cannot be read, another version of sdp wrote it, or it is damaged.
        """
        try:
            check_regular(path)
            text = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise RunError(f"cannot be read: {error.strerror}", where=str(path), hint=hint) from None
        return cls.parse(text, str(path), hint)

    def to_json(self) -> dict[str, Any]:
        """The object as JSON types, its keys in the order of the fields."""
        return self.model_dump(by_alias=True, exclude_unset=True)

    def given(self) -> Mapping[str, Any]:
        """The fields that were given, by name: what another model with the same fields is made of."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}


class StoredFile(Stored):
    """A JSON file whose name is fixed.

    Attributes:
        FILE: name of the file.
    """

    FILE: ClassVar[str]

    def store(self, folder: Path) -> None:
        """Write the file into a folder, whole or not at all."""
        write_json(folder / self.FILE, self.to_json())


class Artifact(StoredFile):
    """A JSON file that a stage leaves in its folder.

    Attributes:
        STAGE: name of the stage.
    """

    STAGE: ClassVar[str]

    @classmethod
    def name(cls) -> str:
        """The file with its stage's folder, such as "4-export/metrics.json"."""
        return f"{find_stage(cls.STAGE).folder}/{cls.FILE}"

    @classmethod
    def path(cls, run: RunFolder) -> Path:
        """Return the path of the file in a run folder."""
        return run.path / cls.name()

    @classmethod
    def find(cls, run: RunFolder) -> Self | None:
        """Read the file of a run; None where the run has none.

        Raises:
            RunError: another version of sdp wrote it, or it is damaged.
        """
        folder = shlex.quote(str(run.stage(find_stage(cls.STAGE).folder)))
        return cls.read(cls.path(run), f"Make it again: rm -r {folder} && {cls.command(run)}")

    @classmethod
    def load(cls, run: RunFolder) -> Self:
        """Read the file of a run.

        Raises:
            RunError: the run has none, another version of sdp wrote it, or it is damaged.
        """
        found = cls.find(run)
        if found is None:
            raise RunError(f"the run has no {cls.name()}", where=str(run.path), hint=f"Make it: {cls.command(run)}")
        return found

    @classmethod
    def command(cls, run: RunFolder) -> str:
        """The command that makes the file."""
        return f"sdp {cls.STAGE} {shlex.quote(str(run.path))}"


def present(**fields: Any) -> dict[str, Any]:
    """The fields that have a value: those that are None are left out of the file."""
    return {name: value for name, value in fields.items() if value is not None}


def _problem(error: ValidationError) -> str:
    """Describe the first problems of a file, each with its place."""
    details = error.errors(include_url=False, include_input=False)
    lines = list(_lines(details[:_MOST_PROBLEMS]))
    if len(details) > _MOST_PROBLEMS:
        lines.append(f"and {len(details) - _MOST_PROBLEMS} more")
    kinds = {detail["type"] for detail in details}
    other = _OTHER_FORM in kinds or kinds <= _OTHER_VERSION
    return f"{'written by another version of sdp' if other else 'damaged'}: {'; '.join(lines)}"


def _lines(details: list[Any]) -> Iterator[str]:
    for detail in details:
        place, message = ".".join(map(str, detail["loc"])), str(detail["msg"])
        yield f"{place}: {message[0].lower()}{message[1:]}".removeprefix(": ")

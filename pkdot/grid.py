"""The grid of a study of labels: its cells of few and of wrong ones, and the cell that is named beforehand."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pkdot.errors import ConfigError
from pkdot.labels import Kept
from pkdot.params import Params
from pkdot.seeds import Seeds


class Cell(Params):
    """A cell of the grid: how many labels there are, and how many of them are wrong."""

    labelled: Kept = Field(description="share or number of each training part that keeps its labels")
    label_noise: float = Field(
        0.0, ge=0, lt=1, description="share of the labelled training samples that get another class at random"
    )

    @property
    def name(self) -> str:
        """Name of its folder; a share and a number of labels have different ones."""
        return f"labels_{self.labelled}_noise_{self.label_noise}"


class PrivilegeSection(Params):
    """When privilege pays: results/<experiment>/privilege.html."""

    labelled: list[Kept] = Field(
        [0.05, 0.1, 0.25, 0.5, 1.0],
        min_length=1,
        description="shares or numbers of each training part that keep their labels, as in splits.labelled",
    )
    label_noise: list[Annotated[float, Field(ge=0, lt=1)]] = Field(
        [0.0, 0.2, 0.4], min_length=1, description="shares of wrong labels, as in splits.label_noise"
    )
    grid: Literal["full", "cross"] = Field(
        "full", description="full: each of the one with each of the other; cross: the row and the column of primary"
    )
    primary: Cell = Field(
        description="the cell that the answer is about, named before there are any results; it must be in the grid"
    )
    methods: list[str] | None = Field(
        None,
        description="methods of the contest that are compared, with their control arms; null takes those that never "
        "meet a teacher, kd, pkdot and pkdot_joint, as far as they take part",
    )
    method: str | None = Field(
        None, description="the method that the answer is about; null takes pkdot_joint, else pkdot, else the last one"
    )
    seeds: Seeds | None = Field(
        None, min_length=1, description="seeds of teachers and students in each cell; null takes the first of `seeds`"
    )
    candidates: int = Field(
        1, ge=1, le=6, description="option sets that each method may choose from on validation subjects"
    )
    steps: int | None = Field(
        None, ge=1, description="largest number of steps of every training in a cell; null keeps the contest's"
    )

    @model_validator(mode="after")
    def _primary_in_the_grid(self) -> PrivilegeSection:
        names = [cell.name for cell in self.cells]
        if len(set(names)) < len(names):
            raise ConfigError("labelled or label_noise names a value twice")
        if self.primary.name not in names:
            raise ConfigError(
                f"primary is {self.primary.labelled} labelled with {self.primary.label_noise} wrong, which is no cell "
                "of the grid; add it to labelled and label_noise, written in the same way"
            )
        return self

    @property
    def cells(self) -> list[Cell]:
        """All cells, by the number of wrong labels, then by that of labels."""
        cells = [Cell(labelled=kept, label_noise=noise) for noise in self.label_noise for kept in self.labelled]
        if self.grid == "full":
            return cells
        row, column = self.primary.label_noise, self.primary.labelled
        return [cell for cell in cells if cell.label_noise == row or str(cell.labelled) == str(column)]

    def cell(self, name: str) -> Cell:
        """Return the cell of a name.

        Raises
        ------
        ConfigError
            The grid has no such cell.
        """
        for cell in self.cells:
            if cell.name == name:
                return cell
        raise ConfigError(f"privilege has no cell '{name}'; it has {', '.join(cell.name for cell in self.cells)}")

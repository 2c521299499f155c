"""The sections of a configuration: typed and strict, each option with its description."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pkdot.config_files import merge
from pkdot.datasets.base import DatasetChoice
from pkdot.datasets.base import register as datasets
from pkdot.distillation.base import MethodChoice, Start
from pkdot.distillation.base import register as methods
from pkdot.encoders.base import EncoderChoice
from pkdot.errors import ConfigError
from pkdot.evaluation.missing import MissingSection
from pkdot.evaluation.summary import EvaluationParams
from pkdot.features.base import FeatureChoice
from pkdot.fusion.base import FusionChoice
from pkdot.grid import PrivilegeSection
from pkdot.hallucination.base import TNetChoice, TNetParams, build_tnet
from pkdot.layout import PACKAGED, SIMULATED, control_label, fold_name, teachers_of
from pkdot.networks import parameter_count
from pkdot.params import Params, canonical
from pkdot.seeds import Seeds
from pkdot.simulation.base import PreparationChoice
from pkdot.splits import FoldName, SplitParams
from pkdot.tasks import TaskParams
from pkdot.training.controls import Control
from pkdot.training.loop import ComputeParams, TrainingParams

PREPARED = (f"{SIMULATED}/", f"{PACKAGED}/")  # roots that the project makes itself
IDENTIFIER = r"[a-z][a-z0-9_]*"
ANSWERS = ("pkdot_joint", "pkdot", "kd")  # distilled methods that a study of labels compares, the one it is about first


class DatasetSection(DatasetChoice):
    """The data set, where it lies, and its own options."""

    root: str = Field(description="folder of the data set in its owners' layout; data/simulated/... is made if missing")
    prepare: dict[str, Any] = Field({}, description="options of the data that are made for data/simulated/...")

    @property
    def is_prepared(self) -> bool:
        """Return whether the project makes the root itself."""
        return self.root.startswith(PREPARED)

    def preparation(self) -> PreparationChoice:
        """Return what makes the root, with all of its options.

        Raises
        ------
        ConfigError
            The project cannot make it, or an option is unknown or out of its range.
        """
        cls = datasets.load(self.name)
        if not cls.preparation:
            raise ConfigError(f"{cls.title} cannot be made; point dataset.root at your own copy.")
        _, options = PreparationChoice(name=cls.preparation, options=self.prepare).load()
        return PreparationChoice(name=cls.preparation, options=options.plain())


class Modality(Params):
    """One modality: where its data come from, and how they are encoded."""

    role: Literal["prevalent", "privileged"] = Field(description="present at test time, or only in training")
    source: str = Field(description="the stream of the data set that it is read from, such as video")
    feature: FeatureChoice = Field(description="what turns raw files into arrays, and its options")
    encoder: EncoderChoice = Field(description="what turns arrays into embeddings, and its options")
    training: TrainingParams = Field(TrainingParams(), description="how the encoder is trained")


class EmbeddingSection(Params):
    """What all encoders have in common."""

    dim: int = Field(64, ge=2, le=65536, description="width of an embedding")
    tokens: int = Field(1, ge=1, le=65536, description="number of embeddings of a sample, in time")
    decorrelation: float = Field(
        0.3,
        ge=0,
        description="weight of the squared correlation between dimensions in the encoders' loss, so that embeddings "
        "keep more than the head needs",
    )
    mixup: float = Field(
        0.0,
        ge=0,
        description="how much the encoders' training samples are mixed in pairs (both parameters of a beta "
        "distribution, such as 0.4), for tasks of classes; it helps where subjects are few; pictures are not mixed",
    )
    cross_fit: int | None = Field(
        None,
        ge=2,
        description="each training subject with labels is embedded by an encoder that never saw it: so many parts of "
        "these subjects are each embedded by an encoder that is trained on the others; null: by the encoder of all",
    )
    seed: int = Field(0, ge=0, description="seed of the encoders' weights, order and augmentation")


class TeacherSection(Params):
    """The teachers; the students have the same fusion and width."""

    fusion: FusionChoice = Field(
        FusionChoice(name="gated_cross_attention"), description="how modalities are fused, and its options"
    )
    dim: int = Field(64, ge=2, le=65536, description="width of the fused features")
    training: TrainingParams = Field(TrainingParams(), description="how the teachers are trained")
    ensemble: bool = Field(
        True,
        description="students imitate the mean prediction of the teachers of all seeds, and features of their own",
    )


class TNetSection(TNetParams):
    """The T-Net and its training."""

    training: TrainingParams = Field(TrainingParams(), description="how T-Net is trained")


class StudentsSection(Params):
    """The methods that are compared, and how their students are trained."""

    methods: list[MethodChoice] = Field(description="methods with their options, or the word all")
    candidates: int = Field(
        4, ge=1, le=6, description="option sets that each method may choose from on validation subjects"
    )
    start: Start = Field(
        "encoder_head",
        description="where students begin: at the predictions of the frozen encoders' own heads, or at random",
    )
    encoder: Literal["frozen", "finetuned"] = Field(
        "frozen", description="whether students keep the fold's encoders as they are, or train them by their own loss"
    )
    training: TrainingParams = Field(TrainingParams(), description="how the students are trained")
    controls: dict[str, list[Control]] = Field(
        {},
        description="method -> its control arms: prevalent_teacher (a teacher that sees prevalent modalities alone), "
        "shuffled (privileged data swapped within subject and class), globally_shuffled (among all)",
    )
    control_seed: int = Field(0, ge=0, description="seed of what is swapped in control arms")
    unlabelled_ratio: float = Field(
        1.0, gt=0, description="unlabelled samples of a step for each labelled one, where there are some"
    )

    @field_validator("methods", mode="before")
    @classmethod
    def _all(cls, value: Any) -> Any:
        return methods.names() if value == "all" else value

    @field_validator("methods")
    @classmethod
    def _with_a_baseline(cls, value: list[MethodChoice]) -> list[MethodChoice]:
        names = [method.name for method in value]
        if not any(methods.load(name).prevalent_only for name in names):
            raise ConfigError("no method can be the baseline that all are compared to; add student_only")
        if len(set(names)) < len(names):
            raise ConfigError("a method is named twice; make a second experiment of it")
        return value

    @model_validator(mode="after")
    def _controls_of_methods(self) -> StudentsSection:
        names = [method.name for method in self.methods]
        for name, arms in self.controls.items():
            if name not in names:
                raise ConfigError(f"controls names '{name}', which is no method of the contest; add it to methods")
            if len(set(arms)) < len(arms):
                raise ConfigError(f"controls.{name} names an arm twice")
            method = methods.load(name)
            if method.prevalent_only:
                raise ConfigError(f"controls names '{name}', which has no privilege to control for; remove it there")
            if "prevalent_teacher" in arms and "privileged" in method.needs:
                raise ConfigError(
                    f"controls.{name} names prevalent_teacher, but that method needs the privileged data themselves; "
                    "use shuffled"
                )
        return self


class ShippedSection(Params):
    """The student that ships: ``results/<experiment>/student/``."""

    method: str | None = Field(
        None, description="the method that trains it; null takes the one of the contest with the best validation score"
    )
    seeds: Seeds | None = Field(
        None, min_length=1, description="seeds of its networks, whose predictions are averaged; null takes `seeds`"
    )


class Variant(Params):
    """One line of the ablation: a method with its options, in a student that may differ from the contest's."""

    method: MethodChoice = Field(
        description="the method and its options; what is not fixed is chosen as in the contest"
    )
    tnet: Literal["trained", "random", "matched", "off"] | None = Field(
        None, description="the state of T-Net, where it differs"
    )
    tnet_kind: TNetChoice | None = Field(
        None, description="what T-Net is, where it differs; it is trained once a fold and a seed for all variants"
    )
    fusion: FusionChoice | None = Field(None, description="how the student fuses, where it differs from the teacher")
    batch_size: int | None = Field(None, ge=2, description="samples a step, where they differ")
    start: Start | None = Field(None, description="where the student begins, where it differs")
    encoder: Literal["frozen", "finetuned"] | None = Field(None, description="the student's encoder, where it differs")
    ensemble: bool | None = Field(None, description="whether teachers of all seeds teach together, where it differs")


class Experiment(Params):
    """One experiment: the content of its YAML file."""

    dataset: DatasetSection = Field(description="the data")
    task: TaskParams = Field(TaskParams(), description="what is predicted")
    modalities: dict[str, Modality] = Field(description="the modalities by name")
    shards: int = Field(
        4, ge=1, le=100_000, description="number of jobs among which the features of a modality are divided, by subject"
    )
    splits: SplitParams = Field(SplitParams(), description="how subjects are divided into folds")
    embedding: EmbeddingSection = Field(EmbeddingSection(), description="what all encoders share")
    teacher: TeacherSection = Field(TeacherSection(), description="the teachers")
    tnet: TNetSection = Field(TNetSection(), description="the T-Net")
    students: StudentsSection = Field(description="the students")
    student: ShippedSection = Field(ShippedSection(), description="the student that ships, trained on all subjects")
    protocols: list[str] = Field([], description="experiments on the same data under other protocols, for the ablation")
    ablation: dict[str, Variant] = Field({}, description="variants of a method, for results/<experiment>/ablation.html")
    privilege: PrivilegeSection | None = Field(
        None, description="when privilege pays, for results/<experiment>/privilege.html; null makes no such page"
    )
    missing: MissingSection | None = Field(
        None, description="modalities that come and go, for results/<experiment>/missing.html; null makes no such page"
    )
    seeds: Seeds = Field([0, 1, 2], min_length=1, description="seeds of teachers and students")
    evaluation: EvaluationParams = Field(EvaluationParams(), description="how methods are compared")
    compute: ComputeParams = Field(ComputeParams(), description="device and threads")
    overrides: dict[str, dict[str, Any]] = Field(
        {},
        description="fold_<k>: sections that replace parts of modalities, teacher, tnet or students in that fold",
    )

    @field_validator("modalities")
    @classmethod
    def _names_and_roles(cls, value: dict[str, Modality]) -> dict[str, Modality]:
        for name in value:
            if not re.fullmatch(IDENTIFIER, name):
                raise ConfigError(f"'{name}' is no name for a modality; use small letters, digits and _")
        for role in ("prevalent", "privileged"):
            if role not in {modality.role for modality in value.values()}:
                raise ConfigError(f"no modality has the role {role}; distillation needs both")
        return dict(sorted(value.items()))  # the same order, however the configuration was read

    @field_validator("overrides")
    @classmethod
    def _known_overrides(cls, value: dict) -> dict:
        for fold, sections in value.items():
            if not re.fullmatch(r"fold_(0|[1-9]\d*)", fold):
                raise ConfigError(f"'{fold}' is no fold; write fold_0, fold_1, ...")
            for name in sections:
                if name not in ("modalities", "teacher", "tnet", "students"):
                    raise ConfigError(f"{fold} overrides '{name}', which belongs to all folds")
            try:
                canonical(sections)
            except (TypeError, ValueError) as error:  # a date, or a number without end
                raise ConfigError(f"{fold} holds what is no text, finite number, list or section") from error
        return value

    @model_validator(mode="after")
    def _privilege_of_methods(self) -> Experiment:
        if self.privilege is None:
            return self
        methods = self.methods_of_cells
        for name in [*methods, *filter(None, [self.privilege.method])]:
            if name not in self.method_names:
                raise ConfigError(f"privilege names '{name}', which is no method of the contest; add it there")
        distilled = [name for name in methods if name not in self.prevalent_only]
        if not distilled or len(distilled) == len(methods):
            raise ConfigError("privilege.methods takes a distilled method and one that never meets a teacher")
        if self.privilege.method not in (None, *distilled):
            raise ConfigError(f"privilege.method is '{self.privilege.method}', which is not distilled in its cells")
        return self

    @property
    def missing_grid(self) -> MissingSection:
        """The grid of missing modalities.

        Raises
        ------
        ConfigError
            There is none.
        """
        if self.missing is None:
            raise ConfigError("there is no section missing; add one, as docs/missing.md says")
        return self.missing

    @property
    def study(self) -> PrivilegeSection:
        """The study of labels.

        Raises
        ------
        ConfigError
            There is none.
        """
        if self.privilege is None:
            raise ConfigError("there is no section privilege; add one, as docs/privilege.md says")
        return self.privilege

    @property
    def methods_of_cells(self) -> list[str]:
        """Methods of the contest that the study of labels compares; none where there is no such study."""
        if self.privilege is None:
            return []
        if self.privilege.methods is not None:
            return self.privilege.methods
        taken = {*self.prevalent_only, *ANSWERS}
        return [name for name in self.method_names if name in taken]

    @property
    def method_in_question(self) -> str:
        """The distilled method that the study of labels is about."""
        distilled = [name for name in self.methods_of_cells if name not in self.prevalent_only]
        if self.privilege is not None and self.privilege.method:
            return self.privilege.method
        return next((name for name in ANSWERS if name in distilled), distilled[-1])

    @property
    def scored(self) -> list[str]:
        """Names of the methods of the contest and of the models from elsewhere."""
        return [*self.contestants, *self.evaluation.foreign]

    @property
    def method_names(self) -> list[str]:
        """Names of the methods of the contest."""
        return [method.name for method in self.students.methods]

    @property
    def controls(self) -> dict[str, tuple[str, Control]]:
        """Label of each control arm -> its method and which control it is."""
        arms = self.students.controls.items()
        return {control_label(name, control): (name, control) for name, some in arms for control in some}

    @property
    def contestants(self) -> list[str]:
        """Names of all that train students: the methods of the contest, and their control arms."""
        return [*self.method_names, *self.controls]

    @property
    def teachers(self) -> list[str]:
        """Names of the teachers, the one of all modalities first."""
        return teachers_of(self.modalities, self.of_role("prevalent"))

    @property
    def prevalent_only(self) -> list[str]:
        """Methods that never meet a teacher or a privileged modality: candidates for the baseline."""
        return [name for name in self.method_names if methods.load(name).prevalent_only]

    @property
    def matched(self) -> dict[str, str]:
        """Variant with a trained T-Net -> the one that is the same, but spends as many parameters otherwise."""
        plain = {"tnet": None, "tnet_kind": None}
        rest = {
            name: (variant.model_copy(update=plain), self._size(variant)) for name, variant in self.ablation.items()
        }
        trained = [name for name, one in self.ablation.items() if (one.tnet or self.tnet.state) == "trained"]
        controls = [name for name, one in self.ablation.items() if one.tnet == "matched"]
        return {name: label for name in trained for label in controls if rest[name] == rest[label]}

    def _size(self, variant: Variant) -> int:
        """Return the number of parameters of the T-Net of a variant."""
        prevalent, privileged = (self.embedding.dim * len(self.of_role(role)) for role in ("prevalent", "privileged"))
        kind = variant.tnet_kind or self.tnet.kind
        return parameter_count(build_tnet(kind, prevalent, privileged, self.tnet.hidden))

    def of_role(self, role: str) -> list[str]:
        """Return the names of the modalities of a role."""
        return [name for name, modality in self.modalities.items() if modality.role == role]

    def for_fold(self, fold: FoldName) -> Experiment:
        """Return the experiment as fold ``fold`` sees it; ``all`` has the seeds of the student that ships.

        Raises
        ------
        ConfigError
            There is no such fold.
        """
        if isinstance(fold, str):
            return self.model_copy(update={"seeds": self.student.seeds or self.seeds})
        if fold >= self.splits.fold_count:
            raise ConfigError(f"there is no fold {fold}; there are {self.splits.fold_count}, the first is fold_0")
        plain = self.plain()
        changes = plain.pop("overrides").get(fold_name(fold))
        return _from_json(canonical(merge(plain, changes))) if changes else self

    def for_cell(self, cell: str) -> Experiment:
        """Return the experiment as a cell of the study of labels trains it, without what belongs to the contest alone.

        Raises
        ------
        ConfigError
            There is no such study, or it has no such cell.
        """
        study = self.study
        labels = study.cell(cell)

        def within(section: Any) -> Any:
            """Return a section with the budget of a cell."""
            steps = min(section.training.steps, study.steps or section.training.steps)
            return section.model_copy(update={"training": section.training.model_copy(update={"steps": steps})})

        methods = [choice for choice in self.students.methods if choice.name in self.methods_of_cells]
        controls = {name: arms for name, arms in self.students.controls.items() if name in self.methods_of_cells}
        chosen = {"methods": methods, "controls": controls, "candidates": study.candidates}
        return self.model_copy(
            update={
                "splits": self.splits.model_copy(update=labels.plain()),
                "modalities": {name: within(modality) for name, modality in self.modalities.items()},
                "teacher": within(self.teacher),
                "tnet": within(self.tnet),
                "students": within(self.students).model_copy(update=chosen),
                "seeds": study.seeds or self.seeds[:1],
                "evaluation": self.evaluation.model_copy(update={"foreign": {}, "contrasts": []}),
                "ablation": {},
                "privilege": None,
                "missing": None,
            }
        )


@cache
def _from_json(text: str) -> Experiment:
    return Experiment(**json.loads(text))

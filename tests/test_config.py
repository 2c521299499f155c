"""A configuration means one thing, or is refused with a sentence that says how to mend it."""

from __future__ import annotations

import ast
import copy
import importlib
import pkgutil
import tomllib
from datetime import date
from itertools import chain

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from synthetic import REPO, arrays_config, write_config

import pkdot
from pkdot import jobs
from pkdot.config import Experiment
from pkdot.config_files import mentions, read, sources
from pkdot.errors import ConfigError
from pkdot.experiment import load
from pkdot.params import Params, canonical
from pkdot.stages import STAGES


def loaded(tmp_path, values):
    return load(write_config(tmp_path / "config" / "tiny.yaml", values))


LABELLED = (
    "a whole number from 1 on is how many keep their labels, and a number with a decimal point, above 0 and up to 1.0, "
    "is the share that does: 1 keeps one, 1.0 keeps all"
)


def changed(*steps, **values):
    """The small configuration with some values set at a place."""
    config = copy.deepcopy(arrays_config())
    place = config
    for step in steps:
        place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
    place.update(values)
    return config


@pytest.mark.parametrize(
    ("steps", "key", "said"),
    [
        ((), "shard", "'shards'"),
        (("splits",), "fold", "'folds'"),
        (("teacher", "training"), "step", "'steps'"),
        (("modalities", "motion"), "roles", "'role'"),
        (("modalities", "motion", "training"), "batchsize", "'batch_size'"),
        (("modalities", "motion", "encoder"), "widht", "'width'"),
        (("modalities", "motion", "feature"), "lenght", "'length'"),
        (("dataset",), "stream", "'streams'"),
        (("tnet",), "hiden", "'hidden'"),
        (("overrides", "fold_1", "teacher"), "dimm", "'dim'"),
        (("overrides", "fold_1", "teacher", "training"), "step", "'steps'"),
        (("overrides", "fold_0", "modalities", "motion", "encoder"), "widht", "'width'"),
    ],
)
def test_an_unknown_key_is_refused_with_the_closest_one(tmp_path, steps, key, said):
    with pytest.raises(ConfigError, match=rf"no option '([\w.]*\.)?{key}'.*Did you mean {said}"):
        loaded(tmp_path, changed(*steps, **{key: 1}))


def test_an_unknown_option_of_a_method_in_a_list_is_refused(tmp_path):
    config = changed("students", methods=["student_only", {"name": "kd", "temprature": 2}])
    with pytest.raises(ConfigError, match=r"options of method 'kd'.*Did you mean 'temperature'"):
        loaded(tmp_path, config)


def with_a_modality_called_dropout():
    values = changed("students", methods=["student_only", "modality_dropout"])
    values["modalities"]["dropout"] = values["modalities"].pop("pulse")
    return values


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (changed("dataset", name="arays"), "no data set 'arays'. Did you mean 'arrays'"),
        (changed("students", methods=["student_only", "kdd"]), "no method 'kdd'. Did you mean 'kd'"),
        (changed("students", methods=["kd"]), "no method can be the baseline"),
        (changed("students", methods=["student_only", "kd", "kd"]), "named twice"),
        (changed("students", methods=["student_only", {"temperature": 2}]), "methods.1.name' is missing"),
        (changed("modalities", "pulse", role="prevalent"), "no modality has the role privileged"),
        (changed("modalities", "pulse", source="video"), "offers motion, pulse"),
        (changed("modalities", **{"Big-Name": arrays_config()["modalities"]["pulse"]}), "is no name for a modality"),
        (changed(seeds=[0, 0]), "a seed is named twice"),
        (changed("dataset", seconds=float("inf")), "seconds: Input should be a finite number"),
        (changed("teacher", "training", learning_rate=float("nan")), "learning_rate: Input should be a finite number"),
        (changed("overrides", "fold_1", "teacher", dim=float("inf")), "fold_1 holds what is no text, finite number"),
        (changed("overrides", "fold_1", "teacher", dim=date(2020, 1, 1)), "fold_1 holds what is no text"),
        (changed(seeds=[-1]), "seeds.0"),
        (changed(seeds=[]), "seeds"),
        (changed("task", kind="regression"), "cross_entropy does not serve task.kind regression"),
        (changed("task", kind="regression", loss="ccc"), "the targets of a table of arrays are classes"),
        (changed("teacher", fusion={"name": "gated_cross_attention", "heads": 3}), "3 heads"),
        (changed("students", methods=["student_only", "dkd"]), "at least three classes, but there are 2"),
        (changed("splits", test_subjects=["s1"]), "goes with scheme: given"),
        (changed("splits", scheme="given", folds=None), "goes with scheme: given"),
        (changed("dataset", root="data/packaged/x"), "cannot be made"),
        (changed("overrides", "fold_2", teacher={"dim": 4}), "overrides.fold_2: there is no fold 2"),
        (changed("overrides", "fold_01", teacher={"dim": 4}), "'fold_01' is no fold"),
        (changed("overrides", "first", teacher={"dim": 4}), "'first' is no fold"),
        (changed("overrides", "fold_1", seeds=[1]), "belongs to all folds"),
        (changed("overrides", "fold_1", "teacher", dim="wide"), "overrides.fold_1: teacher.dim"),
        (changed("overrides", "fold_1", "students", methods=["student_only"]), "the methods and their controls belong"),
        (changed("overrides", "fold_1", "modalities", "pulse", "feature", length=16), "belong to all folds"),
        (changed("overrides", "fold_1", "modalities", "pulse", source="motion"), "belong to all folds"),
        (changed("tnet", hidden=[0]), "tnet.hidden.0"),
        (changed("tnet", kind="attentive"), "no T-Net 'attentive'. Did you mean 'attention'"),
        (
            changed("tnet", kind={"name": "attention", "head": 2}),
            "options of T-Net 'attention': there is no option 'head'. Did you mean 'heads'",
        ),
        (changed("tnet", kind={"name": "generative", "draws": 3}), "draws: Input should be a multiple of 2"),
        (changed(ablation={"released": {"method": "sp", "tnet_kind": "mpl"}}), "no T-Net 'mpl'. Did you mean 'mlp'"),
        (changed("embedding", mixup=-1), "embedding.mixup"),
        (changed(ablation={"kd": {"method": "sp"}}), "'kd' is a method of the contest too"),
        (changed(ablation={"teacher": {"method": "sp"}}), "'teacher' is a teacher too"),
        (changed(ablation={"../a": {"method": "sp"}}), "'../a' is no name"),
        (changed(ablation={"a": {"method": "dkd"}}), "at least three classes, but there are 2"),
        (changed(ablation={"a": {"method": "sp"}}), "ablation_reference is 'released', but the ablation has a"),
        (changed("evaluation", contrasts=[["kd", "sp"]]), "contrasts names 'sp', but students.methods has no such"),
        (changed("evaluation", contrasts=[["kd", "kd"]]), "compares 'kd' with itself"),
        (changed("students", controls={"sp": ["shuffled"]}), "'sp', which is no method of the contest"),
        (changed("students", controls={"student_only": ["shuffled"]}), "has no privilege to control for"),
        (changed("students", controls={"kd": ["shuffled", "shuffled"]}), "controls.kd names an arm twice"),
        (
            changed(
                "students",
                methods=["student_only", "modality_hallucination"],
                controls={"modality_hallucination": ["prevalent_teacher"]},
            ),
            "needs the privileged data themselves; use shuffled",
        ),
        (changed(missing={"patterns": ["whole", "bursts", "whole"]}), "missing.patterns: a pattern is named twice"),
        (changed(missing={"seeds": [0, 0]}), "missing.seeds: a seed is named twice"),
        (changed(student={"seeds": [1, 1]}), "student.seeds: a seed is named twice"),
        (changed(privilege={"primary": {"labelled": 1.0}, "seeds": [1, 1]}), "privilege.seeds: a seed is named twice"),
        (changed(student={"method": "any_subset"}), "results/<experiment>/student_any"),
        *((changed("splits", labelled=wrong), LABELLED) for wrong in (0, 0.0, 1.5, 2.0, -1, True, "half", [1])),
        (
            changed(ablation={"a": {"method": "sp", "fusion": {"name": "gated_cross_attention", "heads": 3}}}),
            "3 heads",
        ),
        (with_a_modality_called_dropout(), "'modality_dropout' is a method and a teacher"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(tmp_path, config, said):
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, config)
    message = str(refused.value)
    assert said in message
    assert message.startswith(f"{tmp_path}/config/tiny.yaml: ")
    assert message.endswith((".", "?"))
    assert ": :" not in message


@pytest.mark.parametrize("path", sorted((REPO / "config").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_contest_has_the_candidates_for_the_baseline(path):
    """What is already there without distillation competes; the protocol that leaks is another story."""
    e = load(path)
    if not path.stem.endswith("_leaky_protocol"):
        assert {"encoder_head", "linear_probe", "student_only"} <= set(e.prevalent_only)


def test_only_samples_of_classes_are_mixed(tmp_path):
    values = read(REPO / "config" / "affwild2.yaml")
    with pytest.raises(ConfigError, match=r"embedding.mixup mixes samples of classes, but the task is a regression"):
        loaded(tmp_path, {**values, "embedding": {**values["embedding"], "mixup": 0.4}})


def test_every_problem_is_told_at_once(tmp_path):
    config = changed(shards=0)
    config["splits"]["folds"] = 1
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, config)
    assert {"shards", "splits.folds"} == {line.split(": ")[1] for line in str(refused.value).splitlines()}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty or not a mapping"),
        ("- a\n- b\n", "empty or not a mapping"),
        ("a: [", "not valid YAML"),
        ("a: !!python/object/apply:os.system [echo]", "not valid YAML"),
        ("shards: 1\nshards: 2\n", "'shards' is given twice"),
        ("modalities:\n  face: {}\n  face: {}\n", "'face' is given twice"),
        ("1: 2\n", "a name is no text; quote it.*line 1"),
        ("shards: 1\nnull: 1\n", "a name is no text; quote it.*line 2"),
        ("? [a, b]\n: 1\n", "a name is no text; quote it"),
        ("dataset: {name: arrays, 2020-01-01: x}\n", "a name is no text; quote it"),
        ("dataset: arrays\n", "dataset: takes more than a name; write {name: arrays, root: ...}"),
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path, text, said):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load(path)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    write_config(tmp_path / "config" / "biovid.yaml", arrays_config())
    write_config(tmp_path / "config" / ".biovd.yaml", arrays_config())
    write_config(tmp_path / "dvc.yaml", {"stages": {}})
    for missing in ("config/biovd.yaml", "biovid.yaml", "biovid"):
        with pytest.raises(ConfigError, match=rf"no such configuration. Did you mean {tmp_path}/config/biovid.yaml\?"):
            load(tmp_path / missing)
    with pytest.raises(ConfigError, match=rf"There are: {tmp_path}/config/biovid.yaml\.$"):
        load(tmp_path / "nofile.yaml")
    with pytest.raises(ConfigError, match=r"cannot be read"):
        load(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"title: caf\xe9")
    with pytest.raises(ConfigError, match=r"not valid YAML"):
        load(tmp_path / "latin.yaml")


@pytest.mark.parametrize("path", sorted((REPO / "config").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_configurations_that_come_along_are_valid(path):
    experiment = load(path)
    assert Experiment(**experiment.plain()) == experiment


def write_texts(folder, **texts):
    """Write configuration files; return the path of the first."""
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder / f"{next(iter(texts))}.yaml"


def test_a_file_says_only_what_differs_from_the_file_that_it_extends(tmp_path):
    write_config(tmp_path / "config" / "parent.yaml", changed(ablation={"a": {"method": "sp"}}))
    (tmp_path / "config" / "deep").mkdir()
    child = write_texts(
        tmp_path / "config" / "deep",
        child="extends: middle.yaml\nsplits: {seed: 3}\nablation: null\nmodalities: {motion: {encoder: {width: 8}}}\n",
        middle="extends: ../parent.yaml\nseeds: [4, 5]\nmodalities: {pulse: {encoder: mlp}}\n",
    )
    own = changed(seeds=[4, 5])
    own["splits"]["seed"] = 3
    own["modalities"]["motion"]["encoder"]["width"] = 8
    own["modalities"]["pulse"]["encoder"] = "mlp"
    assert load(child) == loaded(tmp_path, own)
    assert [path.name for path in sources(child)] == ["child.yaml", "middle.yaml", "parent.yaml"]
    job = jobs.job_params("splits", jobs.splits(load(child)))
    write_config(tmp_path / "config" / "parent.yaml", changed("splits", folds=3))
    assert jobs.job_params("splits", jobs.splits(load(child))) != job


def test_a_file_mentions_what_the_file_that_it_extends_says(tmp_path):
    path = write_texts(tmp_path, a="extends: b.yaml", b="dataset: {root: here}", c="x: [here")
    assert mentions(path, "root: here")
    assert not mentions(path, "there")
    assert mentions(tmp_path / "c.yaml", "here")


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        ({"a": "extends: a.yaml"}, r"a.yaml: the files extend one another in a circle \(.*a.yaml -> .*a.yaml\)"),
        ({"a": "extends: b.yaml", "b": "extends: c.yaml", "c": "extends: b.yaml"}, r"circle \(.*a.yaml -> .*b.yaml ->"),
        ({"a": "extends: bb.yaml", "b": "extends: a.yaml"}, r"a.yaml: extends bb.yaml, but there is no such file. Did"),
        ({"a": "extends: [b.yaml, c.yaml]"}, r"a.yaml: extends takes the name of one file"),
        ({"a": "extends: b.yaml", "b": "x: ["}, r"b.yaml: not valid YAML"),
        ({"a": "extends: b.yaml", "b": "- x"}, r"b.yaml: is empty or not a mapping"),
        ({"a": "extends: ."}, r"a.yaml: extends ., but there is no such file"),
        ({"a": "extends: b.yaml\nseeds: null", "b": "shards: 2"}, r"a.yaml: the option 'dataset' is missing"),
    ],
)
def test_a_wrong_extension_is_refused_in_a_sentence(tmp_path, texts, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load(write_texts(tmp_path, **texts))


def test_plain_values_make_the_same_experiment_again(tmp_path):
    experiment = loaded(tmp_path, arrays_config())
    again = Experiment(**experiment.plain())
    assert again == experiment
    assert canonical(again.plain()) == canonical(experiment.plain())


OVERRIDES = {
    "encoder": ("modalities", "motion", "encoder", {"width": 8}),
    "other encoder": ("modalities", "motion", {"encoder": "mlp"}),
    "encoder training": ("modalities", "pulse", "training", {"steps": 7}),
    "teacher": ("teacher", {"dim": 16}),
    "fusion": ("teacher", {"fusion": "gated_cross_attention"}),
    "tnet": ("tnet", {"finetune": False}),
    "students": ("students", "training", {"learning_rate": 0.5}),
    "a method": ("students", {"methods": ["student_only", {"name": "kd", "temperature": 2}]}),
}


def told(experiment, fold):
    """What each training of a fold is told."""
    said = {f"encoder {name}": jobs.encoder(experiment, name, fold) for name in experiment.modalities}
    said["teachers"] = jobs.teachers(experiment, fold)
    for method in ("student_only", "kd"):
        said[method] = jobs.students(experiment, fold, method)
    return {name: canonical(params.plain()) for name, params in said.items()}


@pytest.mark.parametrize(
    ("name", "meets"),
    [
        ("encoder", {"encoder motion"}),
        ("other encoder", {"encoder motion"}),
        ("encoder training", {"encoder pulse"}),
        ("teacher", {"teachers", "student_only", "kd"}),
        ("fusion", {"teachers", "student_only", "kd"}),
        ("tnet", {"student_only", "kd"}),
        ("students", {"student_only", "kd"}),
        ("a method", {"kd"}),
    ],
)
def test_an_override_changes_its_fold_alone(tmp_path, name, meets):
    *steps, values = OVERRIDES[name]
    plain = loaded(tmp_path, arrays_config())
    other = loaded(tmp_path, changed("overrides", "fold_1", *steps, **values))
    assert told(other, 0) == told(plain, 0)
    before, after = told(plain, 1), told(other, 1)
    assert {job for job in before if before[job] != after[job]} == meets


def test_an_override_keeps_the_other_options_of_its_plugin_and_another_plugin_starts_afresh(tmp_path):
    same = loaded(tmp_path, changed("overrides", "fold_1", "modalities", "motion", "encoder", width=8))
    assert same.for_fold(1).modalities["motion"].encoder.options == {"width": 8, "kernel": 3}
    other = loaded(tmp_path, changed("overrides", "fold_1", "modalities", "motion", encoder={"name": "mlp"}))
    assert other.for_fold(1).modalities["motion"].encoder.options == {}


VARIANTS = {
    "released": {"method": "kd"},
    "attention": {"method": "kd", "tnet_kind": "attention"},
    "narrow": {"method": "kd", "tnet_kind": {"name": "attention", "heads": 1}},
    "again": {"method": "sp", "tnet_kind": "attention"},
    "consistent": {"method": "kd", "tnet_kind": "consistent"},
    "random": {"method": "kd", "tnet": "random"},
    "equal": {"method": "kd", "tnet": "matched"},
    "equal_attention": {"method": "kd", "tnet_kind": "attention", "tnet": "matched"},
}


def test_a_t_net_of_a_kind_is_trained_once_for_all_variants_that_want_it(tmp_path):
    e = loaded(tmp_path, changed(ablation=VARIANTS))
    labels = {name: jobs.tnet_label(e, name) for name in VARIANTS}
    assert labels["released"] == labels["random"] == "tnet"
    assert labels["attention"] == labels["again"] == "tnet_attention"
    assert labels["narrow"].startswith("tnet_attention_")
    assert jobs.students(e, 0, "again").tnet_label == "tnet_attention"
    assert jobs.tnets(e, 0, labels["narrow"]).tnet.kind.options == {"heads": 1}
    own = loaded(tmp_path, changed("tnet", kind="attention", **{}) | {"ablation": VARIANTS})
    assert jobs.tnet_label(own, "attention") == "tnet"
    with pytest.raises(ConfigError, match="no variant of the ablation has the T-Net 'tnet_mlp'"):
        jobs.tnets(e, 0, "tnet_mlp")


def test_a_variant_is_set_against_the_one_with_as_many_parameters_and_all_else_the_same(tmp_path):
    e = loaded(tmp_path, changed(ablation=VARIANTS))
    assert e.matched == {"released": "equal", "attention": "equal_attention", "consistent": "equal"}
    contrasts = jobs.summary(e, "tiny", "ablation/").contrasts
    assert {("attention", "equal_attention"), ("attention", "released"), ("equal", "released")} <= set(contrasts)
    assert ("released", "equal") not in contrasts, "it would be counted twice"


def test_a_job_for_a_fold_or_method_that_is_not_is_refused(tmp_path):
    experiment = loaded(tmp_path, arrays_config())
    for make in (jobs.fold, jobs.teachers):
        with pytest.raises(ConfigError, match=r"no fold 2"):
            make(experiment, 2)
    with pytest.raises(ConfigError, match=r"'sp'"):
        jobs.students(experiment, 0, "sp")


def test_a_job_is_told_nothing_of_what_it_does_not_use(tmp_path):
    plain = told(loaded(tmp_path, arrays_config()), 0)
    other = changed("splits", seed=3)
    other |= {"shards": 5, "evaluation": {"bootstrap": 500}}
    other["students"]["methods"].append("feature_mse")
    assert told(loaded(tmp_path, other), 0) == plain


class Pair(Params):
    first: int = 0
    second: int = 0


@given(st.integers(), st.integers())
def test_canonical_text_tells_every_value_and_its_place(a, b):
    text = canonical(Pair(first=a, second=b).plain())
    assert text == canonical({"second": b, "first": a})
    assert (text == canonical(Pair(first=b, second=a).plain())) == (a == b)


def test_canonical_text_refuses_what_it_cannot_tell():
    for value in ({"path": REPO}, {"number": float("nan")}, {"set": {1, 2}}):
        with pytest.raises((TypeError, ValueError)):
            canonical(value)


def all_params():
    """Every parameter class of the package."""
    for module in pkgutil.walk_packages(pkdot.__path__, "pkdot."):
        if module.name != "pkdot.__main__":
            importlib.import_module(module.name)

    def below(cls):
        for sub in cls.__subclasses__():
            yield sub
            yield from below(sub)

    return sorted({cls for cls in below(Params) if cls.__module__.startswith("pkdot.")}, key=str)


def attributes_of_the_package():
    """Names that are read as attributes, given as keywords or taken as arguments; a field's definition is none."""
    names = set()
    for path in (REPO / "pkdot").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                names.add(node.attr)
            elif isinstance(node, ast.arg | ast.keyword):
                names.add(node.arg)
    return names


def test_every_option_has_a_description_and_is_used():
    used = attributes_of_the_package()
    classes = all_params()
    assert len(classes) > 30
    for cls in classes:
        assert cls.__doc__, cls
        for name, field in cls.model_fields.items():
            assert field.description, f"{cls.__module__}.{cls.__name__}.{name}"
            assert name in used, f"{cls.__module__}.{cls.__name__}.{name} is read nowhere"


def test_no_stage_is_told_a_path():
    """Snakemake does not track Path objects in parameters."""
    for stage in STAGES.values():
        schema = stage.signature()["params"].model_json_schema()
        assert '"format": "path"' not in str(schema).replace("'", '"'), stage


def test_the_reference_of_options_is_in_step_with_the_code():
    from pkdot.reference import reference

    written = (REPO / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert written == reference(), "run: pkdot reference --out docs/configuration.md"


def test_the_environment_defers_to_the_list_of_packages():
    from rattler import MatchSpec

    environment = yaml.safe_load((REPO / "environment.yml").read_text())
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    specs = {str(MatchSpec(line).name.normalized): MatchSpec(line) for line in conda}
    assert specs.keys() == {"python", "pip"}
    assert str(specs["python"].version).removeprefix("==").startswith("3.11")
    assert project["requires-python"].startswith(">=3.11")
    (pip,) = [line["pip"] for line in environment["dependencies"] if isinstance(line, dict)]
    assert pip == ["--constraint requirements.lock", "--editable .[all]"]


def test_the_locked_versions_are_what_the_project_asks_for():
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    lines = (REPO / "requirements.lock").read_text().split()
    locked = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}
    assert len(locked) == len(lines)
    for text in [*project["dependencies"], *chain(*project["optional-dependencies"].values())]:
        wanted = Requirement(text)
        if wanted.name == "pkdot":  # the extra that holds all others
            continue
        version = locked.get(canonicalize_name(wanted.name))
        assert version, f"requirements.lock does not hold {wanted.name}"
        assert wanted.specifier.contains(version), f"{text} is locked to {version}"

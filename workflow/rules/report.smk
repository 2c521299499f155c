"""Everything in one HTML file."""

# How the pages look is no module, so its files are inputs.
LOOKS = sorted(
    path
    for kind in ("html", "css")
    for path in Path(workflow.basedir, "pkdot", "reporting").glob(f"*.{kind}")
)

from pkdot.files import sha256

# A hash and not an input, so that results may be moved or restored in another checkout.
LOOKS = [
    sha256(Path(workflow.basedir, "pkdot", "reporting", name))
    for name in ("template.html", "style.css")
]


rule report:
    """Write the report."""
    input:
        manifest=rules.ingest.output.manifest,
        splits=rules.splits.output,
        ledger=rules.ledger.output[0],
        features=by_modality(rules.index.output.index),
        encoders=lambda wildcards: expand(
            rules.encoder.output.metrics,
            fold=range(experiment(wildcards.experiment).splits.fold_count),
            modality=experiment(wildcards.experiment).modalities,
            **wildcards,
        ),
        teachers=by_fold(rules.teachers.output.marker),
        students=lambda wildcards: expand(
            rules.students.output.marker,
            fold=range(experiment(wildcards.experiment).splits.fold_count),
            method=jobs.contestants(experiment(wildcards.experiment)),
            **wildcards,
        ),
        summary=f"{RESULTS}/summary.json",
    output:
        f"{RESULTS}/ablation.html",
    log:
        f"{LOGS}/ablation.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cfg=job_params("ablation", "experiment"),
    shell:
        "pkdot ablation --summary {input.summary} --protocols {input.protocols} --out $(dirname {output})"
        " --params {params.cfg:q} 2> {log}"

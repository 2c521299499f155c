"""Everything in one HTML file."""


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
        looks=expand(
            "{folder}/{name}",
            folder=Path(workflow.basedir, "pkdot", "reporting"),
            name=["template.html", "style.css"],
        ),
    output:
        f"{RESULTS}/report.html",
    log:
        f"{LOGS}/report.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        cfg=job_params("report", "experiment"),
        processed=lambda wildcards, input: Path(input.ledger).parent,
        results=lambda wildcards, input: Path(input.summary).parent,
    shell:
        "pkdot report --processed {params.processed} --results {params.results} --out $(dirname {output})"
        " --params {params.cfg:q} 2> {log}"


rule ablation:
    """Set the variants of a method side by side."""
    input:
        summary=f"{RESULTS}/ablation/summary.json",
        protocols=lambda wildcards: expand(
            f"{RESULTS}/summary.json",
            experiment=[
                wildcards.experiment,
                *experiment(wildcards.experiment).protocols,
            ],
        ),
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

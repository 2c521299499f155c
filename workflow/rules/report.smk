"""Everything in one HTML file."""


rule report:
    """Write the report."""
    input:
        ledger=rules.ledger.output[0],
        summary=FILES.summary(),
        all=whole(
            rules.ingest,
            rules.features,
            rules.index,
            rules.ledger,
            rules.splits,
            rules.encoder,
            rules.teachers,
            rules.students,
            rules.fold,
            rules.summary,
        ),
    output:
        update(FILES.report),
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
        below=lambda wildcards: jobs.everything(experiment(wildcards.experiment)),
        processed=lambda wildcards, input: Path(input.ledger).parent,
        results=lambda wildcards, input: Path(input.summary).parent,
    shell:
        "pkdot report --processed {params.processed} --results {params.results} --out $(dirname {output})"
        " --params {params.cfg:q} 2> {log}"


rule ablation:
    """Set the variants of a method side by side."""
    input:
        summary=FILES.summary(ABLATION),
        protocols=lambda wildcards: expand(
            FILES.summary(),
            experiment=[
                wildcards.experiment,
                *experiment(wildcards.experiment).protocols,
            ],
        ),
        students=lambda wildcards: expand(
            rules.students.output.marker,
            experiment=wildcards.experiment,
            method=jobs.contestants(experiment(wildcards.experiment), ABLATION),
            fold=range(experiment(wildcards.experiment).splits.fold_count),
        ),
    output:
        update(FILES.ablation),
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
        "pkdot ablation --summary {input.summary} --protocols {input.protocols} --students {input.students}"
        " --out $(dirname {output}) --params {params.cfg:q} 2> {log}"

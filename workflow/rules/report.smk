"""Everything in one HTML file."""

from pkdot.files import sha256

# Templates and styles are no modules. Their hashes are parameters and not inputs, so that results may be moved to
# another checkout.
LOOKS = [
    sha256(path)
    for kind in ("html", "css")
    for path in sorted(Path(workflow.basedir, "pkdot", "reporting").rglob(f"*.{kind}"))
]


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
        FILES.report,
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
        looks=LOOKS,
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
    output:
        FILES.ablation,
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
        looks=LOOKS,
    shell:
        "pkdot ablation --summary {input.summary} --protocols {input.protocols} --out $(dirname {output})"
        " --params {params.cfg:q} 2> {log}"

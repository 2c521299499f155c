"""Everything in one HTML file."""


rule report:
    """Write the report."""
    input:
        summary=rules.summary.output.summary,
        ledger=rules.ledger.output[0],
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

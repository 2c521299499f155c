"""Everything in one HTML file."""


rule report:
    """Write the report."""
    input:
        summary=rules.summary.output.summary,
        ledger=rules.ledger.output,
    output:
        f"{RESULTS}/report.html",
    params:
        cfg=job_params("report", "experiment"),
        processed=DATA,
        results=RESULTS,
    log:
        f"{LOGS}/report.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    shell:
        "{PKDOT} report --processed {params.processed} --results {params.results} --out $(dirname {output})"
        " --params {params.cfg:q} 2> {log}"

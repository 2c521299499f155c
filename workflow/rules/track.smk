"""The mirror in MLflow. It costs no result when the tracking store fails: a warning, and the run goes on."""


rule mirror:
    """Mirror the results to MLflow."""
    input:
        report=rules.report.output[0],
        summary=FILES.summary(),
        metrics=FILES.metrics(),
    output:
        FILES.tracking,
    log:
        f"{LOGS}/mirror.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        cfg=job_params("mirror", "experiment"),
        results=lambda wildcards, input: Path(input.summary).parent,
    shell:
        "pkdot mirror --results {params.results} --out $(dirname {output}) --params {params.cfg:q} 2> {log};"
        " cat {log} >&2"

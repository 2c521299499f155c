"""Who is trained on, who makes the choices, who is tested on."""


rule splits:
    """Deal subjects to folds."""
    input:
        manifest=rules.ingest.output.manifest,
        about=rules.ingest.output.about,
    output:
        FILES.splits,
    log:
        f"{LOGS}/splits.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        cfg=job_params("splits"),
    shell:
        "pkdot splits --manifest {input.manifest} --out $(dirname {output}) --params {params.cfg:q} 2> {log}"

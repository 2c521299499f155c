#!/usr/bin/env bash
# A Slurm of one node on loopback, for tests: slurm.sh install | start FOLDER | stop FOLDER. Debian, as root.
# The node says that it has a GPU, which is none, so that requests for one are seen to arrive.
set -euo pipefail

install() {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        slurmctld slurmd slurm-client munge >/dev/null
}

configure() {
    local host cpus memory
    host=$(hostname -s)
    cpus=$(nproc --all)
    memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
    cat <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$1/state
SlurmdSpoolDir=$1/spool
SlurmctldPidFile=$1/slurmctld.pid
SlurmdPidFile=$1/slurmd.pid
SlurmctldLogFile=$1/slurmctld.log
SlurmdLogFile=$1/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
ReturnToService=2
MinJobAge=600
KillWait=5
DefMemPerCPU=500
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory Gres=gpu:1
PartitionName=short Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
}

start() {
    local folder=$1
    mkdir -p "$folder"/state "$folder"/spool "$folder"/munge /run/munge
    chown munge:munge "$folder"/munge /run/munge
    chmod 755 /run/munge
    setpriv --reuid munge --regid munge --clear-groups munged \
        --pid-file "$folder/munge/munged.pid" --log-file "$folder/munge/munged.log" --force
    configure "$folder" >/etc/slurm/slurm.conf
    echo "NodeName=$(hostname -s) Name=gpu File=/dev/zero" >/etc/slurm/gres.conf
    slurmctld -c
    slurmd -c
    for _ in $(seq 100); do
        if sinfo --noheader --format %T 2>/dev/null | grep -q idle; then return; fi
        sleep 0.2
    done
    cat "$folder"/*.log >&2
    exit 1
}

stop() {
    local folder=$1 pid
    for pid in "$folder"/slurmd.pid "$folder"/slurmctld.pid "$folder"/munge/munged.pid; do
        if [[ -s $pid ]]; then kill "$(cat "$pid")" || true; fi
    done
    rm -f /etc/slurm/slurm.conf /etc/slurm/gres.conf
}

"$@"

#!/usr/bin/env bash
# A private Slurm on this machine, for the tests: two nodes, one of them with two pretended GPUs.
#
#   start-cluster.sh start FOLDER    everything it writes is in FOLDER, but for links in /etc/slurm
#   start-cluster.sh stop FOLDER
#
# Needs root and Debian's packages slurmctld, slurmd, slurm-client and munge; no systemd.
set -Eeuo pipefail

action=${1:?start or stop} folder=$(realpath -m "${2:?folder}")
nodes=(cpu1 gpu1)
host=$(hostname -s)
controller_port=26817 node_port=26818
links=(slurm.conf gres.conf cgroup.conf)

daemons() { # the process ids of our own daemons, the controller last
    for name in "${nodes[@]}" slurmctld munged; do
        [ ! -s "$folder/$name.pid" ] || cat "$folder/$name.pid"
    done
}

attempt() { # run a command until it succeeds, for ten seconds
    for _ in {1..100}; do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    echo "no success within ten seconds: $*" >&2
    tail --lines 5 "$folder"/*.log >&2
    return 1
}

ended() { ! kill -0 "$1" 2>/dev/null; }

stop() {
    # Jobs would outlive their daemons.
    SLURM_CONF=$folder/slurm.conf timeout 10 scancel --user root || true
    for process in $(daemons); do
        kill "$process" 2>/dev/null || continue
        attempt ended "$process" || kill -9 "$process"
    done
    rm -f "$folder"/*.pid
    for link in "${links[@]}"; do
        if [ "$(readlink "/etc/slurm/$link")" = "$folder/$link" ]; then rm "/etc/slurm/$link"; fi
    done
}

left_over() { # whether a link is of a cluster of ours that was killed
    local owner
    owner=$(dirname "$(readlink "$1")")
    [ ! -d "$owner" ] || { [ -c "$owner/gpu0" ] && ended "$(cat "$owner/slurmctld.pid")"; }
}

configure() {
    # Jobs' inner srun finds the cluster by Slurm's standard path alone.
    mkdir -p "$folder" /etc/slurm
    for link in "${links[@]}"; do
        if [ -L "/etc/slurm/$link" ] && left_over "/etc/slurm/$link"; then rm "/etc/slurm/$link"; fi
        if [ -e "/etc/slurm/$link" ] || [ -L "/etc/slurm/$link" ]; then
            echo "/etc/slurm/$link exists: this machine has another Slurm, which is left alone" >&2
            exit 1
        fi
    done
    chmod 755 "$folder"
    # As good as a GPU for Slurm: a device of its own.
    for number in 0 1; do mknod "$folder/gpu$number" c 1 3; done
    cat >"$folder/slurm.conf" <<EOF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
SlurmctldPort=$controller_port
SlurmctldPidFile=$folder/slurmctld.pid
SlurmctldLogFile=$folder/slurmctld.log
StateSaveLocation=$folder/state
SlurmdPidFile=$folder/%n.pid
SlurmdLogFile=$folder/%n.log
SlurmdSpoolDir=$folder/spool.%n
# Believe the sizes below, not the machine.
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$folder/completed.txt
MinJobAge=3600
NodeName=${nodes[0]} NodeHostname=$host NodeAddr=127.0.0.1 Port=$node_port CPUs=2 RealMemory=32000
NodeName=${nodes[1]} NodeHostname=$host NodeAddr=127.0.0.1 Port=$((node_port + 1)) CPUs=2 RealMemory=64000 Gres=gpu:pretended:2 Feature=fast
PartitionName=main Nodes=ALL Default=YES MaxTime=1-00:00:00
EOF
    echo "NodeName=${nodes[1]} Name=gpu Type=pretended File=$folder/gpu[0-1]" >"$folder/gres.conf"
    echo "CgroupAutomount=no" >"$folder/cgroup.conf"
    for link in "${links[@]}"; do ln -s "$folder/$link" "/etc/slurm/$link"; done
}

nodes_idle() { [ "$(timeout 2 sinfo --noheader --states idle --format %D 2>/dev/null)" = "${#nodes[@]}" ]; }

start() {
    configure
    trap stop ERR
    mkdir -p "$folder/state"
    head -c 1024 /dev/urandom >"$folder/munge.key"
    chmod 400 "$folder/munge.key"
    # Forced: a test's folder is closed to other users, whom munged would serve.
    munged --force --key-file "$folder/munge.key" --socket "$folder/munge.socket" \
        --pid-file "$folder/munged.pid" --log-file "$folder/munged.log" \
        --seed-file "$folder/munged.seed"
    attempt munge --socket "$folder/munge.socket" --no-input
    # Daemons that keep a pipe open would keep its reader waiting.
    slurmctld -c </dev/null >/dev/null 2>&1
    for node in "${nodes[@]}"; do slurmd -N "$node" </dev/null >/dev/null 2>&1; done
    attempt nodes_idle
}

case $action in
start) start ;;
stop) stop ;;
*) echo "expected start or stop, found $action" >&2 && exit 2 ;;
esac

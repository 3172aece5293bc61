#!/usr/bin/env bash
# Starts a Slurm of its own on this machine, runs the sample on it as an array of four of which one is killed, compares
# the result with that of a single process, and stops what it started: run-on-slurm.sh Cluster.dll FOLDER [options of the sample]
set -euo pipefail

readonly sample=$1 folder=$2
shift 2
readonly here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly munge_folder=$folder/munge slurm=$folder/slurm shared=$folder/shared
export SLURM_CONF=$slurm/slurm.conf OMP_NUM_THREADS=1
started=()

fail() {
    printf 'run-on-slurm.sh: %s\n' "$*" >&2
    exit 1
}

stop() {
    local pid
    [ ${#started[@]} -eq 0 ] || scancel --quiet --state=RUNNING --state=PENDING --user="$(id -un)" 2> /dev/null || true
    for pid in "${started[@]}"; do
        kill "$pid" 2> /dev/null || true
    done
    for pid in "${started[@]}"; do
        for _ in $(seq 50); do
            kill -0 "$pid" 2> /dev/null || break
            sleep 0.2
        done
    done
}
trap stop EXIT
trap 'exit 130' INT TERM

[ "$(id -u)" -eq 0 ] || fail "slurmd starts jobs for users, which takes root; run it as root, in a container for instance"

# wait_for <seconds> <what> <command...>
wait_for() {
    local seconds=$1 what=$2
    shift 2
    for _ in $(seq $((seconds * 5))); do
        ! "$@" > /dev/null 2>&1 || return 0
        sleep 0.2
    done
    fail "$what: not within $seconds seconds (logs in $folder)"
}

# start <name> <pid file> <command...>: a daemon; its pid is its file's
start() {
    local name=$1 pid_file=$2
    shift 2
    rm -f "$pid_file"
    "$@" > "$folder/$name.out" 2>&1 || fail "$name does not start ($folder/$name.out)"
    wait_for 20 "$name" test -s "$pid_file"
    started+=("$(cat "$pid_file")")
}

rm -rf "$folder"
mkdir -p "$munge_folder" "$slurm/state" "$slurm/spool" "$shared"
folder_in_munges_eyes() { setpriv --reuid=munge --regid=munge --clear-groups test -x "$munge_folder"; }
chown munge:munge "$munge_folder"
folder_in_munges_eyes || fail "the user munge cannot enter $munge_folder: a folder above it is closed to others"

# Munge vouches for users among Slurm's daemons; it runs as its own user.
dd if=/dev/urandom of="$munge_folder/munge.key" bs=1 count=1024 status=none
chown munge:munge "$munge_folder/munge.key"
chmod 400 "$munge_folder/munge.key"
start munged "$munge_folder/munged.pid" setpriv --reuid=munge --regid=munge --clear-groups /usr/sbin/munged --force \
    --key-file="$munge_folder/munge.key" --socket="$munge_folder/munge.socket" --pid-file="$munge_folder/munged.pid" \
    --log-file="$munge_folder/munged.log" --seed-file="$munge_folder/munged.seed"

host=$(hostname -s)
cat > "$SLURM_CONF" <<END
ClusterName=influence
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$munge_folder/munge.socket
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$slurm/state
SlurmdSpoolDir=$slurm/spool
SlurmctldPidFile=$slurm/slurmctld.pid
SlurmdPidFile=$slurm/slurmd.pid
SlurmctldLogFile=$slurm/slurmctld.log
SlurmdLogFile=$slurm/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
start slurmctld "$slurm/slurmctld.pid" /usr/sbin/slurmctld -c
start slurmd "$slurm/slurmd.pid" /usr/sbin/slurmd
wait_for 60 "a node that takes jobs" sh -c '[ "$(sinfo --noheader --format=%t)" = idle ]'
sinfo --version
sinfo

dotnet "$sample" --train --folder "$shared" "$@"
echo "-- one process"
dotnet "$sample" --folder "$shared" --run single "$@"
echo "-- an array of four"
began=$(date +%s)
job=$(sbatch --parsable --chdir="$folder" "$here/job.sh" "$sample" --folder "$shared" --run array "$@")
squeue --array

# Killed at work, when units are there and the result is not: the process itself, which hears nothing of it. Its claim on its rank says which it is.
unit_is_there() { compgen -G "$shared/array/fit/s*-0*.safetensors"; }
claim=$shared/array/fit/worker-2-of-4.claim
wait_for 300 "task 2 at work" test -s "$claim"
wait_for 300 "a first unit" unit_is_there
victim=$(sed -n 's/.*"Process":\([0-9]*\).*/\1/p' "$claim")
kill -KILL "$victim"
echo "Task ${job}_2, process $victim, is killed with $(compgen -G "$shared/array/fit/s*-0*.safetensors" | wc -l) units done"
none_runs() { [ -z "$(squeue --noheader --job="$job" 2> /dev/null)" ]; }
wait_for 900 "the array's end" none_runs
echo "All tasks ended after $(($(date +%s) - began)) s"
scontrol --oneliner show job "$job" | grep -o 'ArrayTaskId=[0-9]*\|JobState=[A-Z]*' | paste - - || true
cat "$folder"/influence-*.log

# The numbers of a safetensors file, behind its header: that also says what the call took.
numbers_of() { tail -c +$(($(od -An -t u8 -N 8 "$1") + 9)) "$1"; }

alike=0
for scores in "$shared"/array/scores-of-rank-*.safetensors; do
    cmp <(numbers_of "$scores") <(numbers_of "$shared/single/scores-of-rank-0.safetensors") || fail "$scores is not the single process's"
    alike=$((alike + 1))
done
cmp "$shared/array/fit/result.safetensors" "$shared/single/fit/result.safetensors" || fail "the fit is not the single process's"
[ ! -e "$shared/array/scores-of-rank-2.safetensors" ] || fail "task 2 was not killed before its end: ask for more --passages"
[ "$alike" -eq 3 ] || fail "$alike of three tasks wrote their scores"
echo "The fit and the scores of the three that lived are those of the single process, byte for byte."

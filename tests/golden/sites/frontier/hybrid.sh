#!/bin/bash
#SBATCH --job-name=solve
#SBATCH --account=ab12
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=7
#SBATCH --cpus-per-task=8
#SBATCH --time=00:30:00
#SBATCH --chdir=/home/ada/run
#SBATCH --output=/home/ada/jobs/3f9c2a/stdout.log
#SBATCH --error=/home/ada/jobs/3f9c2a/stderr.log

set -euo pipefail
export HPCJOB_NATIVE_ID=${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID:-}} HPCJOB_RESTARTS=${SLURM_RESTART_COUNT:-0}

# Whatever ends this script, it leaves its exit code, signal and times in the job's folder.
hpcjob_start=$(date +%s) hpcjob_signal=0 hpcjob_status=0
hpcjob_exit_file=/home/ada/jobs/3f9c2a/exit
hpcjob_end() {
  local code=$? temporary=${hpcjob_exit_file%/*}/.end.$HOSTNAME.$$
  ((hpcjob_status == 0)) || code=$hpcjob_status
  trap '' HUP INT USR1 USR2 TERM XCPU
  unset LD_LIBRARY_PATH LD_PRELOAD
  PATH=/usr/bin:/bin
  (
    umask 077
    printf '%s\n' "code=$code" "signal=$hpcjob_signal" "start=$hpcjob_start" "end=$(date +%s)" \
      "host=$HOSTNAME" "id=${HPCJOB_NATIVE_ID:-}" "restarts=${HPCJOB_RESTARTS:-0}" \
      >"$temporary" && mv -f "$temporary" "$hpcjob_exit_file"
  ) || printf 'hpcjob: %s cannot be written\n' "$hpcjob_exit_file" >&2
  exit "$code"
}
hpcjob_caught() {
  hpcjob_signal=$1
  exit $((128 + $1))
}
hpcjob_stop() {
  printf 'hpcjob: %s on node %s\n' "${*:2}" "$HOSTNAME" >&2
  exit "$1"
}
trap hpcjob_end EXIT
trap 'hpcjob_caught 1' HUP
trap 'hpcjob_caught 2' INT
trap 'hpcjob_caught 10' USR1
trap 'hpcjob_caught 12' USR2
trap 'hpcjob_caught 15' TERM
trap 'hpcjob_caught 24' XCPU
rm -f "$hpcjob_exit_file" || true # of an earlier start, if this is a requeue

cd /home/ada/run || hpcjob_stop 72 there is no folder /home/ada/run

export OMP_NUM_THREADS=8

srun --ntasks=28 --cpus-per-task=8 --cpu-bind=threads ./solve in.nml || hpcjob_status=$?

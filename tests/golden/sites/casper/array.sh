#!/bin/bash
#PBS -N solve
#PBS -q casper
#PBS -A ab12
#PBS -l select=1:ncpus=1:mpiprocs=1:ompthreads=1
#PBS -l place=pack
#PBS -l walltime=00:30:00
#PBS -r y
#PBS -J 0-9
#PBS -j oe
#PBS -o /dev/null

set -euo pipefail
export HPCJOB_NATIVE_ID=${PBS_JOBID/\[[0-9]*\]/[]}
export HPCJOB_ARRAY_INDEX=$PBS_ARRAY_INDEX
hpcjob_start_file=/home/ada/jobs/3f9c2a/start."$HPCJOB_ARRAY_INDEX"
HPCJOB_RESTARTS=$(grep -c ^start= "$hpcjob_start_file" 2>/dev/null || true)
export HPCJOB_RESTARTS=${HPCJOB_RESTARTS:-0}
umask 0022 # PBS has 077

# Whatever ends this script, it leaves its exit code, signal and times in the job's folder.
hpcjob_start=$(date +%s) hpcjob_signal=0 hpcjob_status=0
hpcjob_exit_file=/home/ada/jobs/3f9c2a/exit."$HPCJOB_ARRAY_INDEX"
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

exec >/home/ada/jobs/3f9c2a/stdout."${HPCJOB_ARRAY_INDEX:-0}".log 2>/home/ada/jobs/3f9c2a/stderr."${HPCJOB_ARRAY_INDEX:-0}".log
chmod 600 /proc/self/fd/1
chmod 600 /proc/self/fd/2
# The server may keep no history: this tells that the job began, each time.
printf '%s\n' "id=$HPCJOB_NATIVE_ID" "start=$hpcjob_start" "host=$HOSTNAME" >>"$hpcjob_start_file"
cd /home/ada/run || hpcjob_stop 72 there is no folder /home/ada/run

export OMP_NUM_THREADS=1

./solve in.nml || hpcjob_status=$?

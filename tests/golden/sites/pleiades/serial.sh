#!/bin/bash
#PBS -N solve
#PBS -q normal
#PBS -W group_list=ab12
#PBS -l select=1:ncpus=128:mpiprocs=1:ompthreads=1:model=rom_ait
#PBS -l place=pack
#PBS -l walltime=00:30:00
#PBS -j oe
#PBS -o /dev/null

set -euo pipefail
export HPCJOB_NATIVE_ID=$PBS_JOBID
hpcjob_start_file=/home/ada/jobs/3f9c2a/start
HPCJOB_RESTARTS=$(grep -c ^start= "$hpcjob_start_file" 2>/dev/null || true)
export HPCJOB_RESTARTS=${HPCJOB_RESTARTS:-0}
umask 0022 # PBS has 077

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

exec >/home/ada/jobs/3f9c2a/stdout.log 2>/home/ada/jobs/3f9c2a/stderr.log
# The server may keep no history: this tells that the job began, each time.
printf '%s\n' "id=$HPCJOB_NATIVE_ID" "start=$hpcjob_start" "host=$HOSTNAME" >>"$hpcjob_start_file"
cd /home/ada/run || hpcjob_stop 72 there is no folder /home/ada/run

set +u # the functions of module systems use variables that are not set
. /usr/share/Modules/init/bash
type module >/dev/null 2>&1 || hpcjob_stop 69 bash knows no command module, which module_init of the site can define,
module load mpi-intel/2020.0.166 || hpcjob_stop 69 module load mpi-intel/2020.0.166 failed
set -u

export OMP_NUM_THREADS=1

./solve in.nml || hpcjob_status=$?

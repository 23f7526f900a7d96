#!/bin/bash
#PBS -N solve
#PBS -A ab12
#PBS -l select=4:ncpus=32:mpiprocs=8:ompthreads=4:system=polaris
#PBS -l place=scatter
#PBS -l walltime=00:30:00
#PBS -j oe
#PBS -o /dev/null
#PBS -l filesystems=home:eagle

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
if ! type module >/dev/null 2>&1; then # what submitted was no bash, or nothing of it came along
  hpcjob_umask=$(umask)
  if [[ -r $MODULESHOME/init/bash ]]; then . "$MODULESHOME/init/bash"; else . /etc/profile; fi || true
  umask "$hpcjob_umask"
fi
type module >/dev/null 2>&1 || hpcjob_stop 69 bash knows no command module, which module_init of the site can define,
module load apptainer || hpcjob_stop 69 module load apptainer failed
set -u

# A copy of the node list, for containers on all nodes.
cp "$PBS_NODEFILE" /home/ada/jobs/3f9c2a/nodes
export PBS_NODEFILE=/home/ada/jobs/3f9c2a/nodes

[[ -r /images/app.sif ]] || hpcjob_stop 66 there is no image /images/app.sif
# On all nodes, or ranks would wait for those that cannot start.
mpiexec -n 4 --ppn 1 --depth 1 --cpu-bind depth bash -c \
  'for path; do [[ -r $path ]] || { echo "hpcjob: there is no $path on node $HOSTNAME" >&2; exit 66; }; done' \
  hpcjob /images/app.sif </dev/null || (($? != 66)) || exit 66

export APPTAINERENV_OMP_NUM_THREADS=4

mpiexec -n 32 --ppn 8 --depth 4 --cpu-bind depth \
    apptainer exec --bind "$PBS_NODEFILE" --bind /home/ada/run --pwd /home/ada/run /images/app.sif \
    ./solve in.nml || hpcjob_status=$?

#!/bin/bash
#SBATCH --job-name=solve
#SBATCH --ntasks=1
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

set +u # the functions of module systems use variables that are not set
if ! type module >/dev/null 2>&1; then # what submitted was no bash, or nothing of it came along
  hpcjob_umask=$(umask)
  if [[ -r $MODULESHOME/init/bash ]]; then . "$MODULESHOME/init/bash"; else . /etc/profile; fi || true
  umask "$hpcjob_umask"
fi
type module >/dev/null 2>&1 || hpcjob_stop 69 bash knows no command module, which module_init of the site can define,
module purge || hpcjob_stop 69 module purge failed
module use "$HOME/modules" || hpcjob_stop 69 module use "$HOME/modules" failed
module use --append /soft/modules || hpcjob_stop 69 module use --append /soft/modules failed
module load gcc/13.2 apptainer/1.3 fftw/3.3.10 || hpcjob_stop 69 module load gcc/13.2 apptainer/1.3 fftw/3.3.10 failed
module swap gcc gcc/12.1 || hpcjob_stop 69 module swap gcc gcc/12.1 failed
module unload darshan xalt || hpcjob_stop 69 module unload darshan xalt failed
module restore mine || hpcjob_stop 69 module restore mine failed
module reset || hpcjob_stop 69 module reset failed
module --force purge || hpcjob_stop 69 module --force purge failed
module load 'it'"'"'s' || hpcjob_stop 69 module load 'it'"'"'s' failed
set -u

[[ -r /images/app.sif ]] || hpcjob_stop 66 there is no image /images/app.sif

export APPTAINERENV_OMP_NUM_THREADS=1

srun --ntasks=1 --cpu-bind=cores \
    apptainer exec --bind /home/ada/run --pwd /home/ada/run /images/app.sif \
    ./solve in.nml || hpcjob_status=$?

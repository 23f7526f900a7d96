#!/bin/bash
#SBATCH --job-name=solve
#SBATCH --ntasks=1
#SBATCH --array=0-2%2
#SBATCH --chdir=/home/ada/run
#SBATCH --output=/home/ada/jobs/3f9c2a/task.%a.log

set -euo pipefail
export HPCJOB_NATIVE_ID=${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID:-}} HPCJOB_RESTARTS=${SLURM_RESTART_COUNT:-0}
export HPCJOB_ARRAY_INDEX=$SLURM_ARRAY_TASK_ID
chmod 600 /proc/self/fd/1 || true # Slurm made the log as the umask says
chmod 600 /proc/self/fd/2 || true # Slurm made the log as the umask says

# Whatever ends this script, it leaves its exit code, signal and times in the study's folder.
hpcjob_start=$(date +%s) hpcjob_signal=0 hpcjob_status=0
hpcjob_study=/home/ada/jobs/drag hpcjob_claims=
read -r hpcjob_host </proc/sys/kernel/hostname # HOSTNAME may be the name of the node that submitted
export HPCJOB_TAG=3f9c2a7d41be HPCJOB_STUDY=s4
hpcjob_end() {
  local code=$? log
  ((hpcjob_status == 0)) || code=$hpcjob_status
  trap '' HUP INT USR1 USR2 TERM XCPU
  unset LD_LIBRARY_PATH LD_PRELOAD
  PATH=/usr/bin:/bin
  if [[ $hpcjob_claims ]]; then
    ((code != 0)) || [[ ! -e $hpcjob_claims/failed ]] || code=1
    rm -rf "$hpcjob_claims" || true
  fi
  (
    umask 077
    printf 't %s %s %s %s %s %s %s %s\n' "$HPCJOB_TAG" "$HPCJOB_ARRAY_INDEX" "$code" "$hpcjob_signal" \
      "$hpcjob_start" "$(date +%s)" "${HPCJOB_RESTARTS:-0}" "${HPCJOB_NATIVE_ID:--}" >>"$hpcjob_study/ends/$hpcjob_host"
  ) || printf 'hpcjob: %s cannot be written\n' "$hpcjob_study/ends/$hpcjob_host" >&2
  log=$(readlink "/proc/$$/fd"/1) || true # of thousands of tasks, most have nothing to say
  [[ $log != /home/ada/jobs/3f9c2a/* || -s $log ]] || rm -f "$log"
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

cd /home/ada/run || hpcjob_stop 72 there is no folder /home/ada/run

[[ -r /images/app.sif ]] || hpcjob_stop 66 there is no image /images/app.sif

export APPTAINERENV_OMP_NUM_THREADS=1

# On the node: which points of the pack were taken by one of those that run them, and whether one failed.
hpcjob_claims=$(mktemp -d "${TMPDIR:-/tmp}/hpcjob.XXXXXXXXXX")
export HPCJOB_CLAIMS=$hpcjob_claims

bash /home/ada/jobs/drag/point-1.sh /home/ada/jobs/drag/points-1.tsv "$((100 + HPCJOB_ARRAY_INDEX * 32))" \
      "$((HPCJOB_ARRAY_INDEX == 2 ? 6 : 32))" 8 || hpcjob_status=$?

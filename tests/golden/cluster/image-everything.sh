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

# A clean environment: nothing of the shell that submitted, but what everything needs.
for hpcjob_name in $(compgen -e); do
  case $hpcjob_name in
    PATH | HOME | HOSTNAME | USER | LOGNAME | SHELL | LANG | TMPDIR | XDG_RUNTIME_DIR | HPCJOB_*) ;;
    SLURM* | PBS* | *_VISIBLE_DEVICES | GPU_DEVICE_ORDINAL | ZE_AFFINITY_MASK) ;;
    *) unset "$hpcjob_name" 2>/dev/null || true ;;
  esac
done
while read -r _ _ hpcjob_name; do unset -f "$hpcjob_name"; done < <(declare -Fx)

[[ -r /images/app.sif ]] || hpcjob_stop 66 there is no image /images/app.sif
if [[ $(stat -Lc %s.%Y /images/app.sif) != 104857600.1700000000 ]] &&
  [[ $(sha256sum </images/app.sif) != '1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f  -' ]]; then
  hpcjob_stop 65 the image /images/app.sif was changed since the submission
fi
[[ -e /data/in ]] || hpcjob_stop 66 there is no /data/in
[[ -e /home/ada/key.pem ]] || hpcjob_stop 66 there is no /home/ada/key.pem
[[ -e /data/base.img ]] || hpcjob_stop 66 there is no /data/base.img
[[ -e /data/mine.img ]] || apptainer overlay create --sparse --size 2048 /data/mine.img

export APPTAINERENV_OMP_NUM_THREADS=1
export APPTAINERENV_MODE='fast, and '"'"'safe'"'"''
export APPTAINER_NO_EVAL=1
export APPTAINER_ENCRYPTION_PEM_PATH=/home/ada/key.pem

srun --ntasks=1 --cpu-bind=cores \
    apptainer run --bind /data/in:/in:ro --bind /home/ada/run --pwd /opt/run --overlay /data/base.img:ro --overlay /data/mine.img \
      --app solve /images/app.sif \
    ./solve in.nml || hpcjob_status=$?

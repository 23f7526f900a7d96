#!/bin/bash
#SBATCH --job-name=solve
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
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
  hpcjob_stop_services
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
# Services: the process of each; those to be told to end; inputs whose end tells the others.
declare -A hpcjob_services=()
hpcjob_told=() hpcjob_inputs=()
hpcjob_close() {
  local input
  for input in "${hpcjob_inputs[@]}"; do exec {input}>&-; done
}
hpcjob_stop_services() {
  local name
  set +u
  for name in "${!hpcjob_services[@]}"; do
    kill -0 "${hpcjob_services[$name]}" 2>/dev/null ||
      printf 'hpcjob: warning: service %s ended before the program did\n' "$name" >&2
  done
  hpcjob_close
  kill "${hpcjob_told[@]}" 2>/dev/null || true
  for ((hpcjob_wait = 0; hpcjob_wait < 100; hpcjob_wait++)); do
    kill -0 "${hpcjob_services[@]}" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -9 "${hpcjob_services[@]}" 2>/dev/null || true
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

[[ -r /images/app.sif ]] || hpcjob_stop 66 there is no image /images/app.sif
# On all nodes, or ranks would wait for those that cannot start.
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --mpi=none bash -c \
  'for path; do [[ -r $path ]] || { echo "hpcjob: there is no $path on node $SLURMD_NODENAME" >&2; exit 66; }; done' \
  hpcjob /images/app.sif </dev/null || (($? != 66)) || exit 66

((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) || hpcjob_stop 69 services need bash 4.4

# A service, stopped when this script ends, however it ends.
export HPCJOB_SERVICE_CACHE=$HOSTNAME
exec {hpcjob_input}> >(
  hpcjob_close
  exec srun --overlap --mem=0 --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \
      --cpu-bind=none --mpi=none \
    sh -c 'name=$1; shift; "$@" </dev/null || exit; trap : TERM INT; cat >/dev/null; "$0" instance stop "$name"' \
      apptainer "hpcjob_${HPCJOB_NATIVE_ID}_${HPCJOB_ARRAY_INDEX:-0}_cache" \
    apptainer instance start --bind /home/ada/run /images/app.sif \
      "hpcjob_${HPCJOB_NATIVE_ID}_${HPCJOB_ARRAY_INDEX:-0}_cache" >>/home/ada/jobs/3f9c2a/service-cache.log 2>&1
)
hpcjob_services[cache]=$! hpcjob_inputs+=("$hpcjob_input")

# A service, stopped when this script ends, however it ends.
export HPCJOB_SERVICE_DB=$HOSTNAME
(
  hpcjob_close
  export APPTAINERENV_LOG='a b'
  exec apptainer exec --bind /home/ada/run --pwd /home/ada/run /images/app.sif \
    redis-server --port 6379 >>/home/ada/jobs/3f9c2a/service-db.log 2>&1 </dev/null
) &
hpcjob_services[db]=$! hpcjob_told+=("$!")
hpcjob_until=$((SECONDS + 300))
until APPTAINERENV_LOG='a b' timeout 30 apptainer exec --bind /home/ada/run --pwd /home/ada/run /images/app.sif redis-cli ping >/dev/null 2>&1 </dev/null; do
  kill -0 "$!" 2>/dev/null || hpcjob_stop 69 service db ended before it was ready
  ((SECONDS < hpcjob_until)) || hpcjob_stop 69 service db was not ready after 5 minutes
  sleep 1
done

export APPTAINERENV_OMP_NUM_THREADS=1

srun --ntasks=8 --cpu-bind=cores \
    apptainer exec --bind /home/ada/run --pwd /home/ada/run /images/app.sif \
    ./solve in.nml || hpcjob_status=$?
